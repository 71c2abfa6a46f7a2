// The contract's types, as componentize-qjs hands them over: wit/guard.wit is their manual. A guard's author sees those of `input.ts` instead.

export type Stage = "ingress" | "tool-result" | "tool-call" | "egress";
export type Role = "system" | "developer" | "user" | "assistant" | "tool";
export type Part = { tag: "text"; val: string } | { tag: "media"; val: { mime: string; uri: string } } | { tag: "other"; val: string };
export type ToolCall = { id: string; name: string; arguments: string };
export type Tool = { name: string; description: string; parameters: string };
export type Principal = { id: string; teams: string[]; roles: string[] };
export type Label = { key: string; value: string };

export interface Message {
  role: Role;
  parts: Part[];
  name?: string | null;
  toolCalls: ToolCall[];
  toolCallId?: string | null;
}

export interface Input {
  stage: Stage;
  runId: string;
  route: string;
  model: string;
  principal: Principal;
  time: number | bigint;
  metadata: Label[];
  context: Label[];
  labels: Label[];
  memory?: string | null;
  tools: Tool[];
  messages: Message[];
}

export type Place =
  | { tag: "part"; val: { message: number; part: number } }
  | { tag: "arguments"; val: { message: number; call: number } }
  | { tag: "tool"; val: number };
export type Edit = { at: Place; start: number; end: number; text: string };
export type Finding = { rule: string; at: Place; start: number; end: number; score?: number };
export type Question = { prompt: string; approvers: string[]; required: number };
export type Verdict =
  | { tag: "allow" }
  | { tag: "sanitize"; val: Edit[] }
  | { tag: "block"; val: string }
  | { tag: "require-approval"; val: Question };
export type Report = { verdict: Verdict; findings: Finding[]; labels: Label[]; memory?: string };

export interface Manifest {
  name: string;
  version: string;
  description: string;
  stages: Stage[];
  streaming: "none" | "incremental";
  scope: "message" | "conversation";
  settingsSchema: string;
  notes: Label[];
}

export type Step = { tag: "emit"; val: string } | { tag: "block"; val: string } | { tag: "hold" };
export type Ending = { rest: Step; report: Report };

export interface StreamScanner {
  open(input: Input): void;
  push(text: string): Step;
  close(): Ending;
}

export interface Scanner {
  describe(): Manifest;
  configure(settings: string): void;
  scan(input: Input): Report;
}
