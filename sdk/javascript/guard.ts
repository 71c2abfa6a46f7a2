// A guard, from an object, a class or a function: how it introduces itself, how it takes its settings, how it judges. Nothing in this file knows of WebAssembly.

import { Input, stages, type Stage } from "./input.ts";
import { object, type Fields, type Setting, type Settings } from "./settings.ts";
import { Verdict } from "./verdict.ts";

/** What a guard's author writes: one object for `guard`, or a class with these as its fields. */
export interface Guard<F extends Fields = Fields> {
  readonly name: string;
  readonly version?: string;
  /** What it does, in a sentence. */
  readonly description?: string;
  /** Where it may be asked; everywhere, if left out. */
  readonly stages?: readonly Stage[];
  /** A guard of scope `message` judges each message by itself, and is handed only those that it has not judged yet. */
  readonly scope?: "message" | "conversation";
  /** Further facts about it, such as `license`. */
  readonly notes?: Readonly<Record<string, string>>;
  readonly settings?: F;
  /**
   * Texts like those of the traffic, scanned once when the component is built: every scan starts with the caches that they filled. With
   * `warmUpSettings`, where the defaults do not suffice.
   */
  readonly warmUp?: readonly string[];
  readonly warmUpSettings?: Partial<Settings<F>>;
  /**
   * `incremental`: replies are judged while the model is still writing them, by the same `scan`. It has to find the same in a part of a text as in
   * the whole: patterns and words are fine, counting hits is not. Where it blocks or asks, its findings say why.
   */
  readonly streaming?: "none" | "incremental";
  /** For that: how long a hit is at most (as `length` counts), together with what has to be looked at before and behind it. So much is held back. */
  readonly longest?: number | ((settings: Settings<F>) => number);
  /** Once, before any scan: a place to check and prepare. What it throws refuses the settings. */
  configure?(settings: Settings<F>): void;
  /** Judges. What it throws says why it could not judge, and is no verdict. */
  scan(input: Input, settings: Settings<F>): Verdict;
}

/** What may be exported as `default`. */
export type Exported = Guard | (new () => Guard) | Guard["scan"];

/** A guard as it is: this is for its types only. */
export function guard<F extends Fields = {}>(it: Guard<F>): Guard<F> {
  return it;
}

/** A guard, checked and ready to be configured. */
export class Ready {
  readonly guard: Guard;
  private readonly fields: Setting<Settings<Fields>> | undefined;
  private configured: Settings<Fields> | undefined;

  constructor(exported: unknown) {
    this.guard = of(exported);
    this.fields = this.guard.settings && object(this.guard.settings);
    const { stages: named = stages, scope = "conversation", streaming = "none", longest } = this.guard;
    for (const it of named) if (!stages.includes(it)) throw new Error(`there is no stage ${it}; there are: ${stages.join(", ")}`);
    if (named.length === 0) throw new Error(`name at least one stage: ${stages.join(", ")}`);
    if (scope !== "message" && scope !== "conversation") throw new Error(`there is no scope ${scope}; there are: message, conversation`);
    if (streaming !== "none" && streaming !== "incremental")
      throw new Error(`there is no streaming ${streaming}; there are: none, incremental`);
    if (streaming === "incremental" && (longest === undefined || !named.includes("egress")))
      throw new Error("to judge replies while they are written, it has to say how long a hit is at most, as in longest: 64, and to be asked at egress");
    this.warm();
  }

  get schema(): string {
    return this.fields ? JSON.stringify(this.fields.schema) : "";
  }

  configure(text: string): void {
    let value: unknown;
    try {
      value = JSON.parse(text || "{}") ?? {};
    } catch (error) {
      throw `settings: this is no JSON: ${(error as Error).message}`;
    }
    // Without settings of its own, a guard takes none: an object without fields says so.
    this.configured = (this.fields ?? object({})).read(value, "");
    this.guard.configure?.(this.configured);
  }

  /** How much of a reply may still become a hit. */
  heldBack(): number {
    const { longest = 1 } = this.guard;
    if (this.configured === undefined) throw "configure comes first";
    const length = Math.floor(typeof longest === "function" ? longest.call(this.guard, this.configured) : longest);
    if (!Number.isFinite(length)) throw `longest is ${length}: say a number`;
    return Math.max(1, length);
  }

  scan(input: Input): Verdict {
    if (this.configured === undefined) throw "configure comes first";
    const verdict: unknown = this.guard.scan(input, this.configured);
    if (verdict instanceof Verdict) return verdict;
    if (verdict instanceof Promise) throw `${this.guard.name} returned a promise: in a guard there is nothing to wait for; write scan without async`;
    throw `${this.guard.name} returned ${JSON.stringify(verdict)}: return a verdict, such as allow() or block("why")`;
  }

  // At build, not in `configure`: an engine of this kind has no snapshot after `configure`, which runs anew in every sandbox.
  private warm(): void {
    const { warmUp = [], warmUpSettings = {}, stages: named = stages } = this.guard;
    if (warmUp.length === 0) return;
    this.configure(JSON.stringify(warmUpSettings));
    for (const stage of named) for (const text of warmUp) this.scan(Input.of(text, stage));
    this.configured = undefined;
  }
}

function of(exported: unknown): Guard {
  const it = exported as Exported;
  if (typeof it !== "function") return checked(it);
  if (typeof it.prototype?.scan === "function") return checked(new (it as new () => Guard)());
  return checked({ name: kebab(it.name), scan: it as Guard["scan"] });
}

function checked(it: Guard): Guard {
  if (typeof it !== "object" || it === null || typeof it.scan !== "function")
    throw new Error("no guard: write `export default guard({ name, scan(input) { … } })`, or export a class or a function as default");
  if (typeof it.name !== "string" || it.name === "" || it.name === "default") throw new Error("the guard has no name");
  return it;
}

const kebab = (name: string): string => name.replace(/(?<!^)[A-Z]/g, (it) => `-${it}`).toLowerCase();

/** An error on one line, for people. */
export function told(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const frame = /^\s*at (\S+)/m.exec(error.stack ?? "");
  return `${error.name}: ${error.message}${frame && frame[1] !== "<anonymous>" ? ` (in ${frame[1]})` : ""}`;
}
