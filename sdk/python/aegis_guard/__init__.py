"""Write a guard for Aegis in Python. A guard is a function of what it is handed: no files, no network, no clock, no randomness.

    from dataclasses import dataclass
    from aegis_guard import Input, allow, block, guard

    @dataclass
    class Settings:
        words: list[str]

    @guard(stages=["ingress"])
    def forbidden_words(input: Input, settings: Settings):
        \"\"\"Blocks messages with forbidden words.\"\"\"
        found = input.find(*settings.words)
        return block("a forbidden word", found) if found else allow()

A guard may also be a class with a method `scan`; then nothing has to be decorated:

    class SensitiveTopicGuard:
        name = "sensitive-topic"

        async def scan(self, messages, state):
            ...
            return Verdict.allow()

`scan` is handed what its parameters ask for by name: `input`, `messages`, `settings`, `state`. What to know:

* One scan, one sandbox. What a guard puts into a global is gone after the scan; what has to last until a later stage of the same run goes into
  `state`, a dict that the host keeps between stages as JSON.
* Offsets in a finding count bytes of UTF-8, and indices of a `str` do not. `Text.find` and `Text.finding` take care of that.
* An exception is no verdict. It says why the guard could not judge, and nothing passes a guard that could not judge.
* Import at the top. At the end of the build the interpreter is frozen as it is: later there is no file left to import from.
* What is printed goes nowhere.
"""

from ._guard import guard
from ._input import Finding, Input, Principal, Text, Tool
from ._settings import setting
from ._verdict import Verdict

allow = Verdict.allow
block = Verdict.block
mask = Verdict.mask
require_approval = Verdict.require_approval

__all__ = [
    "Finding", "Input", "Principal", "Text", "Tool", "Verdict", "allow", "block", "guard", "mask", "require_approval", "setting",
]
