import { allow, Guard, Input, requireApproval, Scope, Settings, Verdict } from "aegis-guard";

class {{Camel}} extends Guard {
  name: string = "{{name}}";
  description: string = "Asks for human review where a word of the settings is spoken of";
  scope: Scope = Scope.Message;
  words: string[] = [];

  settings(s: Settings): void {
    this.words = s.texts("words", "What asks for review, in whatever case");
  }

  scan(input: Input): Verdict {
    const found = input.find(this.words);
    return found.length > 0 ? requireApproval("A word was found: is this all right?", found) : allow();
  }
}

export const guard = new {{Camel}}();
