// Does what the text says: words that ask for what the kit offers, and each way to misbehave that AssemblyScript knows.
// Everything else is masked.
import { allow, block, failed, Finding, Guard, Input, mask, Place, PlaceKind, requireApproval, Settings, Verdict } from "aegis-guard";

let seen = 0;
let warmed = 0;

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
  told: string = "";

  settings(s: Settings): void {
    const text = s.text("text", "", "t"), tens = <i32>(s.number("number", 1.5) * 10), flag = s.flag("flag", false);
    const choice = s.oneOf("choice", ["one", "two"]), list = s.texts("list", "", []);
    this.told = text + " " + tens.toString() + " " + (flag ? "yes" : "no") + " " + choice + " ";
    for (let i = 0; i < list.length; i++) this.told += list[i] + "+";
  }

  warmUp(): string[] {
    return ["warm"];
  }

  scan(input: Input): Verdict {
    const text = input.texts()[0].text;
    if (text == "warm") warmed++;
    if (text == "tell warmth") return block(warmed.toString());
    if (text == "settings") return block(this.told);
    if (text == "ask") return this.ask();
    if (text == "remember") return this.remember(input);
    if (text == "spin") spin();
    if (text == "allocate") allocateAll();
    if (text == "recurse") return block(deeper(0).toString());
    if (text == "raise") throw new Error("thrown");
    if (text == "decline") return failed("it cannot judge");
    if (text == "index out of bounds") return block(input.texts()[1000].text);
    if (text == "read outside memory") return block(load<u8>(0xfffffff0).toString());
    if (text == "write over everything") memory.fill(0, 0xff, <usize>memory.size() << 16);
    if (text == "forge a finding") return block("x", [new Finding("x", new Place(PlaceKind.Part, 7, 7), 0, 1)]);
    if (text == "print") {
      trace("to nobody");
      console.log("to nobody");
    }
    if (text == "keep state") return ++seen == 1 ? allow() : block("it kept its state");
    return mask(input.find(["secret", "retsec"]), "***");
  }

  private ask(): Verdict {
    const verdict = requireApproval("sure?");
    verdict.approvers = ["team:risk", "role:approver"];
    verdict.required = 2;
    return verdict;
  }

  private remember(input: Input): Verdict {
    const before = input.state.has("seen") ? input.state.get("seen") : "";
    input.state.set("seen", before + "x");
    const verdict = allow();
    verdict.labels.set("seen", "yes");
    return verdict;
  }
}

export const guard = new Hostile();
