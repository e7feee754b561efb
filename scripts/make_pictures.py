"""Draw the receipts that the README files show, and the figures of the docs, as the tool does.

    python scripts/make_pictures.py

The figures are what `convtrace draw` writes. Each other picture is the receipt of `conv1[0,0,0,0]`
of `convtrace demo`, as SVG that stands alone: no font, style or picture is fetched from anywhere.
Every run of words is put where its cells begin, so that columns stay aligned in whichever font the
reader has; Korean letters are two cells wide.
(`rich.console.Console.export_svg` is not used because it counts them as one.)
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import torch
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

import convtrace as ct
from convtrace.demo import DemoOptions, run_stack
from convtrace.models.digits import digit, digits
from convtrace.render.pictures.drawn import receipt_scene, trace_scene
from convtrace.render.pictures.svg import svg
from convtrace.render.text.receipt import receipt_lines

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "images"
ADDRESS = "conv1[0,0,0,0]"

FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Noto Sans Mono CJK KR', monospace"
SIZE, HEADLINE = 15, 20  # of letters, in pixels; the result is the largest number in view
CELL, LINE = 9.0, 22  # a cell's width and a line's height
MARGIN = 24
INK, PALE, GROUND, FRAME = "#1a1a1a", "#595959", "#ffffff", "#d0d0d0"
TINT = 0.2  # how much of a colour lies behind its numbers; as the ink itself, orange is too light
WORDS = re.compile(r"\S+(?: \S+)*")
CONSOLE = Console()


def picture(lang: str) -> str:
    """Draw the receipt in one language."""
    receipt = run_stack(DemoOptions()).why(ADDRESS)
    lines = receipt_lines(receipt, lang)
    width = round(max(cell_len(line.plain) for line in lines) * CELL + 2 * MARGIN)
    height = len(lines) * LINE + 2 * MARGIN
    body = "\n".join(
        element
        for row, line in enumerate(lines[1:], start=1)
        for element in draw_line(line, MARGIN + row * LINE)
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" xml:lang="{lang}">
<title>{escape(lines[0].plain)}</title>
<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="6" fill="{GROUND}" \
stroke="{FRAME}"/>
<g font-family="{FONTS}" font-size="{SIZE}" fill="{INK}">
<text x="{MARGIN}" y="{MARGIN + 14}" font-size="{HEADLINE}" font-weight="bold">\
{escape(lines[0].plain)}</text>
{body}
</g>
</svg>
"""


def draw_line(line: Text, top: int) -> Iterator[str]:
    """Draw one line: tints first, then the words over them."""
    words: list[str] = []
    start = float(MARGIN)
    for text, given, _ in line.render(CONSOLE):
        style = given or Style()
        width = cell_len(text) * CELL
        colour = style.color.get_truecolor().hex if style.color else None
        if colour:
            yield (
                f'<rect x="{start - CELL / 2:g}" y="{top + 1}" width="{width + CELL:g}" '
                f'height="{LINE - 2}" fill="{colour}" fill-opacity="{TINT}"/>'
            )
        look = ' font-weight="bold"' if style.bold else ""
        look += f' fill="{PALE}"' if style.dim else ""
        for found in WORDS.finditer(text):
            left = start + cell_len(text[: found.start()]) * CELL
            cells = cell_len(found[0])
            # Korean letters are narrower than two cells; stretched to them, they fall apart.
            fit = f' textLength="{cells * CELL:g}"' if colour or cells == len(found[0]) else ""
            words.append(f'<text x="{left:g}" y="{top + 16}"{fit}{look}>{escape(found[0])}</text>')
        start += width
    yield from words


def figures(lang: str) -> dict[str, str]:
    """Draw the figures of the docs, by name, as docs/*/figures.md asks for them."""
    network = ct.trace(digits(), digit())
    layer = transposed()
    return {
        "receipt": svg(receipt_scene(network.why("conv2[0,5,3,3]"), lang=lang)),
        "layer": figure(network, "layer", "conv2[0,5,3,3]", lang),
        "stack": figure(network, "stack", "pool[0,3,1,2]", lang),
        "window": figure(network, "window", "conv1[0,1,0,3]", lang),
        "groups": figure(network, "groups", "conv2[0,5,3,3]", lang),
        "contributions": figure(network, "contributions", "fc[0,8]", lang),
        "scatter": figure(layer, "scatter", "input[0,0,1,1]", lang),
        "gather": figure(layer, "gather", "conv_transpose2d[0,0,2,3]", lang),
    }


def figure(trace: ct.Trace, kind: str, address: str, lang: str) -> str:
    """Draw one figure of a trace."""
    return svg(trace_scene(trace, figure=kind, address=address, lang=lang))


def transposed() -> ct.Trace:
    """Trace the transposed convolution of docs/*/figures.md."""
    x = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    weight = torch.tensor([[[[1.0, 2.0, 3.0], [0.0, 4.0, 1.0], [2.0, 0.0, 1.0]]]])
    return ct.trace(
        lambda x: torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1), x
    )


def files() -> dict[str, str]:
    """The pictures, by file name."""
    languages = ("en", "ko")
    found = {f"receipt.{lang}.svg": picture(lang) for lang in languages}
    for lang in languages:
        found |= {f"figure-{name}.{lang}.svg": text for name, text in figures(lang).items()}
    return found


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for name, text in files().items():
        (PICTURES / name).write_text(text, encoding="utf-8")
        print(PICTURES.relative_to(ROOT) / name)


if __name__ == "__main__":
    main()
