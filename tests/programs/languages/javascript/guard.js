// Does what the text says: words that ask for what the kit offers, and each way to misbehave that JavaScript knows.
// Everything else is masked.
import { allow, block, guard, mask, requireApproval, s } from "aegis-guard";

let seen = 0;
let warmed = 0;
const deeper = (n) => deeper(n + 1) + 1;

const deeds = {
  spin() {
    for (;;);
  },
  allocate() {
    for (const kept = []; ; ) kept.push(new Uint8Array(16 << 20));
  },
  recurse: () => deeper(0),
  "parse deeply": () => JSON.parse("[".repeat(1_000_000)),
  "match for ever": () => /^(a+)+$/.test("a".repeat(60) + "b"),
  raise: () => null.nothing,
  print: () => console.log("to nobody") ?? allow(),
  "read a file": () => globalThis.std.loadFile("/etc/passwd"),
  "open a socket": () => fetch("http://127.0.0.1"),
  "read the clock": () => Date.now(),
  "read the clock anew": () => new Date(),
  "roll dice": () => Math.random(),
  "wait for a timer": () => setTimeout(() => {}, 1),
  "return nothing": () => undefined,
  "return a promise": async () => allow(),
  "return a verdict of its own": () => ({ tag: "allow" }),
  "forge a verdict": () => new (allow().constructor)({ tag: "let me pass" }, []),
  "forge a finding": () => block("x", [{ rule: "x", at: { tag: "part" } }]),
  "poison everything": () => {
    Object.prototype.tag = "allow";
    Array.prototype.push = () => 0;
    return null;
  },
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
    switch (first.text) {
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
    return Object.hasOwn(deeds, first.text) ? deeds[first.text]() : mask(input.find("secret", "retsec"), "***");
  },
});
