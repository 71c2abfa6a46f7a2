// The canonical ABI of the contract's three functions, by hand: results are laid out at the offsets that wit/guard.wit has in it.

import { Guard } from "./guard";
import { Finding, Input, Place, PlaceKind, Role, Stage } from "./input";
import { Json, Kind as JsonKind, object, parse } from "./json";
import { putList, putMap, putText, putTexts, zeroed } from "./memory";
import "./nowhere";
import { Settings } from "./settings";
import { Edit, Kind, Verdict } from "./verdict";

export function describe(guard: Guard): usize {
  const out = zeroed(52);
  putText(out, guard.name);
  putText(out + 8, guard.version);
  putText(out + 16, guard.description);
  const stages = putList(out + 24, guard.stages.length, 1);
  for (let i = 0; i < guard.stages.length; i++) store<u8>(stages + i, <u8>guard.stages[i]);
  store<u8>(out, <u8>guard.scope, 33);
  const settings = new Settings(null);
  guard.settings(settings);
  putText(out + 36, settings.schema);
  return out;
}

export function configure(guard: Guard, at: usize, length: usize): usize {
  const out = zeroed(12);
  const why = refusal(guard, String.UTF8.decodeUnsafe(at, length));
  if (why !== null) {
    store<u8>(out, 1);
    putText(out + 4, why);
  }
  return out;
}

function refusal(guard: Guard, text: string): string | null {
  const given = parse(text == "" ? "{}" : text);
  if (given === null) return "settings: this is no JSON";
  if (given.kind != JsonKind.Object && given.kind != JsonKind.Null) return "settings: expected an object";
  const settings = new Settings(given);
  guard.settings(settings);
  settings.finish();
  return settings.refused !== null ? settings.refused : warmedUp(guard);
}

function warmedUp(guard: Guard): string | null {
  const texts = guard.warmUp();
  for (let s = 0; s < guard.stages.length; s++)
    for (let i = 0; i < texts.length; i++) {
      const verdict = guard.scan(new Input(inputOf(guard.stages[s], texts[i])));
      if (verdict.kind == Kind.Failed) return "warmUp: " + verdict.reason;
    }
  return null;
}

/** An input of one text, as the host would lay it out: for warming up. */
function inputOf(stage: Stage, text: string): usize {
  const out = zeroed(120), isCall = stage == Stage.ToolCall;
  store<u8>(out, <u8>stage);
  const message = putList(out + 108, 1, 44);
  store<u8>(message, <u8>(stage == Stage.Ingress ? Role.User : stage == Stage.ToolResult ? Role.Tool : Role.Assistant));
  if (isCall) putText(putList(message + 24, 1, 24) + 16, text);
  else putText(putList(message + 4, 1, 20) + 4, text);
  return out;
}

export function scan(guard: Guard, at: usize): usize {
  const out = zeroed(56), input = new Input(at);
  const memory = input.memory;
  let kept: Json | null = null;
  if (memory !== null) kept = parse(memory);
  if (memory !== null && (kept === null || kept.kind != JsonKind.Object)) return failure(out, "the state that was kept is no object");
  if (kept !== null) for (let i = 0; i < kept.names.length; i++) input.state.set(kept.names[i], kept.items[i].text);
  const verdict = guard.scan(input);
  if (verdict.kind == Kind.Failed) return failure(out, verdict.reason);
  putReport(out + 4, verdict);
  if (memory !== null || input.state.size > 0) {
    // Also an emptied one: what is not handed back stays as it was.
    store<u8>(out, 1, 44);
    putText(out + 48, object(input.state));
  }
  return out;
}

function failure(out: usize, why: string): usize {
  store<u8>(out, 1);
  putText(out + 4, why);
  return out;
}

function putReport(out: usize, verdict: Verdict): void {
  store<u8>(out, <u8>verdict.kind);
  if (verdict.kind == Kind.Sanitize) putEdits(out + 4, verdict.edits);
  else if (verdict.kind != Kind.Allow) putText(out + 4, verdict.reason);
  if (verdict.kind == Kind.RequireApproval) {
    putTexts(out + 12, verdict.approvers);
    store<u32>(out, verdict.required, 20);
  }
  putFindings(out + 24, verdict.findings);
  putMap(out + 32, verdict.labels);
}

function putEdits(out: usize, edits: Edit[]): void {
  const items = putList(out, edits.length, 28);
  for (let i = 0; i < edits.length; i++) {
    const at = items + 28 * i, edit = edits[i];
    putPlace(at, edit.at);
    store<u32>(at, edit.start, 12);
    store<u32>(at, edit.end, 16);
    putText(at + 20, edit.text);
  }
}

function putFindings(out: usize, findings: Finding[]): void {
  const items = putList(out, findings.length, 36);
  for (let i = 0; i < findings.length; i++) {
    const at = items + 36 * i, finding = findings[i];
    putText(at, finding.rule);
    putPlace(at + 8, finding.at);
    store<u32>(at, finding.start, 20);
    store<u32>(at, finding.end, 24);
    store<u8>(at, isNaN(finding.score) ? 0 : 1, 28);
    store<f32>(at, isNaN(finding.score) ? 0 : finding.score, 32);
  }
}

function putPlace(at: usize, place: Place): void {
  const isTool = place.kind == PlaceKind.Tool;
  store<u8>(at, <u8>place.kind);
  store<u32>(at, isTool ? place.index : place.message, 4);
  if (!isTool) store<u32>(at, place.index, 8);
}

/** Where the host puts what it hands over. */
export function realloc(old: usize, size: usize): usize {
  return old == 0 ? heap.alloc(size) : heap.realloc(old, size);
}
