"""From the contract's types to the kit's and back: the only file that knows of WebAssembly. `wit_world` is there only while a component is made."""

import json
import types
from typing import Any

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import types as wit

from . import _guard, _sandbox
from ._input import Finding, Input, Place, Principal, Tool
from ._stream import Reply, Step
from ._verdict import Verdict

_ROLES = {it: it.name.lower() for it in wit.Role}
_STAGES = {it: it.name.lower() for it in wit.Stage}


def scanner_of(module: types.ModuleType) -> type:
    """The class that the contract asks for, from a module with a guard."""
    return _scanner(_guard.find(module).whole())


def scanners_of(module: types.ModuleType) -> tuple[type, type]:
    """The two classes that the contract asks for of a guard that also judges replies while they are written."""
    guard = _guard.find(module)
    return _scanner(guard), _stream_scanner(guard)


def _scanner(guard: _guard.Guard) -> type:
    class Scanner(exports.Scanner):
        def describe(self) -> wit.Manifest:
            return _manifest(guard)

        def configure(self, settings: str) -> None:
            _sandbox.close()
            try:
                guard.configure(settings)
            except _guard.Refused as error:
                raise Err(str(error)) from error

        def scan(self, input: wit.Input) -> wit.Report:
            try:
                ours = _input(input)
                return _report(guard.scan(ours), ours, had_memory=input.memory is not None)
            except _guard.Refused as error:
                raise Err(str(error)) from error

    _sandbox.prepare()
    return Scanner


def _stream_scanner(guard: _guard.Guard) -> type:
    # Only in the world of such guards.
    from wit_world.exports import stream_scanner

    def step(it: Step) -> Any:
        match it.kind:
            case "block":
                return stream_scanner.Step_Block(it.text)
            case "hold":
                return stream_scanner.Step_Hold()
        return stream_scanner.Step_Emit(it.text)

    class StreamScanner(exports.StreamScanner):
        _reply: Reply
        _had_memory: bool

        def open(self, input: wit.Input) -> None:
            try:
                StreamScanner._reply = Reply(guard, _input(input))
            except _guard.Refused as error:
                raise Err(str(error)) from error
            StreamScanner._had_memory = input.memory is not None

        def push(self, text: str) -> Any:
            try:
                return step(StreamScanner._reply.push(text))
            except _guard.Refused as error:
                raise Err(str(error)) from error

        def close(self) -> Any:
            try:
                rest, verdict, input = StreamScanner._reply.close()
                return stream_scanner.Ending(step(rest), _report(verdict, input, StreamScanner._had_memory))
            except _guard.Refused as error:
                raise Err(str(error)) from error

    return StreamScanner


def _manifest(guard: _guard.Guard) -> wit.Manifest:
    return wit.Manifest(
        name=guard.name,
        version=guard.version,
        description=guard.description,
        stages=[wit.Stage[it.upper()] for it in guard.stages],
        streaming=wit.StreamingMode[guard.streaming.upper()],
        scope=wit.Scope[guard.scope.upper()],
        settings_schema=guard.schema,
        notes=_labels(guard.notes),
    )


def _input(input: wit.Input) -> Input:
    parts = [[_part(it) for it in message.parts] for message in input.messages]
    return Input(
        stage=_STAGES[input.stage],  # type: ignore[arg-type]
        messages=[_message(message, it) for message, it in zip(input.messages, parts)],
        tools=[Tool(it.name, it.description, it.parameters) for it in input.tools],
        run_id=input.run_id,
        route=input.route,
        model=input.model,
        principal=Principal(input.principal.id, input.principal.teams, input.principal.roles),
        time=input.time,
        metadata={it.key: it.value for it in input.metadata},
        context={it.key: it.value for it in input.context},
        labels={it.key: it.value for it in input.labels},
        state=_state(input.memory),
        parts=parts,
    )


def _part(part: Any) -> tuple[str, bool] | None:
    if isinstance(part, wit.Part_Text):
        return part.value, False
    return (part.value, True) if isinstance(part, wit.Part_Other) else None


def _message(message: wit.Message, parts: list[tuple[str, bool] | None]) -> dict[str, Any]:
    texts = [it[0] for it in parts if it is not None and not it[1]]
    ours: dict[str, Any] = {"role": _ROLES[message.role], "content": "\n".join(texts)}
    if message.name is not None:
        ours["name"] = message.name
    if message.tool_calls:
        calls = [{"id": it.id, "type": "function", "function": {"name": it.name, "arguments": it.arguments}} for it in message.tool_calls]
        ours["tool_calls"] = calls
    if message.tool_call_id is not None:
        ours["tool_call_id"] = message.tool_call_id
    return ours


def _state(memory: str | None) -> dict[str, Any]:
    try:
        state = json.loads(memory) if memory is not None else {}
    except ValueError as error:
        raise _guard.Refused(f"the state that was kept is no JSON: {error}") from error
    if not isinstance(state, dict):
        raise _guard.Refused("the state that was kept is no object")
    return state


def _report(verdict: Verdict, input: Input, had_memory: bool) -> wit.Report:
    try:
        # Also an emptied one: what is not handed back stays as it was.
        memory = json.dumps(input.state, ensure_ascii=False, separators=(",", ":")) if input.state or had_memory else None
        findings = [wit.Finding(str(it.rule), _place(it.at), it.start, it.end, it.score) for it in map(_checked, verdict.findings)]
        return wit.Report(_verdict(verdict), findings, _labels(verdict.labels), memory)
    except (TypeError, ValueError, AttributeError) as error:
        raise _guard.Refused(f"the verdict cannot be handed on: {error}") from error


def _checked(finding: Any) -> Finding:
    if not isinstance(finding, Finding):
        raise TypeError(f"{finding!r} is no finding: let input.find, Text.find or Text.finding make them")
    return finding


def _verdict(verdict: Verdict) -> Any:
    match verdict.kind:
        case "allow":
            return wit.Verdict_Allow()
        case "sanitize":
            return wit.Verdict_Sanitize([wit.Edit(_place(it.at), it.start, it.end, _text(it.text)) for it in verdict.edits])
        case "block":
            return wit.Verdict_Block(_text(verdict.reason))
        case "require_approval":
            approvers = [_text(it) for it in verdict.approvers]
            return wit.Verdict_RequireApproval(wit.Question(_text(verdict.reason), approvers, int(verdict.required)))
    raise ValueError(f"there is no verdict {verdict.kind!r}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r}")
    return value


def _place(at: Place) -> Any:
    match at.kind:
        case "part":
            return wit.Place_Part(wit.PartPlace(at.message, at.index))
        case "arguments":
            return wit.Place_Arguments(wit.ArgumentsPlace(at.message, at.index))
    return wit.Place_Tool(at.index)


def _labels(labels: dict[str, str]) -> list[wit.Label]:
    return [wit.Label(_text(key), _text(value)) for key, value in labels.items()]
