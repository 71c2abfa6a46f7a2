"""The kit without WebAssembly: `python3 -m unittest` in `sdk/python`."""

import asyncio
import json
import re
import types
import unittest
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal

import aegis_guard._settings as settings
from aegis_guard import Input, Verdict, allow, block, guard, mask, require_approval, setting
from aegis_guard._guard import Guard, Refused, find
from aegis_guard._input import STAGES, Place, Text
from aegis_guard._stream import Reply
from aegis_guard._verdict import Edit


def module(**names) -> types.ModuleType:
    made = types.ModuleType("guard")
    for name, it in names.items():
        it.__module__ = "guard"
        setattr(made, name, it)
    return made


def ready(text: str = "{}", **names) -> Guard:
    found = find(module(**names))
    found.configure(text)
    return found


def spans(text: str, findings) -> list[str]:
    return [text.encode()[it.start : it.end].decode() for it in findings]


class ClassForm(unittest.TestCase):
    def test_a_class_as_the_python_product_has_it_is_a_guard(self):
        class SensitiveTopicGuard:
            name = "sensitive-topic"
            streaming = "none"

            async def scan(self, messages, state):
                text = " ".join(m.get("content", "") for m in messages)
                if "financial advice" in text.lower():
                    return Verdict.require_approval("Financial advice requires human review")
                return Verdict.allow()

        it = ready(SensitiveTopicGuard=SensitiveTopicGuard)
        self.assertEqual((it.name, it.stages, it.schema), ("sensitive-topic", STAGES, ""))
        self.assertEqual(it.scan(Input.of("Financial Advice?")).kind, "require_approval")
        self.assertEqual(it.scan(Input.of("hello")).kind, "allow")

    def test_settings_reach_a_class_by_its_constructor_or_as_an_attribute(self):
        @dataclass
        class Settings:
            word: str

        class ByConstructor:
            settings: Settings

            def __init__(self, settings):
                self.word = settings.word

            def scan(self, input):
                return block(self.word)

        class AsAttribute:
            settings: Settings

            def scan(self):
                return block(self.settings.word)

        for kind in (ByConstructor, AsAttribute):
            # Not at the top of a module, where annotations would find it by themselves.
            kind.__annotations__["settings"] = Settings
            self.assertEqual(ready('{"word": "x"}', kind=kind).scan(Input.of("")).reason, "x")

    def test_state_is_what_the_guard_leaves_in_it(self):
        class Counting:
            def scan(self, state):
                state["seen"] = state.get("seen", 0) + 1
                return allow()

        it, input = ready(Counting=Counting), Input.of("x")
        it.scan(input)
        it.scan(input)
        self.assertEqual(input.state, {"seen": 2})

    def test_awaiting_anything_real_is_an_error_that_says_so(self):
        class Waiting:
            async def scan(self, input):
                await asyncio.Event().wait() if input.messages[0]["content"] == "loop" else await Pending()
                return allow()

        class Pending:
            def __await__(self):
                yield

        it = ready(Waiting=Waiting)
        with self.assertRaisesRegex(Refused, "no event loop, no timer and no network"):
            it.scan(Input.of("x"))
        with self.assertRaises(Refused):
            it.scan(Input.of("loop"))


class FunctionForm(unittest.TestCase):
    def test_a_function_says_all_that_the_manifest_asks_for(self):
        @guard(stages=["ingress", "egress"], scope="message", version="1.2.3", notes={"license": "MIT"})
        def two_words(input):
            """Does nothing.

            At length.
            """
            return allow()

        it = find(module(two_words=two_words))
        self.assertEqual((it.name, it.description, it.version), ("two-words", "Does nothing.", "1.2.3"))
        self.assertEqual((it.stages, it.scope, it.notes), (("ingress", "egress"), "message", {"license": "MIT"}))

    def test_what_is_no_verdict_is_a_failure_that_says_what_to_return(self):
        for nothing in (None, True, "block", {"kind": "allow"}):
            it = ready(nothing=guard(name="nothing")(lambda: nothing))
            with self.assertRaisesRegex(Refused, "return a verdict"):
                it.scan(Input.of("x"))

    def test_an_exception_is_a_failure_with_its_line(self):
        @guard
        def raising(input):
            return {}["no such key"]

        with self.assertRaisesRegex(Refused, r"KeyError: 'no such key' \(test_guard.py, line \d+\)"):
            ready(raising=raising).scan(Input.of("x"))

    def test_mistakes_of_the_author_are_found_when_it_is_built(self):
        def unknown(input, sender):
            return allow()

        for make, told in [
            (lambda: guard(stages=["ingres"])(lambda: allow()), "there is no stage 'ingres'"),
            (lambda: guard(scope="all")(lambda: allow()), "there is no scope 'all'"),
            (lambda: guard(unknown), "nothing to hand to its parameter `sender`"),
            (lambda: find(module()), "no guard"),
            (lambda: find(module(a=guard(name="a")(lambda: allow()), b=guard(name="b")(lambda: allow()))), "several guards"),
        ]:
            with self.assertRaisesRegex((TypeError, ValueError), told):
                make()

    def test_warming_up_scans_its_texts_at_each_stage_and_refuses_what_fails(self):
        seen = []

        @guard(stages=["ingress", "egress"], warm_up=["a", "b"])
        def warm(input):
            seen.append((input.stage, input.texts()[0].text))
            return allow() if input.texts()[0].text != "bad" else 1 / 0

        ready(warm=warm)
        self.assertEqual(seen, [("ingress", "a"), ("ingress", "b"), ("egress", "a"), ("egress", "b")])
        with self.assertRaisesRegex(Refused, "warm_up at ingress: ZeroDivisionError"):
            ready(bad=guard(warm_up=["bad"])(warm))


class Settings(unittest.TestCase):
    class Level(Enum):
        LOW = "low"
        HIGH = "high"

    def test_the_schema_says_what_the_types_say(self):
        @dataclass
        class Some:
            words: list[Annotated[str, {"minLength": 1}]] = setting(min_items=1, description="Words")
            action: Literal["ask", "block"] = "ask"
            level: Settings.Level = Settings.Level.LOW
            limits: dict[str, float] = field(default_factory=dict)
            pattern: re.Pattern | None = None
            hidden: str = field(init=False, default="")

        expected = {
            "type": "object",
            "additionalProperties": False,
            "required": ["words"],
            "properties": {
                "words": {"type": "array", "items": {"type": "string", "minLength": 1}, "description": "Words", "minItems": 1},
                "action": {"enum": ["ask", "block"], "default": "ask"},
                "level": {"enum": ["low", "high"], "default": "low"},
                "limits": {"type": "object", "additionalProperties": {"type": "number"}, "default": {}},
                "pattern": {"anyOf": [{"type": "string", "format": "regex"}, {"type": "null"}], "default": None},
            },
        }
        self.assertEqual(settings.schema(Some), expected)
        json.dumps(settings.schema(Some))
        read = settings.read(Some, {"words": ["a"], "level": "high", "limits": {"x": 1}, "pattern": "a+"})
        self.assertEqual((read.words, read.level, read.limits["x"], read.pattern.pattern), (["a"], Settings.Level.HIGH, 1.0, "a+"))

    def test_what_does_not_fit_is_refused_by_its_place(self):
        @dataclass
        class Inner:
            limit: int

        @dataclass
        class Some:
            words: list[str]
            inner: Inner | None = None
            sure: bool = False
            pattern: re.Pattern = re.compile("x")

        for value, told in [
            ([], "settings: expected an object"),
            ({}, "words is missing"),
            ({"words": "x"}, "words: expected a list"),
            ({"words": ["x", 1]}, r"words\[1\]: expected a string, got 1"),
            ({"words": [], "wrds": 1}, "unknown setting `wrds`; known are: words, inner"),
            ({"words": [], "inner": {"limit": "x"}}, "inner.limit: expected an integer"),
            ({"words": [], "inner": {"limit": True}}, "inner.limit: expected an integer"),
            ({"words": [], "sure": 1}, "sure: expected a boolean"),
            ({"words": [], "pattern": "("}, "pattern: this is no regular expression"),
        ]:
            with self.assertRaisesRegex(ValueError, told):
                settings.read(Some, value)

    def test_a_type_that_settings_cannot_have_is_found_when_it_is_built(self):
        with self.assertRaisesRegex(TypeError, "settings cannot have the type"):
            settings.schema(bytes)

    def test_a_guard_refuses_settings_with_what_is_wrong(self):
        taking_none = find(module(none=guard(name="none")(lambda: allow())))
        for text, told in [("{", "no JSON"), ('{"a": 1}', "none takes none"), ("[]", "takes none")]:
            with self.assertRaisesRegex(Refused, told):
                taking_none.configure(text)
        taking_none.configure("")


class Texts(unittest.TestCase):
    def test_offsets_count_bytes_of_utf8(self):
        for text, phrase, expected in [
            ("é: 12", "12", ["12"]),
            ("ü 你好 👋 Financial ADVICE, financial advice", "financial advice", ["Financial ADVICE", "financial advice"]),
            ("İİ İstanbul loan", "LOAN", ["loan"]),
            ("die GRÖßE", "größe", ["GRÖßE"]),
            ("aaaaa", "aa", ["aa", "aa"]),
            ("x", "", []),
            ("", "x", []),
        ]:
            found = Input.of(text).texts()[0].find(phrase)
            self.assertEqual(spans(text, found), expected, text)
            self.assertEqual({it.rule for it in found}, {phrase} if expected else set())

    def test_a_pattern_finds_what_it_matches_and_nothing_empty(self):
        text = "👋 a1 é22"
        self.assertEqual(spans(text, Input.of(text).texts()[0].find(re.compile(r"\d*"), "digits")), ["1", "22"])

    def test_findings_may_be_made_in_any_order(self):
        text = Text("é👋é👋é", ("part", 0, 0))  # type: ignore[arg-type]
        for start, end in [(3, 5), (0, 1), (2, 4), (1, 1)]:
            it = text.finding("r", start, end)
            self.assertEqual(text.text.encode()[it.start : it.end].decode(), text.text[start:end])
        for start, end in [(-1, 1), (2, 1), (0, 6)]:
            with self.assertRaises(ValueError):
                text.finding("r", start, end)

    def test_a_stage_is_about_its_own_texts(self):
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "a0"}}
        messages = [
            {"role": "user", "content": "u0"},
            {"role": "tool", "content": "t0"},
            {"role": "assistant", "content": "r0", "tool_calls": [call]},
        ]
        for stage, expected in [("ingress", "u0 t0 r0 a0"), ("tool_result", "t0"), ("tool_call", "a0"), ("egress", "r0")]:
            texts = Input(stage=stage, messages=messages).texts()
            self.assertEqual(" ".join(it.text for it in texts), expected)
        for stage in STAGES:
            self.assertEqual([it.text for it in Input.of("x", stage).texts()], ["x"])


class Verdicts(unittest.TestCase):
    def test_findings_that_overlap_are_masked_together(self):
        text = Input.of("0123456789").texts()[0]
        found = [text.finding("b", 2, 6), text.finding("a", 0, 3), text.finding("c", 7, 8)]
        edits = mask(found).edits
        self.assertEqual([(it.start, it.end, it.text) for it in edits], [(0, 6, "[a]"), (7, 8, "[c]")])
        self.assertEqual([it.text for it in mask(found, "*").edits], ["*", "*"])
        self.assertEqual(mask(found, lambda it: it.rule * 2).edits[1].text, "cc")

    def test_masking_nothing_allows(self):
        self.assertEqual((mask([]).kind, mask(iter([])).findings), ("allow", []))

    def test_each_verdict_keeps_what_it_was_given(self):
        it = require_approval("why", approvers=["team:law"], required=2, labels={"a": "b"})
        self.assertEqual((it.kind, it.reason, it.approvers, it.required, it.labels), ("require_approval", "why", ["team:law"], 2, {"a": "b"}))


class Streams(unittest.TestCase):
    def guard(self, longest: int = 11) -> Guard:
        secret = re.compile("SECRET-[0-9]{4}")

        @guard(name="secrets", stages=["egress"], streaming="incremental", longest=longest)
        def secrets(input):
            if found := input.find("forbidden"):
                return block("no", found)
            if found := input.find("review"):
                return require_approval("?", found)
            return mask(input.find(secret, "aa"), "[]")

        return ready(secrets=secrets)

    def streamed(self, it: Guard, pieces) -> tuple[str, str, list]:
        reply, out = Reply(it, Input(stage="egress")), ""
        for piece in pieces:
            step = reply.push(piece)
            if step.kind != "emit":
                return out, step.kind, reply.close()[1].findings
            out += step.text
        rest, verdict, _ = reply.close()
        return out + (rest.text if rest.kind == "emit" else ""), rest.kind, verdict.findings

    def test_pieces_come_out_as_the_whole_does(self):
        for text, expected in (
            ("", ""),
            ("é SECRET-1234 👋, and at some length", "é [] 👋, and at some length"),
            ("SECRET-123SECRET-1234SECRET-9999", "SECRET-123[][]"),
            ("a" * 41, "[]" * 20 + "a"),
            ("👋SECRET-12345 and 👋👋👋👋👋👋👋👋👋👋👋👋 a SECRET-", "👋[]5 and 👋👋👋👋👋👋👋👋👋👋👋👋 a SECRET-"),
        ):
            it = self.guard()
            whole = self.streamed(it, [text])
            self.assertEqual((whole[0], self.streamed(it, text)), (expected, whole), text)

    def test_a_block_and_a_question_end_it_and_what_went_out_is_the_beginning(self):
        self.assertEqual(self.streamed(self.guard(), "a SECRET-1234 before something forbidden, and more")[:2], ("a [] before somethi", "block"))
        for word, kind in (("forbidden", "block"), ("review", "hold")):
            text = f"a long beginning, then {word} and a long end that nobody sees"
            for pieces in ([text], text):
                out, ended, _ = self.streamed(self.guard(), pieces)
                self.assertEqual((ended, text.startswith(out), word in out), (kind, True, False))

    def test_text_goes_out_while_the_reply_is_being_written(self):
        reply = Reply(self.guard(), Input(stage="egress"))
        self.assertEqual(reply.push("héllo SECRET-1234 world"), ("emit", "héllo "))
        self.assertEqual(reply.push(", hello"), ("emit", "[] w"))

    def test_an_edit_outside_of_the_reply_is_an_error(self):
        for ends, pieces in (("", ["the answer"]), (".", ["the answer", "."]), (".", ["t."])):

            @guard(name="elsewhere", stages=["egress"], streaming="incremental", longest=3)
            def elsewhere(input):
                edits = [Edit(Place("part", 7, 0), 0, 1, "*")]
                return Verdict("sanitize", edits=edits) if input.messages[-1]["content"].endswith(ends) else allow()

            with self.subTest(pieces), self.assertRaisesRegex(Refused, "outside of the reply"):
                self.streamed(ready(elsewhere=elsewhere), pieces)

    def test_a_hit_that_is_longer_than_said_is_an_error(self):
        with self.assertRaisesRegex(Refused, "longer than the 3 characters"):
            self.streamed(self.guard(3), "a SECRET-1234 b")

    def test_what_a_streaming_guard_has_to_say_is_asked_for(self):
        for more, named in (({}, "longest"), ({"longest": 5, "stages": ["ingress"]}, "egress"), ({"streaming": "window"}, "window")):
            with self.assertRaisesRegex(ValueError, named):
                guard(**({"streaming": "incremental"} | more))(lambda input: allow())

    def test_a_streaming_guard_that_is_built_for_whole_replies_says_what_to_write(self):
        with self.assertRaisesRegex(ValueError, 'secrets: .* write "incremental" itself'):
            self.guard().whole()
        it = ready(whole=guard(name="whole")(lambda: allow()))
        self.assertIs(it.whole(), it)

    def test_a_class_says_how_long_a_hit_is_by_a_number_or_by_its_settings(self):
        @dataclass
        class Settings:
            words: list[str]

        class Words:
            settings: Settings
            streaming = "incremental"

            def longest(self):
                return max(map(len, self.settings.words))

            def scan(self, input):
                return mask(input.find(*self.settings.words), "*")

        Words.__annotations__["settings"] = Settings
        it = ready('{"words": ["abc", "d"]}', Words=Words)
        self.assertEqual((it.streaming, it.held_back()), ("incremental", 3))
        self.assertEqual(self.streamed(it, "xabcd y")[0], "x** y")

    def test_each_scan_begins_with_the_state_that_the_reply_began_with(self):
        class Counting:
            streaming, longest = "incremental", 1

            def scan(self, input):
                input.state["scans"] = input.state.get("scans", 0) + 1
                return allow()

        reply = Reply(ready(Counting=Counting), Input(stage="egress", state={"scans": 1}))
        reply.push("one"), reply.push("two")
        self.assertEqual(reply.close()[2].state, {"scans": 2})


if __name__ == "__main__":
    unittest.main()
