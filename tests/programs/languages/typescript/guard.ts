// Does what the text says: words that ask for what the kit offers, and each way to misbehave that TypeScript knows
// (its types are gone when it runs). Everything else is masked.
import { allow, block, guard, mask, requireApproval, s, type Finding, type Verdict } from "aegis-guard";

let seen = 0;
let warmed = 0;
const deeper = (n: number): number => deeper(n + 1) + 1;
const somewhere: Finding = { rule: "x", at: { tag: "part", val: { message: 0, part: 0 } }, start: 1, end: 2 };

const deeds: Record<string, () => unknown> = {
  spin() {
    for (;;);
  },
  allocate() {
    for (const kept: Uint8Array[] = []; ; ) kept.push(new Uint8Array(16 << 20));
  },
  recurse: () => deeper(0),
  raise: () => (undefined as unknown as string).length,
  "throw nothing": () => {
    throw undefined;
  },
  print: () => (globalThis as { console?: { log(text: string): void } }).console?.log("to nobody") ?? allow(),
  "lie about a verdict": () => "allow" as unknown as Verdict,
  "lie about a reason": () => block({} as unknown as string),
  "lie about a number": () => requireApproval("x", [], { required: -1 }),
  "é: split a character": () => mask([somewhere], "x"),
  "find behind the text": () => block("x", [{ ...somewhere, end: 1000 }]),
  "find more than surely": () => block("x", [{ ...somewhere, start: 0, score: 2 }]),
  "keep state": () => (++seen === 1 ? allow() : block("it kept its state")),
};

export default guard({
  name: "hostile",
  description: "Does what the text says",
  settings: {
    text: s.text({ default: "t" }),
    number: s.number({ default: 1.5 }),
    flag: s.boolean({ default: false }),
    choice: s.oneOf(["one", "two"], { default: "one" }),
    list: s.list(s.text({ minLength: 1 }), { default: [] }),
  },
  warmUp: ["warm"],

  scan(input, it) {
    const [first] = input.texts();
    switch (first!.text) {
      case "warm":
        warmed++;
        break;
      case "tell warmth":
        return block(String(warmed));
      case "settings":
        return block(`${it.text} ${it.number * 10} ${it.flag ? "yes" : "no"} ${it.choice} ${it.list.map((item) => `${item}+`).join("")}`);
      case "ask":
        return requireApproval("sure?", [], { approvers: ["team:risk", "role:approver"], required: 2 });
      case "remember":
        input.state.seen = `${input.state.seen ?? ""}x`;
        return allow().withLabels({ seen: "yes" });
    }
    const deed = deeds[first!.text];
    return deed ? (deed() as Verdict) : mask(input.find("secret", "retsec"), "***");
  },
});
