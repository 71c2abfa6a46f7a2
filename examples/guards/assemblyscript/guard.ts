// Guard "sensitive-topic": a person decides when a user asks about one of the configured phrases.
import { allow, block, Finding, Guard, Input, requireApproval, Role, Scope, Settings, Stage, Verdict } from "aegis-guard";

class SensitiveTopic extends Guard {
  name: string = "sensitive-topic";
  version: string = "1.0.0";
  description: string = "Asks for human review of sensitive topics";
  stages: Stage[] = [Stage.Ingress];
  scope: Scope = Scope.Message;
  phrases: string[] = [];
  action: string = "";

  settings(s: Settings): void {
    this.phrases = s.texts("phrases", "What needs a person to look at");
    this.action = s.oneOf("action", ["require_approval", "block"]);
  }

  scan(input: Input): Verdict {
    let findings: Finding[] = [];
    const texts = input.texts(Role.User);
    for (let t = 0; t < texts.length; t++) {
      if (texts[t].json) continue;
      for (let i = 0; i < this.phrases.length; i++) findings = findings.concat(texts[t].find(this.phrases[i]));
    }
    if (findings.length == 0) return allow();
    const rule = findings[0].rule;
    const topic = rule.charAt(0).toUpperCase() + rule.substring(1);
    if (this.action == "block") return block(topic + " is not allowed", findings);
    return requireApproval(topic + " requires human review", findings);
  }
}

export const guard = new SensitiveTopic();
