"""The first view, as someone sees it who has done nothing yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from convtrace.demo import DemoOptions, run_stack

CONFIGURATIONS = {
    "the demo": DemoOptions(),
    "padding, stride, bias": DemoOptions(
        height=5, width=7, kernel_size=3, padding=1, stride=2, bias=True, weights="random"
    ),
    "groups": DemoOptions(in_channels=4, out_channels=4, groups=2, weights="random", seed=3),
    "dilation": DemoOptions(height=7, width=7, dilation=2, weights="random", seed=1),
    "transposed": DemoOptions(transposed=True, stride=2, weights="random", seed=2),
    "one layer, real weights": DemoOptions(layers=1, weights="seed", bias=True),
}


def test_the_demo_shows_why_24_is_24(open_page: Callable[..., Page], tmp_path: Path) -> None:
    run_stack(DemoOptions()).save(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    expect(page.get_by_role("heading", name="conv1[0,0,0,0] = 24")).to_be_visible()
    channels = [page.get_by_role("group", name=f"channel {n}") for n in (0, 1)]
    for channel, total in zip(channels, ("2", "22"), strict=True):
        expect(channel.get_by_label(f": sum = {total}", exact=False)).to_have_text(total)
    expect(page.get_by_text("2 + 22 = 24")).to_be_visible()
    expect(page.get_by_text("exact sum 24")).to_be_visible()


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_every_number_shown_is_the_number_that_pytorch_computed(
    options: DemoOptions, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    trace = run_stack(options)
    trace.save(tmp_path / "page.html", lang="en")
    page = open_page(tmp_path / "page.html")
    assert_shown(page, trace)


def assert_shown(page: Page, trace: object) -> None:
    """Compare every cell that has a plain address with the trace."""
    cells = page.evaluate(
        "[...document.querySelectorAll('[data-address]')].map(e => "
        "[e.dataset.address, e.getAttribute('aria-label')])"
    )
    plain = {address: label for address, label in cells if "#" not in address}
    assert len(plain) > 4
    for address, label in plain.items():
        value = trace.value(address)  # type: ignore[attr-defined]  # a Trace
        shown = float(label.split("= ", 1)[1].split(",")[0].replace("−", "-"))
        assert shown == pytest.approx(value, rel=1e-6, abs=1e-12), address


def test_assert_shown_notices_a_wrong_number(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    run_stack(DemoOptions()).save(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    page.evaluate("document.querySelector('td').setAttribute('aria-label', 'x = 99')")
    with pytest.raises(AssertionError):
        assert_shown(page, run_stack(DemoOptions()))
