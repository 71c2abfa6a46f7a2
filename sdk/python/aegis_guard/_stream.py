"""A reply that comes in pieces, judged by the guard's own `scan`. What may still become a hit is held back; in the end all is scanned once more, as if
it had come in one piece, and what went out has to be the beginning of what comes of that. Nothing in this file knows of WebAssembly.
"""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ._guard import Guard, Refused
from ._input import Input, Place
from ._verdict import Edit, Verdict


class Step(NamedTuple):
    """What may go out of a reply: this text; nothing more, and why; nothing more before a person has seen the whole."""

    kind: Literal["emit", "block", "hold"]
    text: str = ""


class _Hit(NamedTuple):
    start: int
    end: int


@dataclass
class _Seen:
    """What a scan of the reply from some place on has found: places count from the reply's beginning."""

    verdict: Verdict
    hits: list[_Hit]
    edits: list[Edit]
    #: Whether there are findings at all, as reasons for the verdict.
    reasons: bool

    @property
    def end(self) -> int:
        return max((it.end for it in self.hits), default=0)


class Reply:
    """One reply, as far as it has come. All numbers are bytes of UTF-8."""

    def __init__(self, guard: Guard, before: Input):
        self._guard = guard
        self._before = before
        self._longest = guard.held_back()
        self._text = bytearray()
        #: Bytes of the text that are done with, what went out for them, and what was found in them.
        self._settled = 0
        self._out = bytearray()
        self._hits: list[_Hit] = []
        self._over = False

    def push(self, piece: str) -> Step:
        """The next piece."""
        if self._over:
            raise Refused("the stream is over")
        self._text += piece.encode()
        safe = self._before_characters(len(self._text))
        if safe <= self._settled:
            return Step("emit")
        near = _before_hits(self._before_characters(self._settled), self._hits)
        for start in (near, 0):
            seen = self._seen(start)
            end = _before_hits(safe, seen.hits)
            if seen.verdict.kind in ("block", "require_approval"):
                # Which of the findings is the reason cannot be told: all of them have to be final.
                if not seen.reasons or seen.end > end:
                    return Step("emit")
                if start == 0:
                    self._over = True
                    return Step("block", seen.verdict.reason) if seen.verdict.kind == "block" else Step("hold")
            elif self._knows(seen, start):
                return self._settle(end, seen)
        raise self._surprised()

    def close(self) -> tuple[Step, Verdict, Input]:
        """The reply is complete, or nothing more of it matters: what is left, the evidence, and the input with its state."""
        verdict, judged = self._scan(0)
        if self._over:
            rest = Step("emit")
        elif verdict.kind == "block":
            rest = Step("block", verdict.reason)
        elif verdict.kind == "require_approval":
            rest = Step("hold")
        else:
            whole = self._edited(0, len(self._text), verdict.edits)
            if not whole.startswith(self._out):
                raise self._surprised()
            rest = Step("emit", whole[len(self._out) :].decode())
        if verdict.kind != "sanitize":
            verdict = dataclasses.replace(verdict, kind="allow", reason="", approvers=[], required=0)
        return rest, verdict, judged

    def _settle(self, end: int, seen: _Seen) -> Step:
        """All before `end` goes out."""
        if end <= self._settled:
            return Step("emit")
        text = self._edited(self._settled, end, seen.edits)
        self._hits += [it for it in seen.hits if it.start >= self._settled and it.end <= end]
        self._settled = end
        self._out += text
        return Step("emit", text.decode())

    def _before_characters(self, end: int) -> int:
        """So many characters before a place as a hit may have."""
        tail = bytes(self._text[max(0, end - 4 * self._longest) : end]).decode("utf-8", "ignore")
        return end - len(tail[-self._longest :].encode())

    def _knows(self, seen: _Seen, start: int) -> bool:
        """Whether it has again found what was found before, and nothing else there: if not, the part began in the middle of something."""
        return [it for it in seen.hits if it.start < self._settled] == [it for it in self._hits if it.start >= start]

    def _seen(self, start: int) -> _Seen:
        verdict, judged = self._scan(start)
        at = Place("part", len(judged.messages) - 1, 0)
        found = [_Hit(it.start + start, it.end + start) for it in verdict.findings if it.at == at]
        edits = [it._replace(start=it.start + start, end=it.end + start) for it in verdict.edits if it.at == at]
        return _Seen(verdict, sorted({*found, *(_Hit(it.start, it.end) for it in edits)}), edits, bool(found))

    def _scan(self, start: int) -> tuple[Verdict, Input]:
        text, before = bytes(self._text[start:]).decode(), self._before
        messages = [*before.messages, {"role": "assistant", "content": text}]
        # A test writes messages only.
        parts = [*before.parts, [(text, False)]] if len(before.parts) == len(before.messages) else []
        # Each scan begins with the state that the reply began with.
        input = dataclasses.replace(before, messages=messages, parts=parts, state=copy.deepcopy(before.state))
        verdict, at = self._guard.scan(input), Place("part", len(messages) - 1, 0)
        if verdict.kind == "sanitize" and any(it.at != at for it in verdict.edits):
            raise Refused("an edit stands outside of the reply: at egress nothing else may be edited")
        return verdict, input

    def _edited(self, start: int, end: int, edits: list[Edit]) -> bytes:
        """A part of the text with the edits in it."""
        out, done = bytearray(), start
        for it in sorted(edits, key=lambda it: it.start):
            if start <= it.start and it.end <= end:
                out += self._text[done : it.start] + it.text.encode()
                done = it.end
        return bytes(out + self._text[done:end])

    def _surprised(self) -> Refused:
        return Refused(f"what came later changed what was found before: a hit is longer than the {self._longest} characters that `longest` says")


def _before_hits(end: int, hits: list[_Hit]) -> int:
    """The last place up to `end` that is in the middle of no hit."""
    while (inside := next((it for it in hits if it.start < end < it.end), None)) is not None:
        end = inside.start
    return end
