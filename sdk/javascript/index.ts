// Write a guard for Aegis in JavaScript or TypeScript. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
//
//   import { allow, block, guard, s } from "aegis-guard";
//
//   export default guard({
//     name: "forbidden-words",
//     stages: ["ingress"],
//     settings: { words: s.list(s.text()) },
//     scan(input, settings) {
//       const found = input.find(...settings.words);
//       return found.length > 0 ? block("a forbidden word", found) : allow();
//     },
//   });
//
// What to know:
//
// * One scan, one sandbox. What a guard puts into a variable is gone after the scan; what has to last until a later stage of the same run goes into
//   `input.state`, an object that the host keeps between stages as JSON.
// * Offsets in a finding count bytes of UTF-8, and indices of a string do not. `Text.find` and `Text.finding` take care of that.
// * What is thrown is no verdict. It says why the guard could not judge, and nothing passes a guard that could not judge.
// * What is printed goes nowhere.

export { guard, type Guard } from "./guard.ts";
export { Input, Text, type Message, type Stage } from "./input.ts";
export { allow, block, mask, requireApproval, type Verdict } from "./verdict.ts";
export * as s from "./settings.ts";
export type { Fields, Setting, Settings } from "./settings.ts";
export type { Finding, Part, Place, Principal, Role, Tool, ToolCall } from "./contract.ts";
