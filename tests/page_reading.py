"""Reads numbers from the page by their accessible names, and asks axe-core about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).resolve().parents[1] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def number(text: str) -> float:
    """Read the number of a name such as `conv1[0,0,0,0] = −24`."""
    found = re.split("[, ]", text.rpartition(" = ")[2], maxsplit=1)[0]
    return float(found.replace("−", "-").replace("∞", "inf"))


def numbers(page: Page) -> dict[str, float]:
    """Read every number on the page that has an address, by that address."""
    names = page.evaluate(
        "[...document.querySelectorAll('[data-address][aria-label]')].map(e => "
        "[e.dataset.address, e.getAttribute('aria-label')])"
    )
    return {
        address: number(name) for address, name in names if "#" not in address and " = " in name
    }


def channel_sums(page: Page) -> list[float]:
    """Read the sum of each input channel that is shown."""
    names = page.locator("[data-address*='#channel']").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    return [number(name) for name in names]


def problems(page: Page) -> list[str]:
    """List what axe-core finds; skip where it is not installed."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: `make page` installs it")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]
