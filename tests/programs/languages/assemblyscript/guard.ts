// Does what the text says: each word is a way to misbehave that AssemblyScript knows.
import { allow, block, failed, Finding, Guard, Input, Place, PlaceKind, Stage, Verdict } from "aegis-guard";

let seen = 0;

function deeper(n: i32): i32 {
  return n == i32.MIN_VALUE ? 0 : deeper(n + 1) + 1;
}

function spin(): void {
  while (true) seen++;
}

function allocateAll(): void {
  while (true) memory.fill(heap.alloc(1 << 20), 1, 1 << 20);
}

class Hostile extends Guard {
  name: string = "hostile";
  description: string = "Does what the text says";
  stages: Stage[] = [Stage.Ingress];

  scan(input: Input): Verdict {
    const messages = input.messages;
    const text = messages[messages.length - 1].content;
    if (text == "spin") spin();
    if (text == "allocate") allocateAll();
    if (text == "recurse") return block(deeper(0).toString());
    if (text == "raise") throw new Error("thrown");
    if (text == "decline") return failed("it cannot judge");
    if (text == "index out of bounds") return block(messages[1000].content);
    if (text == "read outside memory") return block(load<u8>(0xfffffff0).toString());
    if (text == "write over the host's answer") memory.fill(0, 0xff, <usize>memory.size() << 16);
    if (text == "forge a finding") return block("x", [new Finding("x", new Place(PlaceKind.Part, 7, 7), 0, 1)]);
    if (text == "print") { trace("to nobody"); console.log("to nobody"); }
    if (text == "keep state") return ++seen == 1 ? allow() : block("it kept its state");
    return allow();
  }
}

export const guard = new Hostile();
