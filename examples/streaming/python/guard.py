import re
from dataclasses import dataclass

from aegis_guard import Input, Verdict, block, guard, mask, setting

SECRET = re.compile(r"SECRET-[0-9]{4}")


@dataclass
class Settings:
    forbidden: list[str] = setting([], description="What ends a reply, in whatever case")


def longest(settings: Settings) -> int:
    return max(map(len, ["SECRET-0000", *settings.forbidden]))


@guard(name="no-secrets", version="1.0.0", stages=["egress"], streaming="incremental", longest=longest)
def no_secrets(input: Input, settings: Settings) -> Verdict:
    """Masks secrets in replies while the model is still writing, and ends them at a forbidden word"""
    forbidden = [it._replace(rule="forbidden") for it in input.find(*settings.forbidden)]
    if forbidden:
        return block("The reply contains something forbidden", forbidden)
    return mask([it for text in input.texts() for it in text.find(SECRET, "secret")], "[MASKED]")
