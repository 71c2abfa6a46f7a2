// What a guard says, made in one line.

import { Finding, Place } from "./input";

/** Replaces the bytes `start..end` of the UTF-8 text at one place. */
export class Edit {
  constructor(public at: Place, public start: u32, public end: u32, public text: string) {}
}

/** As the contract numbers them; a failed guard gives none. */
export enum Kind { Allow, Sanitize, Block, RequireApproval, Failed }

/** What a guard says. Made by `allow`, `block`, `mask`, `requireApproval` and `failed`. */
export class Verdict {
  edits: Edit[] = [];
  /** Only these may decide; empty: whoever the configuration names. */
  approvers: string[] = [];
  /** At least so many people; 0: as many as the configuration says. */
  required: u32 = 0;
  /** Notes for guards that come later in this run. */
  labels: Map<string, string> = new Map<string, string>();

  constructor(public kind: Kind, public reason: string, public findings: Finding[]) {}
}

/** Nothing against it. */
export function allow(findings: Finding[] = []): Verdict {
  return new Verdict(Kind.Allow, "", findings);
}

/** May not go on: why, for the caller to read. */
export function block(reason: string, findings: Finding[] = []): Verdict {
  return new Verdict(Kind.Block, reason, findings);
}

/** A person must decide. */
export function requireApproval(prompt: string, findings: Finding[] = []): Verdict {
  return new Verdict(Kind.RequireApproval, prompt, findings);
}

/** No verdict: why this guard could not judge. Nothing passes it then. */
export function failed(why: string): Verdict {
  return new Verdict(Kind.Failed, why, []);
}

/**
 * May go on with something else in place of everything found, by default the rule in brackets; as it is where nothing was found. Findings that
 * overlap are replaced together, as the first of them.
 */
export function mask(findings: Finding[], replacement: string | null = null): Verdict {
  const sorted = findings.slice(0).sort((a, b) => a.at.compare(b.at) || (a.start == b.start ? 0 : a.start < b.start ? -1 : 1));
  const verdict = new Verdict(sorted.length == 0 ? Kind.Allow : Kind.Sanitize, "", findings);
  for (let i = 0; i < sorted.length; i++) {
    const it = sorted[i], edits = verdict.edits;
    const overlaps = edits.length > 0 && edits[edits.length - 1].at.compare(it.at) == 0 && it.start < edits[edits.length - 1].end;
    if (overlaps) edits[edits.length - 1].end = max(edits[edits.length - 1].end, it.end);
    else edits.push(new Edit(it.at, it.start, it.end, replacement === null ? "[" + it.rule + "]" : replacement));
  }
  return verdict;
}
