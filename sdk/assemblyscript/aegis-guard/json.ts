// JSON, as much of it as settings and states need: all of it is read, and texts are written.

export enum Kind { Null, Boolean, Number, Text, List, Object }

export class Json {
  text: string = "";
  /** Of a number; of a boolean 0 or 1. */
  number: f64 = 0;
  items: Json[] = [];
  /** Of an object: names of the items, in the same order. */
  names: string[] = [];

  constructor(public kind: Kind) {}

  /** The item of this name; the last, as everywhere, where there are two. */
  get(name: string): Json | null {
    const at = this.names.lastIndexOf(name);
    return at < 0 ? null : this.items[at];
  }
}

/** The value that the text holds; null where it is no JSON. */
export function parse(text: string): Json | null {
  const parser = new Parser(text);
  const value = parser.value(0);
  return parser.peek() == -1 ? value : null;
}

/** A text as JSON has it. */
export function quoted(text: string): string {
  const parts = new Array<string>();
  let plain = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x20 && c != 0x22 && c != 0x5c) continue;
    parts.push(text.substring(plain, i));
    parts.push(c < 0x20 ? "\\u00" + (c < 0x10 ? "0" : "1") + (c & 15).toString(16) : "\\" + text.charAt(i));
    plain = i + 1;
  }
  parts.push(text.substring(plain));
  return '"' + parts.join("") + '"';
}

/** An object of texts. */
export function object(map: Map<string, string>): string {
  const keys = map.keys(), parts = new Array<string>();
  for (let i = 0; i < keys.length; i++) parts.push(quoted(keys[i]) + ":" + quoted(map.get(keys[i])));
  return "{" + parts.join(",") + "}";
}

/** So deep and no deeper: the stack is small. */
const DEEPEST = 64;

class Parser {
  private at: i32 = 0;

  constructor(private text: string) {}

  /** The next character that is no white space, without taking it; -1 at the end. */
  peek(): i32 {
    while (this.at < this.text.length) {
      const c = this.text.charCodeAt(this.at);
      if (c != 32 && c != 9 && c != 10 && c != 13) return c;
      this.at++;
    }
    return -1;
  }

  value(depth: i32): Json | null {
    if (depth > DEEPEST) return null;
    const c = this.peek();
    if (c == 0x7b) return this.object(depth);
    if (c == 0x5b) return this.list(depth);
    if (c == 0x22) return this.string();
    if (c == 0x74) return this.word("true", Kind.Boolean, 1);
    if (c == 0x66) return this.word("false", Kind.Boolean, 0);
    if (c == 0x6e) return this.word("null", Kind.Null, 0);
    return this.number();
  }

  private take(wanted: i32): bool {
    if (this.peek() != wanted) return false;
    this.at++;
    return true;
  }

  private object(depth: i32): Json | null {
    const object = new Json(Kind.Object);
    this.at++;
    if (this.take(0x7d)) return object;
    do {
      const name = this.peek() == 0x22 ? this.string() : null;
      if (name === null || !this.take(0x3a)) return null;
      const value = this.value(depth + 1);
      if (value === null) return null;
      object.names.push(name.text);
      object.items.push(value);
    } while (this.take(0x2c));
    return this.take(0x7d) ? object : null;
  }

  private list(depth: i32): Json | null {
    const list = new Json(Kind.List);
    this.at++;
    if (this.take(0x5d)) return list;
    do {
      const value = this.value(depth + 1);
      if (value === null) return null;
      list.items.push(value);
    } while (this.take(0x2c));
    return this.take(0x5d) ? list : null;
  }

  private word(word: string, kind: Kind, number: f64): Json | null {
    if (this.text.substr(this.at, word.length) != word) return null;
    this.at += word.length;
    const value = new Json(kind);
    value.number = number;
    return value;
  }

  private number(): Json | null {
    const start = this.at;
    while (this.at < this.text.length && "+-.0123456789Ee".includes(this.text.charAt(this.at))) this.at++;
    const value = new Json(Kind.Number);
    value.number = F64.parseFloat(this.text.substring(start, this.at));
    return start == this.at || isNaN(value.number) ? null : value;
  }

  private string(): Json | null {
    const parts = new Array<string>();
    let plain = ++this.at;
    while (this.at < this.text.length) {
      const c = this.text.charCodeAt(this.at);
      if (c < 0x20) return null;
      if (c != 0x22 && c != 0x5c) {
        this.at++;
        continue;
      }
      parts.push(this.text.substring(plain, this.at++));
      if (c == 0x22) {
        const value = new Json(Kind.Text);
        value.text = parts.join("");
        return value;
      }
      const escaped = this.escaped();
      if (escaped === null) return null;
      parts.push(escaped);
      plain = this.at;
    }
    return null;
  }

  private escaped(): string | null {
    const c = this.text.charAt(this.at++);
    if (c == "u") {
      const unit = I32.parseInt(this.text.substr(this.at, 4), 16);
      this.at += 4;
      return String.fromCharCode(unit);
    }
    const known = "\"\\/bfnrt".indexOf(c);
    return c == "" || known < 0 ? null : "\"\\/\b\f\n\r\t".charAt(known);
  }
}
