import { allow, guard, requireApproval, s } from "aegis-guard";

export default guard({
  name: "{{name}}",
  description: "Asks for human review where a word of the settings is spoken of",
  scope: "message",
  settings: { words: s.list(s.text({ minLength: 1 }), { description: "What asks for review, in whatever case" }) },

  scan(input, settings) {
    const found = input.find(...settings.words);
    return found.length > 0 ? requireApproval("A word was found: is this all right?", found) : allow();
  },
});
