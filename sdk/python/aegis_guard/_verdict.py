"""What a guard says, made in one line."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ._input import Finding, Place


class Edit(NamedTuple):
    """Replaces the bytes `start..end` of the UTF-8 text at one place."""

    at: Place
    start: int
    end: int
    text: str


@dataclass
class Verdict:
    """What a guard says. Made by `allow`, `block`, `mask` and `require_approval`."""

    kind: Literal["allow", "sanitize", "block", "require_approval"] = "allow"
    #: Why it is blocked, or what people have to decide.
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    approvers: list[str] = field(default_factory=list)
    required: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def allow(findings: Iterable[Finding] = (), *, labels: Mapping[str, str] | None = None) -> "Verdict":
        """Nothing against it. Labels are notes for guards that come later in this run."""
        return Verdict(findings=list(findings), labels=dict(labels or {}))

    @staticmethod
    def block(reason: str, findings: Iterable[Finding] = (), *, labels: Mapping[str, str] | None = None) -> "Verdict":
        """May not go on: why, for the caller to read."""
        return Verdict("block", reason, list(findings), labels=dict(labels or {}))

    @staticmethod
    def mask(
        findings: Iterable[Finding], replacement: str | Callable[[Finding], str] | None = None, *, labels: Mapping[str, str] | None = None
    ) -> "Verdict":
        """May go on with something else in place of everything found, by default the rule in brackets; as it is where nothing was found. Findings
        that overlap are replaced together, as the first of them.
        """
        findings = list(findings)
        edits = _edits(findings, replacement)
        return Verdict("sanitize" if edits else "allow", "", findings, edits, labels=dict(labels or {}))

    @staticmethod
    def require_approval(
        prompt: str,
        findings: Iterable[Finding] = (),
        *,
        approvers: Iterable[str] = (),
        required: int = 0,
        labels: Mapping[str, str] | None = None,
    ) -> "Verdict":
        """A person must decide. `approvers` (principals, `team:…`, `role:…`) can only narrow whom the configuration names, `required` can only
        raise how many.
        """
        return Verdict("require_approval", prompt, list(findings), [], list(approvers), required, dict(labels or {}))


def _edits(findings: list[Finding], replacement: str | Callable[[Finding], str] | None) -> list[Edit]:
    edits: list[Edit] = []
    for it in sorted(findings, key=_order):
        last = edits[-1] if edits else None
        if last and last.at == it.at and it.start < last.end:
            edits[-1] = last._replace(end=max(last.end, it.end))
        else:
            text = f"[{it.rule}]" if replacement is None else replacement if isinstance(replacement, str) else replacement(it)
            edits.append(Edit(it.at, it.start, it.end, text))
    return edits


def _order(finding: Finding) -> tuple[int, int, int, int]:
    at = finding.at
    return ("part", "arguments", "tool").index(at.kind), at.message, at.index, finding.start
