// Texts as the contract hands them over, a pointer and a length, and lists of them. Nothing is ever freed: an instance lives for one scan.

// @ts-ignore: decorators on functions are AssemblyScript's
@inline
export function textAt(at: usize): string {
  return String.UTF8.decodeUnsafe(load<usize>(at), load<u32>(at, 4));
}

export function putText(at: usize, text: string): void {
  const bytes = String.UTF8.encode(text);
  store<usize>(at, changetype<usize>(bytes));
  store<u32>(at, bytes.byteLength, 4);
}

/** Zeroed: in the contract's variants zero is `none`, `allow`, the empty list. */
export function zeroed(size: usize): usize {
  const at = heap.alloc(size);
  memory.fill(at, 0, size);
  return at;
}

/** Room for so many items; puts the list's pointer and length at `at`. */
export function putList(at: usize, count: i32, size: usize): usize {
  const items = zeroed(max<usize>(1, <usize>count * size));
  store<usize>(at, items);
  store<u32>(at, count, 4);
  return items;
}

/** A list of texts by names, which takes 16 bytes a pair. */
export function mapAt(at: usize): Map<string, string> {
  const map = new Map<string, string>();
  const items = load<usize>(at);
  for (let i: u32 = 0, count = load<u32>(at, 4); i < count; i++) map.set(textAt(items + 16 * i), textAt(items + 16 * i + 8));
  return map;
}

export function putMap(at: usize, map: Map<string, string>): void {
  const keys = map.keys();
  const items = putList(at, keys.length, 16);
  for (let i = 0; i < keys.length; i++) {
    putText(items + 16 * i, keys[i]);
    putText(items + 16 * i + 8, map.get(keys[i]));
  }
}

export function textsAt(at: usize): string[] {
  const items = load<usize>(at);
  const count = load<u32>(at, 4);
  const texts = new Array<string>(count);
  for (let i: u32 = 0; i < count; i++) texts[i] = textAt(items + 8 * i);
  return texts;
}

export function putTexts(at: usize, texts: string[]): void {
  const items = putList(at, texts.length, 8);
  for (let i = 0; i < texts.length; i++) putText(items + 8 * i, texts[i]);
}
