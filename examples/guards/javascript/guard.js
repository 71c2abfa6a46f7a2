// Guard "sensitive-topic": a person decides when a user asks about one of the configured phrases.
import { allow, block, guard, requireApproval, s } from "aegis-guard";

export default guard({
  name: "sensitive-topic",
  version: "1.0.0",
  description: "Asks for human review of sensitive topics",
  stages: ["ingress"],
  scope: "message",
  settings: {
    phrases: s.list(s.text({ minLength: 1 }), { minItems: 1, description: "What needs a person to look at" }),
    action: s.oneOf(["require_approval", "block"], { default: "require_approval" }),
  },

  scan(input, { phrases, action }) {
    const texts = input.texts("user").filter((it) => !it.json);
    const findings = texts.flatMap((text) => phrases.flatMap((it) => text.find(it)));
    const [first] = findings;
    if (!first) return allow();
    const topic = first.rule.charAt(0).toUpperCase() + first.rule.slice(1);
    if (action === "block") return block(`${topic} is not allowed`, findings);
    return requireApproval(`${topic} requires human review`, findings);
  },
});
