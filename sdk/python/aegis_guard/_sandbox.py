"""What is not there for a guard, said in words instead of by a trap. It takes nothing away: without it, each of these ends the scan as well."""

import importlib
import importlib.machinery
import sys
from typing import Any

_FILES = "there are no files in a guard; read them at the top of the module, when it is built"
_NETWORK = "there is no network in a guard"
_CLOCK = "there is no clock in a guard; input.time is when the run came to this step"
_RANDOMNESS = "there is no randomness in a guard: a replay must come to the same verdict"

_MISSING = (
    ("builtins", "open input", _FILES),
    ("io", "open open_code", _FILES),
    ("os", "open listdir scandir stat lstat mkdir remove rename walk", _FILES),
    ("os", "urandom", _RANDOMNESS),
    ("time", "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns sleep", _CLOCK),
    ("socket", "socket create_connection getaddrinfo", _NETWORK),
    ("threading", "Thread", "there are no threads in a guard"),
)

#: What the standard library imports only when it is needed, and guards do need.
_LATER = ("_strptime", "encodings.ascii", "encodings.latin_1", "encodings.utf_16", "encodings.idna", "encodings.punycode", "unicodedata")


class _Nowhere:
    """Where printing goes."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


class _NoMoreImports:
    """Asked last for a module that is not there yet."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        raise ImportError(f"import `{name}` at the top of the module: after the build there is no file left to import from")


def prepare() -> None:
    """Called when the component is built, while there are files to import from."""
    for name in _LATER:
        importlib.import_module(name)


def close() -> None:
    """Called before the guard's first own line runs in a sandbox. Not at the end of the build: whoever freezes the interpreter imports a little more."""
    sys.stdout = sys.stderr = _Nowhere()  # type: ignore[assignment]
    for module, names, why in _MISSING:
        # What was never imported cannot be used either.
        for name in names.split() if module in sys.modules else ():
            setattr(sys.modules[module], name, _refusing(name, why))
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, _NoMoreImports()]


def _refusing(name: str, why: str) -> Any:
    def refuse(*_arguments: Any, **_named: Any) -> Any:
        raise OSError(f"{name}: {why}")

    return refuse
