// What a guard is asked about, as texts with their places. Nothing in this file knows of WebAssembly.

import type { Finding, Part, Place, Principal, Role, Tool, ToolCall } from "./contract.ts";

export type Stage = "ingress" | "tool_result" | "tool_call" | "egress";
export const stages: readonly Stage[] = ["ingress", "tool_result", "tool_call", "egress"];

export interface Message {
  readonly role: Role;
  /** All its text parts, joined by line ends. */
  readonly content: string;
  readonly parts: readonly Part[];
  readonly name?: string;
  readonly toolCalls: readonly ToolCall[];
  /** Of role `tool`: the call that this answers. */
  readonly toolCallId?: string;
}

/** A text of the input, and where it stands. */
export class Text {
  private lowered?: string;
  private seen = { index: 0, bytes: 0 };

  constructor(
    readonly text: string,
    readonly at: Place,
    /**
     * Whether it is JSON: the arguments of a tool call, as the model wrote them, or a part that is neither text nor media. The latter can be
     * found, blocked and asked about, but not masked.
     */
    readonly json: boolean,
    /** The message that it stands in; `undefined` for the description of a tool. */
    readonly message?: Message,
  ) {}

  /** All places of a phrase, in upper or lower case, or of a regular expression. The rule is the phrase or the expression, if it is not given. */
  find(what: string | RegExp, rule?: string): Finding[] {
    if (typeof what === "string") return this.hits(lower(what)).map((at) => this.finding(rule ?? what, at, at + what.length));
    const all = what.global ? what : new RegExp(what.source, `${what.flags}g`);
    return [...this.text.matchAll(all)]
      .filter((it) => it[0] !== "")
      .map((it) => this.finding(rule ?? what.source, it.index, it.index + it[0].length));
  }

  /** Evidence that `rule` saw something in `text.slice(start, end)`. Bytes of UTF-8 are counted here, so that nobody else has to. */
  finding(rule: string, start: number, end: number, score?: number): Finding {
    if (!(0 <= start && start <= end && end <= this.text.length))
      throw new RangeError(`${start}..${end} is no part of a text of length ${this.text.length}`);
    // A character outside the basic plane is two units: half of it is all of it.
    const from = this.splits(start) ? start - 1 : start;
    const to = this.splits(end) ? end + 1 : end;
    return { rule, at: this.at, start: this.bytesBefore(from), end: this.bytesBefore(to), score };
  }

  private hits(phrase: string): number[] {
    const text = (this.lowered ??= lower(this.text));
    const hits: number[] = [];
    for (let at = phrase === "" ? -1 : text.indexOf(phrase); at >= 0; at = text.indexOf(phrase, at + phrase.length)) hits.push(at);
    return hits;
  }

  private splits(index: number): boolean {
    return isHigh(this.text.charCodeAt(index - 1)) && isLow(this.text.charCodeAt(index));
  }

  private bytesBefore(index: number): number {
    // Hits come in order, mostly: count on from the last one, so that many hits in a long text stay cheap.
    const from = this.seen.index <= index ? this.seen : { index: 0, bytes: 0 };
    const bytes = from.bytes + utf8Length(this.text.slice(from.index, index));
    this.seen = { index, bytes };
    return bytes;
  }
}

/** Bytes of UTF-8. */
export function utf8Length(text: string): number {
  let bytes = text.length;
  // Most of most texts is ASCII, and the engine's own loop takes it out faster than one in its language.
  const wide = text.replace(/[\0-\x7f]+/g, "");
  for (let at = 0; at < wide.length; at++) {
    const unit = wide.charCodeAt(at);
    // One unit is counted; two halves of a pair make four bytes.
    bytes += unit < 0x800 || isHigh(unit) || isLow(unit) ? 1 : 2;
  }
  return bytes;
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit < 0xe000;

/** In lower case, character by character: an index means the same in both. Only İ has two characters in lower case; it is left as it is. */
function lower(text: string): string {
  const lowered = text.toLowerCase();
  return lowered.length === text.length ? lowered : text.split("İ").map((it) => it.toLowerCase()).join("İ");
}

/** What a guard judges. */
export class Input {
  readonly stage: Stage = "ingress";
  readonly messages: readonly Message[] = [];
  readonly tools: readonly Tool[] = [];
  readonly runId: string = "";
  readonly route: string = "";
  /** The model as the route names it. */
  readonly model: string = "";
  /** Who is asking, as authenticated by the host. */
  readonly principal: Principal = { id: "", teams: [], roles: [] };
  /** When the run came to this step, in milliseconds since the Unix epoch: the only clock there is. */
  readonly time: number = 0;
  readonly metadata: Readonly<Record<string, string>> = {};
  /** Further facts from the host. */
  readonly context: Readonly<Record<string, string>> = {};
  /** Notes left by guards that ran earlier in this run. */
  readonly labels: Readonly<Record<string, string>> = {};
  /** Kept between the stages of one run, as JSON. */
  readonly state: Record<string, unknown> = {};

  constructor(fields: Partial<Pick<Input, Exclude<keyof Input, "texts" | "find">>> = {}) {
    Object.assign(this, fields);
  }

  /**
   * The texts that this stage is about, in order: at `ingress` tool descriptions and all of every message, at `tool_result` messages of role
   * `tool`, at `tool_call` the arguments of the reply's calls, at `egress` the reply's parts. With roles, only what they said.
   */
  texts(...roles: Role[]): Text[] {
    const descriptions =
      this.stage === "ingress" ? this.tools.map((it, n) => new Text(it.description, { tag: "tool", val: n }, false)) : [];
    const said = this.messages.flatMap((it, n) => (this.judges(it, n) ? this.textsOf(it, n) : []));
    const texts = [...descriptions, ...said];
    return roles.length === 0 ? texts : texts.filter((it) => it.message && roles.includes(it.message.role));
  }

  /** All places of these phrases, in upper or lower case, or regular expressions, in all texts of this stage. */
  find(...what: (string | RegExp)[]): Finding[] {
    return this.texts().flatMap((text) => what.flatMap((it) => text.find(it)));
  }

  private judges(message: Message, n: number): boolean {
    if (this.stage === "tool_result") return message.role === "tool";
    return this.stage === "ingress" || n === this.messages.length - 1;
  }

  private textsOf(message: Message, m: number): Text[] {
    const parts = message.parts.flatMap((it, part) =>
      it.tag === "media" ? [] : [new Text(it.val, { tag: "part", val: { message: m, part } }, it.tag === "other", message)],
    );
    const calls = message.toolCalls.map(
      (it, call) => new Text(it.arguments, { tag: "arguments", val: { message: m, call } }, true, message),
    );
    return [...(this.stage === "tool_call" ? [] : parts), ...(this.stage === "ingress" || this.stage === "tool_call" ? calls : [])];
  }

  /** An input of one text: a user's message, a tool's, a call with this text as its arguments, or a reply. For tests and for warming up. */
  static of(text: string, stage: Stage = "ingress"): Input {
    const role = stage === "ingress" ? "user" : stage === "tool_result" ? "tool" : "assistant";
    const isCall = stage === "tool_call";
    const message: Message = {
      role,
      content: isCall ? "" : text,
      parts: isCall ? [] : [{ tag: "text", val: text }],
      toolCalls: isCall ? [{ id: "call-1", name: "tool", arguments: text }] : [],
    };
    return new Input({ stage, messages: [message] });
  }
}
