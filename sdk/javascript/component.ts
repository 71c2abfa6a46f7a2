// From the contract's types to the kit's and back: what the component exports.

import type * as contract from "./contract.ts";
import { Ready, told } from "./guard.ts";
import { Input, stages, type Message, type Stage } from "./input.ts";
import { close } from "./sandbox.ts";
import { Reply } from "./stream.ts";
import { Verdict } from "./verdict.ts";

/** What the contract asks for, from what a guard's module exports as default. Its own file does not say that it judges streams. */
export function scannerOf(exported: unknown): contract.Scanner {
  const ready = new Ready(exported);
  if (ready.guard.streaming === "incremental")
    throw new Error(
      'to judge replies while they are written, write "incremental" itself, in quotes, in the file of the guard: aegis guard build looks for it there',
    );
  return scanner(ready);
}

/** The same, and what judges replies while they are written. */
export function scannersOf(exported: unknown): { scanner: contract.Scanner; streamScanner: contract.StreamScanner } {
  const ready = new Ready(exported);
  return { scanner: scanner(ready), streamScanner: streamScanner(ready) };
}

function scanner(ready: Ready): contract.Scanner {
  return {
    describe: () => manifest(ready),
    configure: (settings) => {
      close();
      orText(() => ready.configure(settings));
    },
    scan: (input) => orText(() => judged(ready, input)),
  };
}

function streamScanner(ready: Ready): contract.StreamScanner {
  let begun: { input: contract.Input; reply: Reply } | undefined;
  const reply = () => {
    if (begun === undefined) throw "no reply was begun";
    return begun;
  };
  return {
    open: (input) => orText(() => void (begun = { input, reply: new Reply(ready, inputOf(input)) })),
    push: (text) => orText(() => reply().reply.push(text)),
    close: () =>
      orText(() => {
        const { rest, verdict, input } = reply().reply.close();
        const evidence = verdict.verdict.tag === "sanitize" ? verdict : new Verdict({ tag: "allow" }, verdict.findings, verdict.labels);
        return { rest, report: report(evidence, input, reply().input) };
      }),
  };
}

/** A thrown text is the contract's error; anything else would be a trap. */
function orText<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    // Nothing that the contract knows: that ends the sandbox, and then the host knows which limit it was.
    if (error instanceof Error && error.name === "InternalError" && error.message === "out of memory") return undefined as T;
    throw told(error);
  }
}

function manifest(ready: Ready): contract.Manifest {
  const it = ready.guard;
  return {
    name: it.name,
    version: it.version ?? "0.1.0",
    description: it.description ?? "",
    stages: (it.stages ?? stages).map((stage) => stage.replace("_", "-") as contract.Stage),
    streaming: it.streaming ?? "none",
    scope: it.scope ?? "conversation",
    settingsSchema: ready.schema,
    notes: Object.entries(it.notes ?? {}).map(([key, value]) => ({ key, value })),
  };
}

function judged(ready: Ready, input: contract.Input): contract.Report {
  const ours = inputOf(input);
  return report(ready.scan(ours), ours, input);
}

function report(verdict: Verdict, ours: Input, input: contract.Input): contract.Report {
  return { verdict: verdict.verdict, findings: findingsOf(verdict), labels: [...verdict.labels], memory: memoryOf(ours, input) };
}

function inputOf(input: contract.Input): Input {
  const { memory, metadata, context, labels, messages, stage, time, ...rest } = input;
  return new Input({
    ...rest,
    stage: stage.replace("-", "_") as Stage,
    time: Number(time),
    metadata: byName(metadata),
    context: byName(context),
    labels: byName(labels),
    messages: messages.map(messageOf),
    state: stateOf(memory),
  });
}

const byName = (labels: contract.Label[]): Record<string, string> => Object.fromEntries(labels.map((it) => [it.key, it.value]));

function messageOf(message: contract.Message): Message {
  const { name, toolCallId, ...rest } = message;
  const content = message.parts.flatMap((it) => (it.tag === "text" ? [it.val] : [])).join("\n");
  return { ...rest, content, ...(name != null && { name }), ...(toolCallId != null && { toolCallId }) };
}

function stateOf(memory: string | null | undefined): Record<string, unknown> {
  if (memory == null) return {};
  const state: unknown = JSON.parse(memory);
  if (typeof state !== "object" || state === null || Array.isArray(state)) throw "the state that was kept is no object";
  return state as Record<string, unknown>;
}

function memoryOf(ours: Input, input: contract.Input): string | undefined {
  // Also an emptied one: what is not handed back stays as it was.
  return Object.keys(ours.state).length > 0 || input.memory != null ? JSON.stringify(ours.state) : undefined;
}

function findingsOf(verdict: Verdict): contract.Finding[] {
  for (const it of verdict.findings)
    if (!isFinding(it)) throw `${JSON.stringify(it)} is no finding: let input.find, Text.find or Text.finding make them`;
  return [...verdict.findings];
}

function isFinding(it: contract.Finding): boolean {
  const fits = typeof it?.rule === "string" && Number.isInteger(it.start) && Number.isInteger(it.end);
  return fits && ["part", "arguments", "tool"].includes(it.at?.tag) && it.at.val !== undefined;
}
