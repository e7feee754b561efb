"""Every sentence that a reader sees, in English and Korean.

`en.json` is source, key list and fallback; `ko.json` mirrors it. Keys are dotted:
`say("receipt.total", "ko")`. Exceptions are not in here; they stay English.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from typing import Any

from convtrace.errors import UsageError

LANGUAGES = ("en", "ko")

STRICT_VARIABLE = "CONVTRACE_STRICT_CATALOG"
"""Environment variable. While it is set, as the tests do, a missing key raises."""


def say(key: str, lang: str, **values: Any) -> str:
    """Return one message.

    Args:
        key: Dotted key, e.g. `receipt.total`.
        lang: `en` or `ko`.
        **values: What the placeholders of the message stand for. More are ignored.

    Raises:
        KeyError: `CONVTRACE_STRICT_CATALOG` is set and the language lacks the key. Without it
            the English message takes its place, and in the last resort the key itself.

    Example:
        >>> say("axis.row", "en", n=2), say("axis.row", "ko", n=2)
        ('row 2', '행 2')
        >>> say("uses.of", "en", count=1, total=1)
        '1 of its 1 number'
    """
    message = messages(lang).get(key)
    if message is None:
        if os.environ.get(STRICT_VARIABLE):
            raise KeyError(f"{key} is missing in catalog/{lang}.json")
        message = messages("en").get(key, key)
    return _suited(message, values).format(**values)


_CHOICE = re.compile(r"\{(\w+):([^|{}]*)\|([^{}]*)\}")
"""A word that depends on a count: `{count:channel|channels}`."""


def _suited(message: str, values: dict[str, Any]) -> str:
    """Put the words into a message that suit its counts: the first for 1, the second for others."""

    def word(found: re.Match[str]) -> str:
        count, one, more = found.groups()
        return one if str(values[count]) == "1" else more

    return _CHOICE.sub(word, message) if "|" in message else message


def choose_language(lang: str | None = None) -> str:
    """Return the language to write in: the one asked for, or else the locale's, or else English.

    Args:
        lang: `en` or `ko`, with or without a region (`ko_KR`); None looks at `LC_ALL`,
            `LC_MESSAGES` and `LANG`, of which the first one that is set counts.

    Raises:
        UsageError: There is no catalogue of the language that was asked for.

    Example:
        >>> choose_language("ko")
        'ko'
    """
    if lang is not None:
        found = _primary(str(lang))
        if found not in LANGUAGES:
            raise UsageError(
                f"no such language: {lang!r}\n"
                f"  Available: {', '.join(LANGUAGES)}. Without one, the locale decides (LANG)."
            )
        return found
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    found = _primary(locale)
    return found if found in LANGUAGES else "en"


@cache
def messages(lang: str) -> dict[str, str]:
    """Return all messages of a language by their dotted keys."""
    from pkgutil import get_data  # starts sooner than importlib.resources

    text = get_data(__name__, f"{lang}.json")
    assert text is not None
    return dict(_flat(json.loads(text), ""))


def _flat(tree: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            found.append((prefix + key, value))
    return found


def _primary(tag: str) -> str:
    """Return the language of a tag such as `ko_KR.UTF-8`."""
    return re.split(r"[-_.@]", tag.strip())[0].lower()
