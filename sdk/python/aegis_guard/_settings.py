"""Settings as a dataclass: the JSON Schema that the host checks them with comes from its fields, and so does the reader."""

import dataclasses
import enum
import json
import re
import types
import typing
from typing import Annotated, Any, Literal, Union

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_CAMEL = re.compile("_([a-z])")


def setting(default: Any = dataclasses.MISSING, *, description: str | None = None, **keywords: Any) -> Any:
    """A field with more to say: `phrases: list[str] = setting(description="what needs a person", min_items=1)`. Further keywords are JSON
    Schema's, in snake case. A list or dict as default is copied for each use.
    """
    keywords = {_CAMEL.sub(lambda it: it[1].upper(), name): value for name, value in keywords.items()}
    metadata = {"schema": ({"description": description} if description else {}) | keywords}
    if isinstance(default, (list, dict, set)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def schema(kind: Any) -> dict[str, Any]:
    """JSON Schema of a type. A type that settings cannot have is a `TypeError`, at build."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind is Any:
        return {}
    if kind is re.Pattern or origin is re.Pattern:
        return {"type": "string", "format": "regex"}
    if origin is Annotated:
        return _annotated(schema(arguments[0]), arguments[1:])
    if origin is Literal:
        return {"enum": list(arguments)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [it.value for it in kind]}
    if kind is list or origin in (list, set, tuple):
        return {"type": "array"} | ({"items": schema(arguments[0])} if arguments else {})
    if kind is dict or origin is dict:
        return {"type": "object"} | ({"additionalProperties": schema(arguments[1])} if arguments else {})
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if it is type(None) else schema(it) for it in arguments]}
    if dataclasses.is_dataclass(kind):
        return _object(kind)
    raise TypeError(f"settings cannot have the type {kind}: use str, int, float, bool, list, dict, Literal, an Enum, re.Pattern or a dataclass")


def _annotated(base: dict[str, Any], notes: tuple[Any, ...]) -> dict[str, Any]:
    for note in notes:
        base |= {"description": note} if isinstance(note, str) else note if isinstance(note, dict) else {}
    return base


def _object(kind: Any) -> dict[str, Any]:
    properties, required = {}, []
    for it, hint in _fields(kind):
        properties[it.name] = schema(hint) | it.metadata.get("schema", {})
        if it.default is not dataclasses.MISSING:
            properties[it.name]["default"] = _plain(it.default)
        elif it.default_factory is not dataclasses.MISSING:
            properties[it.name]["default"] = _plain(it.default_factory())
        else:
            required.append(it.name)
    base: dict[str, Any] = {"type": "object", "additionalProperties": False}
    return base | ({"required": required} if required else {}) | {"properties": properties}


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, (list, set, tuple)):
        return [_plain(it) for it in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _fields(kind: Any) -> list[tuple[Any, Any]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return [(it, hints[it.name]) for it in dataclasses.fields(kind) if it.init]


def read(kind: Any, value: Any, path: str = "") -> Any:
    """The settings as that type; what does not fit is a `ValueError` that names the place. What the schema says beyond types, as `minItems`,
    the host has checked.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if isinstance(kind, type) and kind in _PLAIN:
        return _read_plain(kind, value, path)
    if kind is re.Pattern or origin is re.Pattern:
        return _read_pattern(value, path)
    if origin is Annotated:
        return read(arguments[0], value, path)
    if origin is Literal:
        return _one_of(list(arguments), value, path)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(_one_of([it.value for it in kind], value, path))
    if kind is list or origin in (list, set, tuple):
        _expect(isinstance(value, list), "a list", value, path)
        items = [read(arguments[0], it, f"{path}[{n}]") for n, it in enumerate(value)] if arguments else value
        return (origin or list)(items)
    if kind is dict or origin is dict:
        _expect(isinstance(value, dict), "an object", value, path)
        return {name: read(arguments[1], it, f"{path}.{name}") for name, it in value.items()} if arguments else value
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, path)
    return _read_object(kind, value, path)


def _read_plain(kind: type, value: Any, path: str) -> Any:
    fits = isinstance(value, kind) or kind is float and isinstance(value, int) or kind is int and isinstance(value, float) and value.is_integer()
    # To Python, True is a number.
    _expect(fits and (kind is bool or not isinstance(value, bool)), f"a {_PLAIN[kind]}".replace("a i", "an i"), value, path)
    return kind(value)


def _read_pattern(value: Any, path: str) -> Any:
    _expect(isinstance(value, str), "a regular expression", value, path)
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"{path}: this is no regular expression: {error}") from error


def _one_of(known: list[Any], value: Any, path: str) -> Any:
    # By kind too: to Python, 1 is True.
    _expect(any(it == value and type(it) is type(value) for it in known), " or ".join(map(str, known)), value, path)
    return value


def _read_union(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is not type(None):
            try:
                return read(kind, value, path)
            except ValueError as error:
                errors.append(str(error))
    raise ValueError("; or ".join(errors) or f"{path}: expected null")


def _read_object(kind: Any, value: Any, path: str) -> Any:
    _expect(isinstance(value, dict), "an object", value, path)
    fields = _fields(kind)
    known = [it.name for it, _ in fields]
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in known:
            raise ValueError(f"unknown setting `{prefix}{name}`; known are: {', '.join(known)}")
    for it, _ in fields:
        if it.name not in value and it.default is dataclasses.MISSING and it.default_factory is dataclasses.MISSING:
            raise ValueError(f"{prefix}{it.name} is missing")
    return kind(**{it.name: read(hint, value[it.name], prefix + it.name) for it, hint in fields if it.name in value})


def _expect(holds: bool, what: str, value: Any, path: str) -> None:
    if not holds:
        raise ValueError(f"{path or 'settings'}: expected {what}, got {json.dumps(value, ensure_ascii=False)}")
