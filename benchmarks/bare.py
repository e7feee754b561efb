"""A copy of a view without its program: what drawing alone costs.

A click replaces the texts that differ from one receipt to the next, which were worked out before,
and does nothing else. What it takes, every page takes that has these elements in this layout.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from playwright.sync_api import Page

VIEWS = 12
"""Receipts whose texts are shown one after the other."""

# The texts of the view, in the order of the document. Texts that stand side by side are one text in
# the copy, and empty ones are none.
TEXTS = """() => {
  const view = document.querySelector(".convtrace");
  const walk = document.createTreeWalker(view, NodeFilter.SHOW_TEXT);
  const found = [];
  let last = null;
  while (walk.nextNode()) {
    const node = walk.currentNode;
    if (!node.data) continue;
    let before = node.previousSibling;
    while (before?.nodeType === Node.TEXT_NODE && !before.data) before = before.previousSibling;
    if (before && before === last) found[found.length - 1] += node.data;
    else found.push(node.data);
    last = node;
  }
  return found;
}"""

# The document as it is drawn, without what runs in it.
DRAWN = """() => {
  const parts = "script, template, meta[http-equiv]";
  for (const part of document.querySelectorAll(parts)) part.remove();
  return "<!doctype html>" + document.documentElement.outerHTML;
}"""

PROGRAM = """<script>
  const places = %s, views = %s, all = [];
  const view = document.querySelector(".convtrace");
  const walk = document.createTreeWalker(view, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) all.push(walk.currentNode);
  const nodes = places.map(place => all[place]);
  if (all.length !== %s) throw new Error("other texts than in the page");
  let shown = 0;
  view.addEventListener("click", () => {
    shown = (shown + 1) %% views.length;
    views[shown].forEach((text, n) => { if (nodes[n].data !== text) nodes[n].data = text; });
  });
</script></body>"""


def write_bare(page: Page, selector: str, file: Path) -> None:
    """Write a copy of an open page that only replaces its texts.

    Args:
        page: Our page, as it was opened.
        selector: What is clicked to get another receipt.
        file: Where the copy goes.
    """
    generator = random.Random(0)
    views: list[list[str]] = []
    for _ in range(VIEWS):
        places = page.locator(selector)
        place = places.nth(generator.randrange(places.count()))
        box = place.bounding_box()
        assert box is not None
        at = {side: (0.1 + 0.8 * generator.random()) * box[side] for side in ("width", "height")}
        place.click(position={"x": at["width"], "y": at["height"]})
        page.wait_for_timeout(100)
        views.append(page.evaluate(TEXTS))
    # Receipts at the border have other elements, too.
    same = [view for view in views if len(view) == len(views[-1])]
    places = [n for n, texts in enumerate(zip(*same, strict=True)) if len(set(texts)) > 1]
    chosen = [[view[n] for n in places] for view in same]
    program = PROGRAM % (json.dumps(places), json.dumps(chosen), len(same[-1]))
    assert len(same) > 1
    file.write_text(page.evaluate(DRAWN).replace("</body>", program), encoding="utf-8")
