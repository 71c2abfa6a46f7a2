// What a guard says, made in one line.

import type { Edit, Finding, Label, Place, Question, Verdict as ContractVerdict } from "./contract.ts";

/** What a guard says. Made by `allow`, `block`, `mask` and `requireApproval`. */
export class Verdict {
  constructor(
    readonly verdict: ContractVerdict,
    readonly findings: readonly Finding[],
    readonly labels: readonly Label[] = [],
  ) {}

  /** The same with notes for guards that come later in this run. */
  withLabels(labels: Record<string, string>): Verdict {
    const added = Object.entries(labels).map(([key, value]) => ({ key, value: String(value) }));
    return new Verdict(this.verdict, this.findings, [...this.labels, ...added]);
  }
}

/** Nothing against it. */
export function allow(findings: readonly Finding[] = []): Verdict {
  return new Verdict({ tag: "allow" }, findings);
}

/** May not go on: why, for the caller to read. */
export function block(reason: string, findings: readonly Finding[] = []): Verdict {
  return new Verdict({ tag: "block", val: text(reason) }, findings);
}

/**
 * May go on with something else in place of everything found, by default the rule in brackets; as it is where nothing was found. Findings that
 * overlap are replaced together, as the first of them.
 */
export function mask(
  findings: readonly Finding[],
  replacement: string | ((finding: Finding) => string) = (it) => `[${it.rule}]`,
): Verdict {
  const edits = editsFor(findings, typeof replacement === "string" ? () => replacement : replacement);
  return new Verdict(edits.length === 0 ? { tag: "allow" } : { tag: "sanitize", val: edits }, findings);
}

/**
 * A person must decide. `approvers` (principals, `team:…`, `role:…`) can only narrow whom the configuration names, `required` can only raise
 * how many.
 */
export function requireApproval(
  prompt: string,
  findings: readonly Finding[] = [],
  { approvers = [], required = 0 }: Partial<Omit<Question, "prompt">> = {},
): Verdict {
  return new Verdict({ tag: "require-approval", val: { prompt: text(prompt), approvers, required } }, findings);
}

function editsFor(findings: readonly Finding[], replacement: (finding: Finding) => string): Edit[] {
  const edits: Edit[] = [];
  for (const it of [...findings].sort((a, b) => order(a.at, b.at) || a.start - b.start)) {
    const last = edits.at(-1);
    if (last && order(last.at, it.at) === 0 && it.start < last.end) last.end = Math.max(last.end, it.end);
    else edits.push({ at: it.at, start: it.start, end: it.end, text: text(replacement(it)) });
  }
  return edits;
}

function order(a: Place, b: Place): number {
  const [left, right] = [numbers(a), numbers(b)];
  return left[0] - right[0] || left[1] - right[1] || left[2] - right[2];
}

function numbers(at: Place): [number, number, number] {
  switch (at.tag) {
    case "part":
      return [0, at.val.message, at.val.part];
    case "arguments":
      return [1, at.val.message, at.val.call];
    case "tool":
      return [2, at.val, 0];
  }
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError(`expected a text, got ${String(value)}`);
  return value;
}
