"""Does what the text says: words that ask for what the kit offers, and each way to misbehave that Python knows. Everything else is masked."""

import asyncio
import json
import os
import random
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Annotated, Literal

from aegis_guard import Input, Verdict, allow, block, guard, mask, require_approval

seen = 0
warmed = 0


@dataclass
class Settings:
    text: str = "t"
    number: float = 1.5
    flag: bool = False
    choice: Literal["one", "two"] = "one"
    list: list[Annotated[str, {"minLength": 1}]] = field(default_factory=list)

    def told(self) -> Verdict:
        return block(f"{self.text} {self.number * 10:g} {'yes' if self.flag else 'no'} {self.choice} {''.join(it + '+' for it in self.list)}")


def remember(input: Input) -> Verdict:
    input.state["seen"] = input.state.get("seen", "") + "x"
    return allow(labels={"seen": "yes"})


def deeper(n: int) -> int:
    return deeper(n + 1) + 1


class Endless:
    def __repr__(self) -> str:
        return "x" * 10_000_000


def spin() -> None:
    while True:
        pass


def allocate() -> None:
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def recurse_natively() -> None:
    sys.setrecursionlimit(1 << 30)
    deeper(0)


def catch_everything() -> None:
    while True:
        try:
            spin()
        except BaseException:
            pass


def forge() -> Verdict:
    return block("x", [("rule", "anywhere", 0, 1)])  # type: ignore[list-item]


def state() -> Verdict:
    global seen
    seen += 1
    return allow() if seen == 1 else block("it kept its state")


DEEDS = {
    "spin": spin,
    "allocate": allocate,
    "recurse": lambda: deeper(0),
    "recurse natively": recurse_natively,
    "parse deeply": lambda: json.loads("[" * 1_000_000),
    "raise": lambda: 1 // 0,
    "exit": lambda: sys.exit(0),
    "abort": lambda: os.abort(),
    "catch everything": catch_everything,
    "print": lambda: print("to nobody") or sys.stderr.write("x") and allow(),
    "read a file": lambda: open("/etc/passwd"),
    "list a folder": lambda: os.listdir("/"),
    "read the environment": lambda: allow() if not os.environ.get("PATH") else block("it sees the environment"),
    "open a socket": lambda: socket.create_connection(("127.0.0.1", 80)),
    "read the clock": lambda: time.time(),
    "roll dice": lambda: os.urandom(8),
    "roll the same dice": lambda: allow() if random.random() is not None else None,
    "import late": lambda: __import__("difflib"),
    "return nothing": lambda: None,
    "return an endless thing": lambda: Endless(),
    "forge a finding": forge,
    "keep state": state,
}


@guard(warm_up=["warm"])
async def hostile(input: Input, settings: Settings) -> Verdict:
    """Does what the text says"""
    text = input.texts()[0].text
    if text == "wait":
        await asyncio.sleep(1)
    if text == "warm":
        global warmed
        warmed += 1
    if text == "tell warmth":
        return block(str(warmed))
    if text == "settings":
        return settings.told()
    if text == "remember":
        return remember(input)
    if text == "ask":
        return require_approval("sure?", approvers=["team:risk", "role:approver"], required=2)
    return DEEDS[text]() if text in DEEDS else mask(input.find("secret", "retsec"), "***")
