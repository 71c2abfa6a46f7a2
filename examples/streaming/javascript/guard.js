import { block, guard, mask, s } from "aegis-guard";

export default guard({
  name: "no-secrets",
  version: "1.0.0",
  description: "Masks secrets in replies while the model is still writing, and ends them at a forbidden word",
  stages: ["egress"],
  settings: { forbidden: s.list(s.text({ minLength: 1 }), { default: [], description: "What ends a reply, in whatever case" }) },
  streaming: "incremental",
  longest: (settings) => Math.max(...["SECRET-0000", ...settings.forbidden].map((it) => it.length)),

  scan(input, settings) {
    const forbidden = input.find(...settings.forbidden).map((it) => ({ ...it, rule: "forbidden" }));
    if (forbidden.length > 0) return block("The reply contains something forbidden", forbidden);
    return mask(input.texts().flatMap((text) => text.find(/SECRET-[0-9]{4}/, "secret")), "[MASKED]");
  },
});
