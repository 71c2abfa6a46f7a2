"""Does what the text says: each word is a way to misbehave that Python knows."""

import asyncio
import json
import os
import random
import socket
import sys
import time

from aegis_guard import Input, Verdict, allow, block, guard

seen = 0


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


@guard(stages=["ingress"])
async def hostile(input: Input) -> Verdict:
    """Does what the text says"""
    text = input.messages[-1]["content"]
    if text == "wait":
        await asyncio.sleep(1)
    return DEEDS.get(text, allow)()
