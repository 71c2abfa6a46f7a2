"""Guard "sensitive-topic": a person decides when a user asks about one of the configured phrases."""

from dataclasses import dataclass
from typing import Annotated, Literal

from aegis_guard import Input, Verdict, allow, block, guard, require_approval, setting


@dataclass
class Settings:
    phrases: list[Annotated[str, {"minLength": 1}]] = setting(min_items=1, description="What needs a person to look at")
    action: Literal["require_approval", "block"] = "require_approval"


@guard(version="1.0.0", stages=["ingress"], scope="message")
def sensitive_topic(input: Input, settings: Settings) -> Verdict:
    """Asks for human review of sensitive topics"""
    texts = [text for text in input.texts("user") if not text.json]
    findings = [it for text in texts for phrase in settings.phrases for it in text.find(phrase)]
    if not findings:
        return allow()
    topic = findings[0].rule[0].upper() + findings[0].rule[1:]
    if settings.action == "block":
        return block(f"{topic} is not allowed", findings)
    return require_approval(f"{topic} requires human review", findings)
