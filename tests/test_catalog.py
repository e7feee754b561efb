"""The catalogue: both languages say the same things, and everything that code asks for."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from pathlib import Path

import pytest

import convtrace
from convtrace.catalog import LANGUAGES, STRICT_VARIABLE, choose_language, messages, say
from convtrace.errors import UsageError
from convtrace.render.page.files import SECTIONS

SOURCE = Path(convtrace.__file__).parent
SAME = re.compile(r"(\{\w+\}|[^A-Za-z{}]|[A-Z]+\b|PyTorch|LaTeX)*")
"""Messages without words of their own, or with names only, may be equal in both languages."""


def placeholders(message: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(message) if name is not None}


def keys_in_code() -> set[str]:
    """Find keys that code names in full, in calls of `say` and as notes."""
    found: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        found |= set(re.findall(r"""\bsay\(\s*["']([\w.]+)["']""", text))
        found |= set(re.findall(r"""["'](note\.[\w.]*\w)["']""", text))
    return found


def beginnings_in_code() -> set[str]:
    """Find the beginnings of keys that code completes: `say(f"axis.{…}"`."""
    found: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        found |= set(re.findall(r"""\bsay\(\s*f["']([\w.]+)\{""", text))
    return found


def test_both_languages_have_the_same_keys() -> None:
    assert messages("en").keys() == messages("ko").keys()


@pytest.mark.parametrize("key", sorted(messages("en")))
def test_a_message_has_the_same_placeholders_in_both_languages(key: str) -> None:
    assert placeholders(messages("en")[key]) == placeholders(messages("ko")[key])


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_message_is_blank_or_has_blanks_around_it(lang: str) -> None:
    for key, message in messages(lang).items():
        assert message, key
        assert message == message.strip(), key


def test_korean_messages_are_not_the_english_ones() -> None:
    same = [
        key
        for key, message in messages("en").items()
        if message == messages("ko")[key] and not SAME.fullmatch(message)
    ]
    assert not same


def test_korean_messages_have_korean_in_them() -> None:
    for key, message in messages("ko").items():
        assert re.search("[가-힣]", message) or SAME.fullmatch(message), key


def test_no_korean_particle_follows_a_placeholder_that_it_might_not_suit() -> None:
    pairs = r"(이|가|을|를|은|는|과|와|으로|로|이라|라|이나|나)(?=[\s.,)]|$)"
    wrong = [key for key, message in messages("ko").items() if re.search(r"\}" + pairs, message)]
    assert not wrong


def test_every_key_that_code_asks_for_exists() -> None:
    assert len(keys_in_code()) > 30
    assert keys_in_code() <= messages("en").keys()


def test_every_key_that_code_completes_has_a_beginning_that_exists() -> None:
    for start in beginnings_in_code():
        assert any(key.startswith(start) for key in messages("en")), start


def test_say_fills_in_the_placeholders_of_either_language() -> None:
    assert say("axis.row", "en", n=2) == "row 2"
    assert say("axis.row", "ko", n=2) == "행 2"


def test_say_chooses_the_word_that_suits_a_count() -> None:
    assert say("uses.of", "en", count=1, total=1) == "1 of its 1 number"
    assert say("uses.of", "en", count="0", total="3,844") == "0 of its 3,844 numbers"


def test_the_page_shows_no_message_that_chooses_words() -> None:
    """Its own `say`, in TypeScript, fills in numbers only."""
    for lang in LANGUAGES:
        wrong = [
            key
            for key, message in messages(lang).items()
            if key.startswith(SECTIONS) and re.search(r"\{\w+:", message)
        ]
        assert not wrong


def test_say_leaves_braces_in_values_alone() -> None:
    assert say("axis.row", "en", n="{n}{0}") == "row {n}{0}"


def test_a_missing_key_raises_where_the_tests_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRICT_VARIABLE, "1")
    with pytest.raises(KeyError, match=r"receipt\.nowhere"):
        say("receipt.nowhere", "ko")


def test_a_message_that_korean_lacks_is_said_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STRICT_VARIABLE, raising=False)
    monkeypatch.delitem(messages("ko"), "receipt.total")
    assert say("receipt.total", "ko") == messages("en")["receipt.total"]
    assert say("receipt.nowhere", "ko") == "receipt.nowhere"


@pytest.mark.parametrize(("asked", "chosen"), [("en", "en"), ("ko", "ko"), ("ko_KR.UTF-8", "ko")])
def test_a_language_that_is_asked_for_is_taken(asked: str, chosen: str) -> None:
    assert choose_language(asked) == chosen


def test_an_unknown_language_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'tlh'(.|\n)*en, ko"):
        choose_language("tlh")


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko"}, "ko"),
        ({"LANG": "kok_IN"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "ko_KR.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "ko_KR", "LANG": "en_US"}, "ko"),
    ],
)
def test_without_a_language_the_locale_decides(
    environment: dict[str, str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert choose_language() == chosen


def imported(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_catalogue_needs_neither_numpy_nor_torch() -> None:
    modules = imported("from convtrace.catalog import say; say('axis.row', 'ko', n=1)")
    assert not {"numpy", "torch"} & modules


def test_the_test_of_imports_can_fail() -> None:
    assert "numpy" in imported("import numpy")
