// Settings, named and read by the same calls: without values, they are asked for to learn their schema.

import { Json, Kind, quoted } from "./json";

export class Settings {
  /** Why they are refused; null while nothing is wrong. */
  refused: string | null = null;
  private known: string[] = [];
  private required: string[] = [];
  private properties: string[] = [];

  /** Without values, only the schema is learnt. */
  constructor(private given: Json | null) {}

  /** Refuses the settings: say which one is wrong and what to write instead. The first refusal counts. */
  refuse(why: string): void {
    if (this.given !== null && this.refused === null) this.refused = why;
  }

  /** A text; with a default, it may be left out. */
  text(name: string, description: string = "", fallback: string | null = null): string {
    this.declare(name, '"type":"string"', description, fallback === null ? null : quoted(fallback));
    const value = this.value(name, Kind.Text, "a text");
    return value !== null ? value.text : fallback === null ? "" : fallback;
  }

  /** One of these texts; the first is the default. */
  oneOf(name: string, values: string[], description: string = ""): string {
    const known = new Array<string>();
    for (let i = 0; i < values.length; i++) known.push(quoted(values[i]));
    this.declare(name, '"enum":[' + known.join(",") + "]", description, known[0]);
    const value = this.value(name, Kind.Text, values.join(" or "));
    if (value === null) return values[0];
    if (!values.includes(value.text)) this.refuse(name + ": expected " + values.join(" or ") + ", got " + quoted(value.text));
    return value.text;
  }

  /** One or more texts, none of them empty; with a default, there may be none, or they may be left out. */
  texts(name: string, description: string = "", fallback: string[] | null = null): string[] {
    const least = fallback === null ? '"minItems":1,' : "";
    this.declare(name, '"type":"array",' + least + '"items":{"type":"string","minLength":1}', description, list(fallback));
    const value = this.value(name, Kind.List, "a list of texts");
    const texts = new Array<string>();
    if (value === null) return fallback === null ? texts : fallback;
    for (let i = 0; i < value.items.length; i++) {
      if (value.items[i].kind != Kind.Text || value.items[i].text == "") this.refuse(name + ": expected texts that are not empty");
      texts.push(value.items[i].text);
    }
    if (texts.length == 0 && fallback === null) this.refuse(name + ": expected one or more texts");
    return texts;
  }

  /** A number. */
  number(name: string, fallback: f64, description: string = ""): f64 {
    this.declare(name, '"type":"number"', description, fallback.toString());
    const value = this.value(name, Kind.Number, "a number");
    return value === null ? fallback : value.number;
  }

  /** A whole number. */
  integer(name: string, fallback: i64, description: string = ""): i64 {
    this.declare(name, '"type":"integer"', description, fallback.toString());
    const value = this.value(name, Kind.Number, "a whole number");
    if (value === null) return fallback;
    if (value.number != Math.trunc(value.number)) this.refuse(name + ": expected a whole number");
    return <i64>value.number;
  }

  /** True or false. */
  flag(name: string, fallback: bool, description: string = ""): bool {
    this.declare(name, '"type":"boolean"', description, fallback ? "true" : "false");
    const value = this.value(name, Kind.Boolean, "true or false");
    return value === null ? fallback : value.number != 0;
  }

  /** JSON Schema of what was asked for; empty where nothing was. */
  get schema(): string {
    if (this.known.length == 0) return "";
    const required = this.required.length == 0 ? "" : '"required":[' + this.required.join(",") + "],";
    return '{"type":"object","additionalProperties":false,' + required + '"properties":{' + this.properties.join(",") + "}}";
  }

  /** Refuses what nobody asked for. */
  finish(): void {
    const given = this.given;
    if (given === null) return;
    for (let i = 0; i < given.names.length; i++)
      if (!this.known.includes(given.names[i])) this.refuse("unknown setting `" + given.names[i] + "`; known are: " + this.known.join(", "));
  }

  private declare(name: string, type: string, description: string, fallback: string | null): void {
    this.known.push(name);
    if (fallback === null) this.required.push(quoted(name));
    const told = description == "" ? "" : ',"description":' + quoted(description);
    const otherwise = fallback === null ? "" : ',"default":' + fallback;
    this.properties.push(quoted(name) + ":{" + type + told + otherwise + "}");
  }

  private value(name: string, kind: Kind, what: string): Json | null {
    const given = this.given;
    if (given === null) return null;
    const value = given.get(name);
    if (value === null) {
      if (this.required.includes(quoted(name))) this.refuse(name + " is missing");
      return null;
    }
    if (value.kind == kind) return value;
    this.refuse(name + ": expected " + what);
    return null;
  }
}

function list(texts: string[] | null): string | null {
  if (texts === null) return null;
  const items = new Array<string>();
  for (let i = 0; i < texts.length; i++) items.push(quoted(texts[i]));
  return "[" + items.join(",") + "]";
}
