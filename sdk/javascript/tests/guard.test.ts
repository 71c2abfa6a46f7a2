// The kit without WebAssembly: `make test` bundles this for node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { scannerOf, scannersOf } from "../component.ts";
import type { Input as ContractInput, Message } from "../contract.ts";
import { Ready } from "../guard.ts";
import { allow, block, guard, Input, mask, requireApproval, s, type Finding, type Guard, type Settings } from "../index.ts";
import { object, type Fields } from "../settings.ts";
import { Reply } from "../stream.ts";
import { Verdict } from "../verdict.ts";

const text = (content: string) => Input.of(content).texts()[0]!;
const spans = (content: string, found: readonly Finding[]) =>
  found.map((it) => Buffer.from(content).subarray(it.start, it.end).toString());

function thrown(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return "nothing was thrown";
}

function input(fields: Partial<ContractInput> = {}): ContractInput {
  const message: Message = { role: "user", parts: [{ tag: "text", val: "é x" }], toolCalls: [] };
  const nobody = { id: "", teams: [], roles: [] };
  const empty = { runId: "", route: "", model: "", principal: nobody, time: 0n, metadata: [], context: [], labels: [], tools: [] };
  return { stage: "ingress", ...empty, messages: [message], ...fields };
}

test("offsets count bytes of UTF-8", () => {
  for (const [content, phrase, expected] of [
    ["é: 12", "12", ["12"]],
    ["ü 你好 👋 Financial ADVICE, financial advice", "financial advice", ["Financial ADVICE", "financial advice"]],
    ["İİ İstanbul loan", "LOAN", ["loan"]],
    ["die GRÖßE", "größe", ["GRÖßE"]],
    ["aaaaa", "aa", ["aa", "aa"]],
    ["x", "", []],
    ["", "x", []],
  ] as const)
    assert.deepEqual(spans(content, text(content).find(phrase)), expected, content);
});

test("an expression finds what it matches and nothing empty, global or not", () => {
  for (const digits of [/\d*/, /\d*/g]) assert.deepEqual(spans("👋 a1 é22", text("👋 a1 é22").find(digits, "digits")), ["1", "22"]);
});

test("half of a character is all of it, and findings may be made in any order", () => {
  const content = "a👋é👋";
  const it = text(content);
  assert.deepEqual(spans(content, [it.finding("r", 4, 6), it.finding("r", 2, 3), it.finding("r", 1, 2), it.finding("r", 0, 1)]), ["👋", "👋", "👋", "a"]);
  for (const [start, end] of [[-1, 1], [2, 1], [0, 7]] as const) assert.match(thrown(() => it.finding("r", start, end)), /is no part/);
});

test("a stage is about its own texts", () => {
  const message = (role: Message["role"], content: string, call?: string) => ({
    role, content, parts: [{ tag: "text" as const, val: content }], toolCalls: call ? [{ id: "1", name: "f", arguments: call }] : [],
  });
  const messages = [message("user", "u0"), message("tool", "t0"), message("assistant", "r0", "a0")];
  const tools = [{ name: "f", description: "d0", parameters: "{}" }];
  for (const [stage, expected] of [["ingress", "d0 u0 t0 r0 a0"], ["tool_result", "t0"], ["tool_call", "a0"], ["egress", "r0"]] as const) {
    const of = new Input({ stage, messages, tools });
    assert.equal(of.texts().map((it) => it.text).join(" "), expected);
    assert.deepEqual(Input.of("x", stage).texts().map((it) => it.text), ["x"]);
  }
  assert.deepEqual(new Input({ messages, tools }).texts("tool").map((it) => it.text), ["t0"]);
});

test("findings that overlap are masked together", () => {
  const it = text("0123456789");
  const found = [it.finding("b", 2, 6), it.finding("a", 0, 3), it.finding("c", 7, 8)];
  const edits = (verdict: ReturnType<typeof mask>) => (verdict.verdict.tag === "sanitize" ? verdict.verdict.val : []).map((it) => [it.start, it.end, it.text]);
  assert.deepEqual(edits(mask(found)), [[0, 6, "[a]"], [7, 8, "[c]"]]);
  assert.deepEqual(edits(mask(found, (it) => it.rule + it.rule)), [[0, 6, "aa"], [7, 8, "cc"]]);
  assert.equal(mask([]).verdict.tag, "allow");
});

const fields = {
  words: s.list(s.text({ minLength: 1 }), { minItems: 1, description: "Words" }),
  action: s.oneOf(["ask", "block"], { default: "ask" }),
  limits: s.map(s.number(), { default: { x: 1 } }),
  pattern: s.optional(s.pattern()),
};

test("the schema and the type say what the settings say", () => {
  assert.deepEqual(object(fields).schema, {
    type: "object",
    additionalProperties: false,
    required: ["words"],
    properties: {
      words: { type: "array", items: { type: "string", minLength: 1 }, minItems: 1, description: "Words" },
      action: { enum: ["ask", "block"], default: "ask" },
      limits: { type: "object", additionalProperties: { type: "number" }, default: { x: 1 } },
      pattern: { type: "string", format: "regex" },
    },
  });
  const read: Settings<typeof fields> = object(fields).read({ words: ["a"], pattern: "a+" }, "");
  const action: "ask" | "block" = read.action;
  assert.deepEqual([read.words, action, read.limits, read.pattern?.source], [["a"], "ask", { x: 1 }, "a+"]);
});

test("what does not fit is refused by its place", () => {
  const some = object({ words: s.list(s.text()), inner: s.optional(s.object({ limit: s.integer() })), sure: s.boolean({ default: false }), pattern: s.optional(s.pattern()) });
  for (const [value, told] of [
    [[], /settings: expected an object/],
    [{}, /words is missing/],
    [{ words: "x" }, /words: expected a list, got "x"/],
    [{ words: ["x", 1] }, /words\[1\]: expected a text, got 1/],
    [{ words: [], wrds: 1 }, /unknown setting `wrds`; known are: words, inner/],
    [{ words: [], inner: { limit: 1.5 } }, /inner.limit: expected a whole number/],
    [{ words: [], sure: 1 }, /sure: expected true or false/],
    [{ words: [], pattern: "(" }, /pattern: this is no regular expression/],
    [{ words: [], toString: 1 }, /unknown setting `toString`/],
  ] as const)
    assert.match(thrown(() => some.read(value, "")), told);
});

test("a guard is an object, a class or a function", () => {
  class ByClass implements Guard {
    name = "by-class";
    scan(): ReturnType<typeof allow> {
      return block(this.name);
    }
  }
  function forbiddenWords() {
    return block("forbidden-words");
  }
  for (const exported of [guard({ name: "by-object", scan: () => block("by-object") }), ByClass, new ByClass(), forbiddenWords]) {
    const scanner = scannerOf(exported);
    scanner.configure("{}");
    assert.deepEqual(scanner.scan(input()).verdict, { tag: "block", val: scanner.describe().name });
  }
  for (const nothing of [undefined, null, {}, { name: "x" }, { scan() {} }, () => allow()])
    assert.match(thrown(() => scannerOf(nothing)), /no guard|no name/);
  assert.match(thrown(() => scannerOf({ name: "x", stages: ["ingres"], scan() {} })), /no stage ingres/);
});

test("state comes back at a later stage, emptied or not", () => {
  const scanner = scannerOf({
    name: "counting",
    scan(input: Input) {
      if (input.stage === "egress") delete input.state.seen;
      else input.state.seen = Number(input.state.seen ?? 0) + 1;
      return allow();
    },
  });
  scanner.configure("");
  assert.equal(scanner.scan(input()).memory, '{"seen":1}');
  assert.equal(scanner.scan(input({ memory: '{"seen":1}', stage: "tool-result" })).memory, '{"seen":2}');
  assert.equal(scanner.scan(input({ memory: '{"seen":2}', stage: "egress" })).memory, "{}");
  assert.match(thrown(() => scanner.scan(input({ memory: "[]" }))), /no object/);
});

test("what is no verdict is thrown as a text that says what to return", () => {
  for (const [scan, told] of [
    [() => undefined, /returned undefined: return a verdict/],
    [() => ({ tag: "allow" }), /return a verdict/],
    [async () => allow(), /returned a promise/],
    [() => { throw "why"; }, /^why$/],
    [() => { throw new TypeError("why"); }, /^TypeError: why/],
    [() => block("x", [{ rule: "x" } as Finding]), /is no finding/],
    [() => requireApproval(7 as unknown as string), /expected a text, got 7/],
  ] as const) {
    const scanner = scannerOf({ name: "x", scan });
    scanner.configure("{}");
    let error: unknown;
    try {
      scanner.scan(input());
    } catch (it) {
      error = it;
    }
    assert.equal(typeof error, "string");
    assert.match(error as string, told);
  }
});

test("warming up scans its texts at each stage, when it is built", () => {
  const seen: string[] = [];
  const warm = { name: "x", stages: ["ingress", "egress"] as const, settings: { word: s.text() }, warmUp: ["a", "b"] };
  const scan = (input: Input, { word }: { word: string }) => {
    seen.push(`${input.stage} ${input.find(word).length}`);
    return allow();
  };
  new Ready({ ...warm, warmUpSettings: { word: "a" }, scan } as unknown as Guard<Fields>);
  assert.deepEqual(seen, ["ingress 1", "ingress 0", "egress 1", "egress 0"]);
  assert.match(thrown(() => new Ready({ ...warm, scan })), /word is missing/);
});

test("there is no clock and no randomness once it is configured", () => {
  const [date, random] = [Date, Math.random];
  scannerOf({ name: "x", scan: () => allow() }).configure("{}");
  const refusals = [() => Date.now(), () => new Date(), () => Date(), () => Math.random()].map(thrown);
  const given = new Date(0).toISOString();
  [globalThis.Date, Math.random] = [date, random];
  for (const it of refusals) assert.match(it, /no (clock|randomness) in a guard/);
  assert.equal(given, "1970-01-01T00:00:00.000Z");
});

const secrets = (longest: number) =>
  new Ready({
    name: "secrets",
    stages: ["egress"],
    streaming: "incremental",
    longest,
    scan(input: Input) {
      const [blocked, asked] = [input.find("forbidden"), input.find("review")];
      if (blocked.length > 0) return block("no", blocked);
      if (asked.length > 0) return requireApproval("?", asked);
      return mask(input.find(/SECRET-[0-9]{4}/, "aa"), "[]");
    },
  });

function streamed(ready: Ready, pieces: readonly string[]): { out: string; end: string; found: readonly Finding[] } {
  ready.configure("{}");
  const reply = new Reply(ready, new Input({ stage: "egress" }));
  let out = "";
  for (const piece of pieces) {
    const step = reply.push(piece);
    if (step.tag !== "emit") return { out, end: step.tag, found: reply.close().verdict.findings };
    out += step.val;
  }
  const { rest, verdict } = reply.close();
  return { out: out + (rest.tag === "emit" ? rest.val : ""), end: rest.tag, found: verdict.findings };
}

test("the pieces of a reply come out as the whole does", () => {
  for (const [content, expected] of [
    ["", ""],
    ["é SECRET-1234 👋, and at some length", "é [] 👋, and at some length"],
    ["SECRET-123SECRET-1234SECRET-9999", "SECRET-123[][]"],
    ["a".repeat(41), "[]".repeat(20) + "a"],
    ["👋SECRET-12345 and 👋👋👋👋👋👋👋👋👋👋👋👋 a SECRET-", "👋[]5 and 👋👋👋👋👋👋👋👋👋👋👋👋 a SECRET-"],
  ] as const) {
    const whole = streamed(secrets(11), [content]);
    assert.equal(whole.out, expected);
    assert.deepEqual(streamed(secrets(11), [...content]), whole);
  }
});

test("a block and a question end a reply, and what went out is its beginning", () => {
  const masked = streamed(secrets(11), [..."a SECRET-1234 before something forbidden, and more"]);
  assert.deepEqual([masked.out, masked.end], ["a [] before somethi", "block"]);
  for (const [word, end] of [["forbidden", "block"], ["review", "hold"]] as const) {
    const content = `a long beginning, then ${word} and a long end that nobody sees`;
    for (const pieces of [[content], [...content]]) {
      const it = streamed(secrets(11), pieces);
      assert.deepEqual([it.end, content.startsWith(it.out), it.out.includes(word)], [end, true, false]);
    }
  }
});

test("text goes out while the reply is being written, and a hit that is longer than said is an error", () => {
  const ready = secrets(11);
  ready.configure("{}");
  const reply = new Reply(ready, new Input({ stage: "egress" }));
  assert.deepEqual(reply.push("héllo SECRET-1234 world"), { tag: "emit", val: "héllo " });
  assert.deepEqual(reply.push(", hello"), { tag: "emit", val: "[] w" });
  assert.match(thrown(() => streamed(secrets(3), [..."a SECRET-1234 b"])), /longer than the 3 characters/);
});

test("an edit outside of the reply is an error", () => {
  const edit = { at: { tag: "part", val: { message: 7, part: 0 } }, start: 0, end: 1, text: "*" } as const;
  for (const [ends, pieces] of [
    ["", ["the answer"]],
    [".", ["the answer", "."]],
    [".", ["t."]],
  ] as const) {
    const scan = (it: Input) => (it.texts()[0]?.text.endsWith(ends) ? new Verdict({ tag: "sanitize", val: [edit] }) : allow());
    const elsewhere = new Ready({ name: "elsewhere", stages: ["egress"], streaming: "incremental", longest: 3, scan });
    assert.match(thrown(() => streamed(elsewhere, pieces)), /outside of the reply/);
  }
});

test("a streaming guard has to say how long a hit is, and to be asked at egress", () => {
  const scan = () => allow();
  for (const [more, named] of [
    [{}, /longest/],
    [{ longest: 3, stages: ["ingress"] }, /egress/],
    [{ streaming: "window" }, /window/],
  ] as const)
    assert.match(thrown(() => new Ready({ name: "x", streaming: "incremental", scan, ...more })), named);
  assert.match(thrown(() => scannerOf({ name: "x", streaming: "incremental", longest: 1, scan })), /write "incremental" itself/);
  const { scanner, streamScanner } = scannersOf({ name: "x", streaming: "incremental", longest: 1, scan });
  assert.equal(scanner.describe().streaming, "incremental");
  scanner.configure("{}");
  assert.match(thrown(() => streamScanner.push("x")), /no reply was begun/);
  streamScanner.open(input({ stage: "egress" }));
  assert.deepEqual([streamScanner.push("é!"), streamScanner.close().rest], [{ tag: "emit", val: "é" }, { tag: "emit", val: "!" }]);
});
