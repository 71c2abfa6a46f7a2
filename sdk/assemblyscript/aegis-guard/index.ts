// Write a guard for Aegis in AssemblyScript. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
//
//   import { allow, block, Guard, Input, Settings, Verdict } from "aegis-guard";
//
//   class ForbiddenWords extends Guard {
//     name: string = "forbidden-words";
//     words: string[] = [];
//
//     settings(s: Settings): void {
//       this.words = s.texts("words");
//     }
//
//     scan(input: Input): Verdict {
//       const found = input.find(this.words);
//       return found.length > 0 ? block("a forbidden word", found) : allow();
//     }
//   }
//
//   export const guard = new ForbiddenWords();
//
// What to know:
//
// * One scan, one sandbox. What a guard puts into a variable is gone after the scan; what has to last until a later stage of the same run goes into
//   `input.state`, a map that the host keeps between stages.
// * Offsets in a finding count bytes of UTF-8, and indices of a string do not. `Text.find` and `Text.finding` take care of that.
// * A guard that cannot judge returns `failed(why)`: nothing passes it then. An abort, as from an index out of bounds, is the same, with less to read.

export { Guard } from "./guard";
export { Finding, Input, Message, Place, PlaceKind, Role, Scope, Stage, Text, Tool } from "./input";
export { Settings } from "./settings";
export { allow, block, failed, mask, requireApproval, Verdict } from "./verdict";
