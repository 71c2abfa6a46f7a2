"""What a guard is asked about, as texts with their places. Nothing in this file knows of WebAssembly."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Stage = Literal["ingress", "tool_result", "tool_call", "egress"]
STAGES: tuple[Stage, ...] = ("ingress", "tool_result", "tool_call", "egress")


class Place(NamedTuple):
    """Where a text stands: part `index` of message `message`, the arguments of its call `index`, or the description of tool `index`."""

    kind: Literal["part", "arguments", "tool"]
    message: int
    index: int


class Finding(NamedTuple):
    """Evidence: which rule saw what, where. `start` and `end` are bytes of the UTF-8 text: let `Text.find` or `Text.finding` make them."""

    rule: str
    at: Place
    start: int
    end: int
    score: float | None = None


def _lower(text: str) -> str:
    """In lower case, character by character: an index means the same in both. Only İ has two characters in lower case; it is left as it is."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "İ".join(it.lower() for it in text.split("İ"))


class Text:
    """A text of the input, and where it stands."""

    __slots__ = ("text", "at", "json", "message", "_ascii", "_lowered", "_seen")

    def __init__(self, text: str, at: Place, json: bool = False, message: dict[str, Any] | None = None):
        self.text = text
        self.at = at
        #: Whether it is JSON: the arguments of a tool call, as the model wrote them, or a part that is neither text nor media. The latter can
        #: be found, blocked and asked about, but not masked.
        self.json = json
        #: The message that it stands in; None for the description of a tool.
        self.message = message
        self._ascii = text.isascii()
        self._lowered: str | None = None
        self._seen = (0, 0)

    def __str__(self) -> str:
        return self.text

    def __contains__(self, part: str) -> bool:
        return part in self.text

    @property
    def role(self) -> str | None:
        """Who said it; None for the description of a tool."""
        return self.message["role"] if self.message else None

    def find(self, what: "str | re.Pattern[str]", rule: str | None = None) -> list[Finding]:
        """All places of a phrase, in upper or lower case, or of a compiled pattern. The rule is the phrase or the pattern, if it is not given."""
        if isinstance(what, str):
            return [self.finding(what if rule is None else rule, at, at + len(what)) for at in self._hits(_lower(what))]
        rule = what.pattern if rule is None else rule
        return [self.finding(rule, it.start(), it.end()) for it in what.finditer(self.text) if it.end() > it.start()]

    def _hits(self, phrase: str) -> Iterator[int]:
        if self._lowered is None:
            self._lowered = _lower(self.text)
        at = self._lowered.find(phrase) if phrase else -1
        while at >= 0:
            yield at
            at = self._lowered.find(phrase, at + len(phrase))

    def finding(self, rule: str, start: int, end: int, score: float | None = None) -> Finding:
        """Evidence that `rule` saw something in `text[start:end]`."""
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"{start}..{end} is no part of a text of {len(self.text)} characters")
        return Finding(rule, self.at, self._bytes_before(start), self._bytes_before(end), score)

    def _bytes_before(self, index: int) -> int:
        # Hits come in order, mostly: count on from the last one, so that many hits in a long text stay cheap.
        if self._ascii:
            return index
        known, count = self._seen if self._seen[0] <= index else (0, 0)
        count += len(self.text[known:index].encode("utf-8", "surrogatepass"))
        self._seen = (index, count)
        return count


@dataclass
class Principal:
    """Who is asking, as authenticated by the host."""

    id: str = ""
    teams: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)


@dataclass
class Tool:
    """A tool that the model may call; `parameters` is its JSON Schema, as text."""

    name: str
    description: str = ""
    parameters: str = "{}"


@dataclass
class Input:
    """What a guard judges."""

    stage: Stage = "ingress"
    #: As in OpenAI's API: `role`, `content` (always one text: parts are joined by line ends), and `name`, `tool_calls`, `tool_call_id` where there are any.
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    run_id: str = ""
    route: str = ""
    #: The model as the route names it.
    model: str = ""
    principal: Principal = field(default_factory=Principal)
    #: When the run came to this step, in milliseconds since the Unix epoch: the only clock there is.
    time: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    #: Further facts from the host.
    context: dict[str, str] = field(default_factory=dict)
    #: Notes left by guards that ran earlier in this run.
    labels: dict[str, str] = field(default_factory=dict)
    #: Kept between the stages of one run, as JSON.
    state: dict[str, Any] = field(default_factory=dict)
    #: For each message its parts: a text and whether it is JSON, or None for media, which have no text.
    parts: list[list[tuple[str, bool] | None]] = field(default_factory=list, repr=False)

    def texts(self, *roles: str) -> list[Text]:
        """The texts that this stage is about, in order: at `ingress` tool descriptions and all of every message, at `tool_result` messages of role
        `tool`, at `tool_call` the arguments of the reply's calls, at `egress` the reply's parts. With roles, only what they said.
        """
        texts = []
        if self.stage == "ingress":
            texts += [Text(it.description, Place("tool", 0, n)) for n, it in enumerate(self.tools)]
        for m, message in enumerate(self.messages):
            if self._is_judged(m, message):
                texts += self._texts_of(m, message)
        return [it for it in texts if it.role in roles] if roles else texts

    def find(self, *what: "str | re.Pattern[str]") -> list[Finding]:
        """All places of these phrases, in upper or lower case, or compiled patterns, in all texts of this stage."""
        return [finding for text in self.texts() for it in what for finding in text.find(it)]

    def _is_judged(self, m: int, message: dict[str, Any]) -> bool:
        if self.stage == "tool_result":
            return message["role"] == "tool"
        return self.stage == "ingress" or m == len(self.messages) - 1

    def _texts_of(self, m: int, message: dict[str, Any]) -> list[Text]:
        texts = []
        if self.stage != "tool_call":
            parts = enumerate(self._parts(m))
            texts += [Text(it[0], Place("part", m, p), it[1], message) for p, it in parts if it is not None]
        if self.stage in ("ingress", "tool_call"):
            calls = enumerate(message.get("tool_calls", ()))
            texts += [Text(it["function"]["arguments"], Place("arguments", m, c), True, message) for c, it in calls]
        return texts

    def _parts(self, m: int) -> list[tuple[str, bool] | None]:
        # A test writes messages only.
        return self.parts[m] if m < len(self.parts) else [(self.messages[m].get("content") or "", False)]

    @staticmethod
    def of(text: str, stage: Stage = "ingress") -> "Input":
        """An input of one text: a user's message, a tool's, a call with this text as its arguments, or a reply. For tests and for warming up."""
        call = {"id": "call-1", "type": "function", "function": {"name": "tool", "arguments": text}}
        message: dict[str, Any] = {
            "ingress": {"role": "user", "content": text},
            "tool_result": {"role": "tool", "content": text, "tool_call_id": "call-1"},
            "tool_call": {"role": "assistant", "content": "", "tool_calls": [call]},
            "egress": {"role": "assistant", "content": text},
        }[stage]
        return Input(stage=stage, messages=[message])
