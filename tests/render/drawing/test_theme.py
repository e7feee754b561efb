"""Colours: contrast that can be read, also in grey and in the dark."""

from __future__ import annotations

import pytest

from convtrace.render.drawing.theme import (
    Theme,
    grey_of,
    ink_on,
    luminance,
    mix,
    parse,
    theme_of,
)

THEMES = [theme_of(name, grey=grey) for name in ("light", "dark") for grey in (False, True)]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_texts_have_the_contrast_that_readers_need(theme: Theme) -> None:
    for ink in (theme.ink, theme.quiet, theme.sum, theme.wrong):
        assert contrast(ink, theme.ground) >= 4.5
    for colour in (theme.window, theme.kernel, theme.sum, theme.wrong):
        assert contrast(theme.ink, theme.behind(colour)) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_a_digit_on_a_map_can_be_read_at_every_size(theme: Theme) -> None:
    for part in range(-9, 10):
        fill = theme.over(part / 9)
        assert contrast(ink_on(fill), fill) >= 4.5


@pytest.mark.parametrize("name", ["light", "dark"])
def test_without_colour_every_colour_is_a_grey(name: str) -> None:
    theme = theme_of(name, grey=True)
    for colour in (theme.window, theme.kernel, theme.sum, theme.wrong, theme.positive):
        assert len(set(parse(colour))) == 1
    assert len(set(parse(mix(theme.ground, theme.window, 0)))) <= 3
    assert grey_of("#FFFFFF") == "#FFFFFF"


def test_luminance_and_contrast_are_those_of_the_standard() -> None:
    assert (luminance("#000000"), luminance("#FFFFFF")) == (0, pytest.approx(1))
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)  # WebAIM's example
