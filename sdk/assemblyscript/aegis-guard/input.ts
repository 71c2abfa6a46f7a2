// What a guard is asked about, as texts with their places. Everything is read where the host put it, at the offsets of the canonical ABI.

import { mapAt, textAt, textsAt } from "./memory";

export enum Stage { Ingress, ToolResult, ToolCall, Egress }
export enum Role { System, Developer, User, Assistant, Tool }
export enum Scope { Message, Conversation }
export enum PlaceKind { Part, Arguments, Tool }

/** Where a text stands: part `index` of message `message`, the arguments of its call `index`, or the description of tool `index`. */
export class Place {
  constructor(public kind: PlaceKind, public message: u32, public index: u32) {}

  /** Below, at or above zero, as this place comes before, is or comes after the other. */
  compare(other: Place): i32 {
    if (this.kind != other.kind) return this.kind - other.kind;
    if (this.message != other.message) return this.message < other.message ? -1 : 1;
    return this.index == other.index ? 0 : this.index < other.index ? -1 : 1;
  }
}

/** Evidence: which rule saw what, where. `start` and `end` are bytes of the UTF-8 text: let `Text.find` or `Text.finding` make them. */
export class Finding {
  /** How sure the guard is, from 0 to 1; not a number where it does not say. */
  score: f32 = NaN;

  constructor(public rule: string, public at: Place, public start: u32, public end: u32) {}
}

/** A text of the input, and where it stands. */
export class Text {
  private decoded: string | null = null;

  constructor(
    private bytes: usize,
    private length: u32,
    public at: Place,
    /**
     * Whether it is JSON: the arguments of a tool call, as the model wrote them, or a part that is neither text nor media. The latter can be
     * found, blocked and asked about, but not masked.
     */
    public json: bool,
    /** The message that it stands in; null for the description of a tool. */
    public message: Message | null,
  ) {}

  /** The text itself. */
  get text(): string {
    let text = this.decoded;
    if (text === null) this.decoded = text = String.UTF8.decodeUnsafe(this.bytes, this.length);
    return text;
  }

  /** All places of a phrase, with the letters of ASCII in upper or lower case. The rule is the phrase, if it is not given. */
  find(phrase: string, rule: string = phrase): Finding[] {
    const found = new Array<Finding>();
    const wanted = String.UTF8.encode(phrase);
    const needle = changetype<usize>(wanted), length = <u32>wanted.byteLength;
    for (let i: u32 = 0; i < length; i++) store<u8>(needle + i, lower(load<u8>(needle + i)));
    for (let i: u32 = 0; length > 0 && i + length <= this.length; i++) {
      let j: u32 = 0;
      while (j < length && lower(load<u8>(this.bytes + i + j)) == load<u8>(needle + j)) j++;
      if (j < length) continue;
      found.push(new Finding(rule, this.at, i, i + length));
      i += length - 1;
    }
    return found;
  }

  /** Evidence that `rule` saw something in `text.substring(start, end)`. Half of a character is all of it. */
  finding(rule: string, start: i32, end: i32): Finding {
    return new Finding(rule, this.at, this.bytesBefore(start, false), this.bytesBefore(end, true));
  }

  private bytesBefore(index: i32, up: bool): u32 {
    let at: u32 = 0;
    for (let units = 0; units < index && at < this.length; ) {
      const first = load<u8>(this.bytes + at);
      const isPair = first >= 0xf0;
      if (isPair && units + 1 == index && !up) break;
      at += first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
      units += isPair ? 2 : 1;
    }
    return at;
  }
}

// @ts-ignore: decorators on functions are AssemblyScript's
@inline
function lower(c: u8): u8 {
  return c >= 0x41 && c <= 0x5a ? c + 32 : c;
}

/** One message: 44 bytes. */
export class Message {
  constructor(private at: usize) {}

  get role(): Role {
    return load<u8>(this.at);
  }

  /** All its text parts, joined by line ends. */
  get content(): string {
    const texts = new Array<string>();
    for (let i: u32 = 0; i < this.partCount; i++) if (load<u8>(this.part(i)) == 0) texts.push(textAt(this.part(i) + 4));
    return texts.join("\n");
  }

  /** The author's name where the client gave one. */
  get name(): string | null {
    return load<u8>(this.at, 12) == 0 ? null : textAt(this.at + 16);
  }

  /** Of role `Tool`: the call that this answers. */
  get toolCallId(): string | null {
    return load<u8>(this.at, 32) == 0 ? null : textAt(this.at + 36);
  }

  /** Names of the tools that it calls. */
  get calls(): string[] {
    const names = new Array<string>();
    for (let i: u32 = 0; i < this.callCount; i++) names.push(textAt(this.call(i) + 8));
    return names;
  }

  /** Its parts that have a text. */
  parts(m: u32): Text[] {
    const texts = new Array<Text>();
    for (let i: u32 = 0; i < this.partCount; i++) {
      const part = this.part(i), kind = load<u8>(part);
      if (kind != 1) texts.push(new Text(load<usize>(part, 4), load<u32>(part, 8), new Place(PlaceKind.Part, m, i), kind == 2, this));
    }
    return texts;
  }

  /** The arguments of its calls. */
  arguments(m: u32): Text[] {
    const texts = new Array<Text>();
    for (let i: u32 = 0; i < this.callCount; i++)
      texts.push(new Text(load<usize>(this.call(i), 16), load<u32>(this.call(i), 20), new Place(PlaceKind.Arguments, m, i), true, this));
    return texts;
  }

  private get partCount(): u32 {
    return load<u32>(this.at, 8);
  }

  private get callCount(): u32 {
    return load<u32>(this.at, 28);
  }

  private part(i: u32): usize {
    return load<usize>(this.at, 4) + 20 * i;
  }

  private call(i: u32): usize {
    return load<usize>(this.at, 24) + 24 * i;
  }
}

/** A tool that the model may call; `parameters` is its JSON Schema, as text. */
export class Tool {
  constructor(private at: usize) {}

  get name(): string {
    return textAt(this.at);
  }

  get description(): string {
    return textAt(this.at + 8);
  }

  get parameters(): string {
    return textAt(this.at + 16);
  }
}

/** What a guard judges: 120 bytes. */
export class Input {
  /** Kept between the stages of one run. */
  state: Map<string, string> = new Map<string, string>();

  constructor(private at: usize) {}

  get stage(): Stage {
    return load<u8>(this.at);
  }

  get runId(): string {
    return textAt(this.at + 4);
  }

  get route(): string {
    return textAt(this.at + 12);
  }

  /** The model as the route names it. */
  get model(): string {
    return textAt(this.at + 20);
  }

  /** Who is asking, as authenticated by the host. */
  get principal(): string {
    return textAt(this.at + 28);
  }

  get teams(): string[] {
    return textsAt(this.at + 36);
  }

  get roles(): string[] {
    return textsAt(this.at + 44);
  }

  /** When the run came to this step, in milliseconds since the Unix epoch: the only clock there is. */
  get time(): u64 {
    return load<u64>(this.at, 56);
  }

  get metadata(): Map<string, string> {
    return mapAt(this.at + 64);
  }

  /** Further facts from the host. */
  get context(): Map<string, string> {
    return mapAt(this.at + 72);
  }

  /** Notes left by guards that ran earlier in this run. */
  get labels(): Map<string, string> {
    return mapAt(this.at + 80);
  }

  /** The state as the host has it. */
  get memory(): string | null {
    return load<u8>(this.at, 88) == 0 ? null : textAt(this.at + 92);
  }

  get tools(): Tool[] {
    const count = load<u32>(this.at, 104);
    const tools = new Array<Tool>();
    for (let i: u32 = 0; i < count; i++) tools.push(new Tool(load<usize>(this.at, 100) + 24 * i));
    return tools;
  }

  get messages(): Message[] {
    const count = load<u32>(this.at, 112);
    const messages = new Array<Message>();
    for (let i: u32 = 0; i < count; i++) messages.push(new Message(load<usize>(this.at, 108) + 44 * i));
    return messages;
  }

  /**
   * The texts that this stage is about, in order: at `Ingress` tool descriptions and all of every message, at `ToolResult` messages of role
   * `Tool`, at `ToolCall` the arguments of the reply's calls, at `Egress` the reply's parts. With a role, only what it said.
   */
  texts(role: i32 = -1): Text[] {
    let texts = new Array<Text>();
    const stage = this.stage, messages = this.messages;
    if (stage == Stage.Ingress && role < 0) texts = this.descriptions();
    for (let m = 0; m < messages.length; m++) {
      const message = messages[m];
      const judged = stage == Stage.Ingress || (stage == Stage.ToolResult ? message.role == Role.Tool : m == messages.length - 1);
      if (!judged || (role >= 0 && <i32>message.role != role)) continue;
      if (stage != Stage.ToolCall) texts = texts.concat(message.parts(m));
      if (stage == Stage.Ingress || stage == Stage.ToolCall) texts = texts.concat(message.arguments(m));
    }
    return texts;
  }

  /** All places of these phrases, with the letters of ASCII in upper or lower case, in all texts of this stage. */
  find(phrases: string[]): Finding[] {
    let found = new Array<Finding>();
    const texts = this.texts();
    for (let t = 0; t < texts.length; t++) for (let i = 0; i < phrases.length; i++) found = found.concat(texts[t].find(phrases[i]));
    return found;
  }

  private descriptions(): Text[] {
    const texts = new Array<Text>();
    const count = load<u32>(this.at, 104);
    for (let i: u32 = 0; i < count; i++) {
      const tool = load<usize>(this.at, 100) + 24 * i;
      texts.push(new Text(load<usize>(tool, 8), load<u32>(tool, 12), new Place(PlaceKind.Tool, 0, i), false, null));
    }
    return texts;
  }
}
