// A reply that comes in pieces, judged by the guard's own `scan`. What may still become a hit is held back; in the end all is scanned once more, as if
// it had come in one piece, and what went out has to be the beginning of what comes of that. Nothing in this file knows of WebAssembly.

import type { Edit, Place, Step } from "./contract.ts";
import type { Ready } from "./guard.ts";
import { Input, utf8Length, type Message } from "./input.ts";
import type { Verdict } from "./verdict.ts";

/** Places are indices of the reply's text, not bytes of UTF-8: what comes from a scan is turned into them first. */
type Hit = { start: number; end: number };
type Change = Hit & { text: string };

/** What a scan of the reply from some place on has found. */
interface Seen {
  readonly verdict: Verdict;
  readonly hits: readonly Hit[];
  readonly changes: readonly Change[];
  /** Whether there are findings at all, as reasons for the verdict. */
  readonly reasons: boolean;
}

/** One reply, as far as it has come. */
export class Reply {
  private readonly longest: number;
  private text = "";
  /** How much of the text is done with, what went out for it, and what was found in it. */
  private settled = 0;
  private out = "";
  private readonly hits: Hit[] = [];
  private over = false;

  constructor(
    private readonly ready: Ready,
    private readonly before: Input,
  ) {
    this.longest = ready.heldBack();
  }

  /** The next piece. */
  push(piece: string): Step {
    if (this.over) throw "the stream is over";
    this.text += piece;
    const safe = this.back(this.text.length);
    if (safe <= this.settled) return { tag: "emit", val: "" };
    for (const from of [beforeHits(this.back(this.settled), this.hits), 0]) {
      const seen = this.seen(from);
      const end = beforeHits(safe, seen.hits);
      const { verdict } = seen.verdict;
      if (verdict.tag === "block" || verdict.tag === "require-approval") {
        // Which of the findings is the reason cannot be told: all of them have to be final.
        if (!seen.reasons || seen.hits.some((it) => it.end > end)) return { tag: "emit", val: "" };
        if (from > 0) continue;
        this.over = true;
        return verdict.tag === "block" ? { tag: "block", val: verdict.val } : { tag: "hold" };
      }
      if (this.knows(seen, from)) return { tag: "emit", val: this.settle(end, seen) };
    }
    throw this.surprised();
  }

  /** The reply is complete, or nothing more of it matters: what is left, the evidence, and the input with its state. */
  close(): { rest: Step; verdict: Verdict; input: Input } {
    const { verdict, input } = this.scan(0);
    return { rest: this.over ? { tag: "emit", val: "" } : this.rest(verdict), verdict, input };
  }

  private rest({ verdict }: Verdict): Step {
    if (verdict.tag === "block") return { tag: "block", val: verdict.val };
    if (verdict.tag === "require-approval") return { tag: "hold" };
    const whole = this.changed(0, this.text.length, verdict.tag === "sanitize" ? changesOf(this.text, 0, verdict.val) : []);
    if (!whole.startsWith(this.out)) throw this.surprised();
    return { tag: "emit", val: whole.slice(this.out.length) };
  }

  /** All before `end` goes out. */
  private settle(end: number, seen: Seen): string {
    if (end <= this.settled) return "";
    const text = this.changed(this.settled, end, seen.changes);
    this.hits.push(...seen.hits.filter((it) => it.start >= this.settled && it.end <= end));
    this.settled = end;
    this.out += text;
    return text;
  }

  /** As far before a place as a hit may be long, and in the middle of no character. */
  private back(end: number): number {
    const at = Math.max(0, end - this.longest);
    return /^[\udc00-\udfff]/.test(this.text.charAt(at)) ? at - 1 : at;
  }

  /** Whether it has again found what was found before, and nothing else there: if not, the part began in the middle of something. */
  private knows(seen: Seen, from: number): boolean {
    const again = seen.hits.filter((it) => it.start < this.settled);
    const known = this.hits.filter((it) => it.start >= from);
    return again.length === known.length && again.every((it, n) => it.start === known[n]!.start && it.end === known[n]!.end);
  }

  private seen(from: number): Seen {
    const { verdict } = this.scan(from);
    const text = this.text.slice(from);
    const found = changesOf(text, from, verdict.findings.filter((it) => this.here(it.at)).map((it) => ({ ...it, text: "" })));
    const changes = changesOf(text, from, verdict.verdict.tag === "sanitize" ? verdict.verdict.val : []);
    const sorted = [...found, ...changes].sort((a, b) => a.start - b.start || a.end - b.end);
    const hits = sorted.filter((it, n) => n === 0 || it.start !== sorted[n - 1]!.start || it.end !== sorted[n - 1]!.end);
    return { verdict, hits, changes, reasons: found.length > 0 };
  }

  private scan(from: number): { verdict: Verdict; input: Input } {
    const content = this.text.slice(from);
    const reply: Message = { role: "assistant", content, parts: [{ tag: "text", val: content }], toolCalls: [] };
    // Each scan begins with the state that the reply began with.
    const state = JSON.parse(JSON.stringify(this.before.state)) as Record<string, unknown>;
    const input = new Input({ ...this.before, messages: [...this.before.messages, reply], state });
    const verdict = this.ready.scan(input);
    if (verdict.verdict.tag === "sanitize" && !verdict.verdict.val.every((it) => this.here(it.at)))
      throw "an edit stands outside of the reply: at egress nothing else may be edited";
    return { verdict, input };
  }

  private here(at: Place): boolean {
    return at.tag === "part" && at.val.message === this.before.messages.length && at.val.part === 0;
  }

  /** A part of the text with the changes in it. */
  private changed(start: number, end: number, changes: readonly Change[]): string {
    let [out, done] = ["", start];
    for (const it of [...changes].sort((a, b) => a.start - b.start)) {
      if (it.start < start || it.end > end) continue;
      out += this.text.slice(done, it.start) + it.text;
      done = it.end;
    }
    return out + this.text.slice(done, end);
  }

  private surprised(): string {
    return `what came later changed what was found before: a hit is longer than the ${this.longest} characters that \`longest\` says`;
  }
}

/** The last place up to `end` that is in the middle of no hit. */
function beforeHits(end: number, hits: readonly Hit[]): number {
  for (let inside; (inside = hits.find((it) => it.start < end && end < it.end)); ) end = inside.start;
  return end;
}

/** Edits of a part of the text that begins at `from`, by indices of the whole. */
function changesOf(text: string, from: number, edits: readonly Pick<Edit, "start" | "end" | "text">[]): Change[] {
  const places = [...new Set(edits.flatMap((it) => [it.start, it.end]))].sort((a, b) => a - b);
  const indices = new Map<number, number>();
  let [index, bytes] = [0, 0];
  for (const place of places) {
    while (bytes < place && index < text.length) {
      const character = String.fromCodePoint(text.codePointAt(index)!);
      bytes += utf8Length(character);
      index += character.length;
    }
    indices.set(place, from + index);
  }
  return edits.map((it) => ({ start: indices.get(it.start)!, end: indices.get(it.end)!, text: it.text }));
}
