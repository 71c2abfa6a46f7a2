import { Input, Scope, Stage } from "./input";
import { Settings } from "./settings";
import { Verdict } from "./verdict";

/** What a guard's author extends: everything but the name and `scan` may be left as it is. */
export abstract class Guard {
  name: string = "";
  version: string = "0.1.0";
  /** What it does, in a sentence. */
  description: string = "";
  /** Where it may be asked. */
  stages: Stage[] = [Stage.Ingress, Stage.ToolResult, Stage.ToolCall, Stage.Egress];
  /** A guard of scope `Message` judges each message by itself, and is handed only those that it has not judged yet. */
  scope: Scope = Scope.Conversation;

  /** Names the settings and reads them, both at once: the schema comes from what it asks for. Called without values to learn that. */
  settings(s: Settings): void {}

  /** Texts like those of the traffic, scanned once at load: every scan starts with the caches that they filled. */
  warmUp(): string[] {
    return [];
  }

  /** Judges. */
  abstract scan(input: Input): Verdict;
}
