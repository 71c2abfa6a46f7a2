"""A guard, from a function or a class: how it introduces itself, how it takes its settings, how it judges. Nothing in this file knows of WebAssembly."""

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _settings
from ._input import STAGES, Input
from ._verdict import Verdict

_ASKED_FOR = ("input", "messages", "settings", "state")

#: Scanned once at load where a guard brings no texts of its own.
_SAMPLE = (
    "Hello, my name is Ana-Lucía Müller; could you summarise the 3 attached reports (Q1–Q3, 2024) by 09:30?\n"
    "Send it to ana.mueller@example.com or call +49 30 901820. The total was €1,234.56 (about 12%), see https://example.com/a?b=c#d.\n"
    '```json\n{"id": 42, "ok": true}\n```\nNaïve café, Straße, İstanbul, Привет, 你好 👋'
)


class Refused(Exception):
    """Why a guard does not take its settings, or could not judge: a text for people."""


@dataclass
class Guard:
    """What the contract asks of a guard."""

    name: str
    version: str = "0.1.0"
    description: str = ""
    stages: tuple[str, ...] = STAGES
    scope: str = "conversation"
    notes: dict[str, str] = field(default_factory=dict)
    warm_up: tuple[str, ...] = ()
    #: `incremental`: replies are judged while the model is still writing them.
    streaming: str = "none"
    #: Characters that a hit has at most, together with what has to be looked at before and behind it; also a function of the settings.
    longest: "int | Callable[[Any], int] | None" = None
    #: The dataclass of its settings; None where it takes none.
    settings: Any = None
    #: From settings to the function that judges.
    start: Callable[[Any], Callable[..., Any]] = field(default=lambda settings: lambda: None, repr=False)
    #: The function that judges, with its settings; None before `configure`.
    _scan: Callable[..., Any] | None = field(default=None, repr=False)
    _configured: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # Asked for by name all too often as `stages="ingress"`.
        self.stages = (self.stages,) if isinstance(self.stages, str) else tuple(self.stages)
        for it in self.stages:
            if it not in STAGES:
                raise ValueError(f"{self.name}: there is no stage {it!r}; there are: {', '.join(STAGES)}")
        if not self.stages:
            raise ValueError(f"{self.name}: name at least one stage: {', '.join(STAGES)}")
        if self.scope not in ("message", "conversation"):
            raise ValueError(f"{self.name}: there is no scope {self.scope!r}; there are: message, conversation")
        if self.streaming not in ("none", "incremental"):
            raise ValueError(f"{self.name}: there is no streaming {self.streaming!r}; there are: none, incremental")
        if self.streaming == "incremental" and (self.longest is None or "egress" not in self.stages):
            raise ValueError(
                f"{self.name}: to judge replies while they are written, it has to say how many characters a hit has at most, as in longest=64, "
                "and to be asked at egress"
            )
        if self.settings is not None and not dataclasses.is_dataclass(self.settings):
            raise TypeError(f"{self.name}: settings are a class with @dataclass, not {self.settings!r}")
        self.schema  # so that a mistake in the settings' types is found at build

    @property
    def schema(self) -> str:
        """JSON Schema of the settings; empty where it takes none."""
        return "" if self.settings is None else json.dumps(_settings.schema(self.settings), ensure_ascii=False)

    def configure(self, text: str) -> None:
        """Takes the settings, then scans the texts of the warm-up, so that everything lazy is there when the first real text comes."""
        try:
            value = json.loads(text or "{}")
        except ValueError as error:
            raise Refused(f"settings: this is no JSON: {error}") from error
        if self.settings is None and value not in ({}, None):
            raise Refused(f"settings: {self.name} takes none")
        try:
            self._configured = None if self.settings is None else _settings.read(self.settings, {} if value is None else value)
            self._scan = self.start(self._configured)
        except ValueError as error:
            raise Refused(str(error)) from error
        except BaseException as error:
            raise Refused(_told(error)) from error
        self._warm()

    def _warm(self) -> None:
        for stage in self.stages:
            for text in self.warm_up or (_SAMPLE,):
                try:
                    self.scan(Input.of(text, stage))
                except Refused as error:
                    # Not every guard can judge our text; its own it must.
                    if self.warm_up:
                        raise Refused(f"warm_up at {stage}: {error}") from error

    def whole(self) -> "Guard":
        """Itself, where it is built as one that judges whole replies only: its own file does not say otherwise."""
        if self.streaming == "incremental":
            raise ValueError(
                f"{self.name}: to judge replies while they are written, write \"incremental\" itself, in quotes, in the file of the guard: "
                "aegis guard build looks for it there"
            )
        return self

    def held_back(self) -> int:
        """How many characters of a reply may still become a hit."""
        try:
            return max(1, int(self.longest(self._configured) if callable(self.longest) else self.longest or 1))
        except Exception as error:
            raise Refused(f"longest: {_told(error)}") from error

    def scan(self, input: Input) -> Verdict:
        """Judges."""
        scan = self._scan
        if scan is None:
            raise Refused("configure comes first")
        offered = {"input": input, "messages": input.messages, "settings": self._configured, "state": input.state}
        try:
            verdict = scan(**{name: offered[name] for name in inspect.signature(scan).parameters if name in offered})
            if inspect.iscoroutine(verdict):
                verdict = _driven(verdict)
        except MemoryError:
            raise  # ends the sandbox: then the host knows which limit it was
        except BaseException as error:  # also SystemExit: it is no verdict either
            raise Refused(_told(error)) from error
        if not isinstance(verdict, Verdict):
            raise Refused(f"{self.name} returned {verdict!r}: return a verdict, such as allow() or block(\"why\")")
        return verdict


def guard(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "0.1.0",
    description: str | None = None,
    stages: Iterable[str] = STAGES,
    scope: str = "conversation",
    notes: Mapping[str, str] | None = None,
    warm_up: Iterable[str] = (),
    streaming: str = "none",
    longest: "int | Callable[[Any], int] | None" = None,
) -> Any:
    """Makes a guard of a function. Its name and its docstring are the guard's, its parameter `settings` has the type of the settings.

    A guard with `scope="message"` judges each message by itself, and is handed only those that it has not judged yet. `warm_up` are texts like those
    of the traffic, scanned once at load: every scan starts with the caches that they filled.

    With `streaming="incremental"`, replies are judged while the model is still writing them, by the same function: `longest` says how many characters
    a hit has at most, together with what has to be looked at before and behind it, as a number or as a function of the settings. So much is held back.
    It has to find the same in a part of a text as in the whole: patterns and words are fine, counting hits is not. Where it blocks or asks, its
    findings say why.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__guard__ = Guard(  # type: ignore[attr-defined]
            name=name or function.__name__.replace("_", "-"),
            version=version,
            description=description or _first_line(function),
            stages=stages,  # type: ignore[arg-type]
            scope=scope,
            notes=dict(notes or {}),
            warm_up=tuple(warm_up),
            streaming=streaming,
            longest=longest,
            settings=typing.get_type_hints(function).get("settings"),
            start=lambda settings: function,
        )
        _check_parameters(function)
        return function

    return decorate if function is None else decorate(function)


def find(module: types.ModuleType) -> Guard:
    """The one guard of a module: a decorated function, or a class with a method `scan`."""
    ours = [it for it in vars(module).values() if getattr(it, "__module__", None) == module.__name__]
    guards = [it.__guard__ for it in ours if isinstance(getattr(it, "__guard__", None), Guard)]
    classes = [it for it in ours if isinstance(it, type) and callable(getattr(it, "scan", None)) and not it.__name__.startswith("_")]
    guards += [of_class(it) for it in classes]
    if len(guards) == 1:
        return guards[0]
    found = f"several guards ({', '.join(it.name for it in guards)})" if guards else "no guard"
    raise TypeError(f"{module.__name__}.py has {found}: a guard is one function with @guard, or one class with a method `scan`")


def of_class(kind: type) -> Guard:
    """A guard from a class with a method `scan`; everything else that it says about itself is optional."""
    _check_parameters(kind.scan)  # type: ignore[attr-defined]
    settings = typing.get_type_hints(kind).get("settings")
    names = ("version", "description", "stages", "scope", "notes", "warm_up", "streaming", "longest")
    known = {it: getattr(kind, it) for it in names if hasattr(kind, it)}
    if callable(known.get("longest")):
        known["longest"] = lambda settings: _instance(kind, settings).longest()
    known.setdefault("description", _first_line(kind))
    default = re.sub("(?<!^)(?=[A-Z])", "-", kind.__name__.removesuffix("Guard")).lower()
    return Guard(name=getattr(kind, "name", default), settings=settings, start=lambda value: _instance(kind, value).scan, **known)


def _instance(kind: type, settings: Any) -> Any:
    if "settings" in inspect.signature(kind).parameters:
        return kind(settings)
    instance = kind()
    if settings is not None:
        instance.settings = settings
    return instance


def _check_parameters(function: Callable[..., Any]) -> None:
    for it in list(inspect.signature(function).parameters.values()):
        wanted = it.name not in _ASKED_FOR and it.name != "self" and it.default is it.empty and it.kind not in (it.VAR_POSITIONAL, it.VAR_KEYWORD)
        if wanted or it.kind is it.POSITIONAL_ONLY:
            raise TypeError(f"{function.__name__}: there is nothing to hand to its parameter `{it.name}`; there are: {', '.join(_ASKED_FOR)}")


def _first_line(it: Any) -> str:
    return (it.__doc__ or "").strip().split("\n")[0]


def _driven(coroutine: Any) -> Any:
    """Runs a coroutine to its end, at once: in a guard there is nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()
    raise RuntimeError("it awaits something that is not there yet: in a guard there is no event loop, no timer and no network to wait for")


def _told(error: BaseException) -> str:
    """The exception on one line, with the last line of the guard's own code that it came through. Without `traceback`, which reads sources."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    at, place = error.__traceback__, ""
    while at is not None:
        path = at.tb_frame.f_code.co_filename
        if "aegis_guard" not in path and not path.startswith(("/python/", "<")):
            place = f" ({path.rsplit('/', 1)[-1]}, line {at.tb_lineno})"
        at = at.tb_next
    return text + place
