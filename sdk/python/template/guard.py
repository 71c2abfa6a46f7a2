from dataclasses import dataclass

from aegis_guard import Input, Verdict, allow, guard, require_approval, setting


@dataclass
class Settings:
    words: list[str] = setting(description="What asks for review, in whatever case")


@guard(name="{{name}}", scope="message")
def {{snake}}(input: Input, settings: Settings) -> Verdict:
    """Asks for human review where a word of the settings is spoken of"""
    found = input.find(*settings.words)
    return require_approval("A word was found: is this all right?", found) if found else allow()
