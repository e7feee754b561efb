"""A drawing as TikZ, for LaTeX documents: pdflatex compiles it, and xelatex where it has Korean."""

from __future__ import annotations

from convtrace.render.drawing.measure import FIGURE, POINT
from convtrace.render.drawing.scene import Box, Label, Scene, Shape, Stroke
from convtrace.render.equations.tex import escape_tex, needs_unicode, preamble_of_fonts
from convtrace.render.pictures.drawn import renderer, split_scene, trace_scene

_POSITIONS = {"start": "base west", "middle": "base", "end": "base east"}


def tikz_text(scene: Scene, *, document: bool = True) -> str:
    r"""Write a drawing as TikZ.

    Args:
        scene: The drawing.
        document: Whether to write a whole document with a page of the figure's size; else only
            the picture, to be put into one that has `\usepackage{tikz}`.
    """
    colours = _colours(scene)
    picture = "\n".join(
        [
            *(f"\\definecolor{{{name}}}{{HTML}}{{{hex_[1:]}}}" for hex_, name in colours.items()),
            f"\\begin{{tikzpicture}}[x={_n(scene.scale)}bp,y=-{_n(scene.scale)}bp,"
            "inner sep=0pt,outer sep=0pt]",
            f"\\path[fill={colours[scene.ground]}] (0,0) rectangle "
            f"({_n(scene.width)},{_n(scene.height)});",
            *(_shape(shape, colours, scene.scale) for shape in scene.shapes),
            "\\end{tikzpicture}%",
        ]
    )
    title = escape_comment(scene.title)
    if not document:
        return f"% {title}\n% \\usepackage{{tikz}}\n{picture}\n"
    unicode = needs_unicode(label.text for label in scene.labels)
    width, height = _n(scene.width * scene.scale), _n(scene.height * scene.scale)
    return "\n".join(
        [
            f"% {title}",
            f"% {'xelatex' if unicode else 'pdflatex or xelatex'} compiles this file.",
            "\\documentclass{article}",
            *preamble_of_fonts(unicode),
            "\\usepackage{tikz}",
            f"\\paperwidth={width}bp \\paperheight={height}bp",
            "\\pdfpagewidth=\\paperwidth \\pdfpageheight=\\paperheight",
            "\\hoffset=-1in \\voffset=-1in \\oddsidemargin=0pt \\topmargin=0pt",
            "\\headheight=0pt \\headsep=0pt \\footskip=0pt \\parindent=0pt",
            f"\\textwidth={width}bp \\textheight={height}bp \\topskip=0pt",
            "\\pagestyle{empty}",
            "\\begin{document}%",
            picture,
            "\\end{document}",
            "",
        ]
    )


def tikz_bytes(scene: Scene, *, document: bool = True) -> bytes:
    """Write a drawing as a file of TikZ; `tikz_text` has the options."""
    return tikz_text(scene, document=document).encode("utf-8")


def escape_comment(text: str) -> str:
    """Write a text that stands on one line of a comment."""
    return " ".join(text.split())


def _colours(scene: Scene) -> dict[str, str]:
    """Name the colours, in the order in which they occur."""
    found: dict[str, str] = {scene.ground: "ctA"}
    for shape in scene.shapes:
        used = [shape.fill, shape.stroke] if isinstance(shape, Box) else [shape.ink]
        for colour in used:
            if colour and colour not in found:
                found[colour] = f"ct{_letters(len(found))}"
    return found


def _letters(number: int) -> str:
    """Write a number in letters: names of colours in TeX have no digits here.

    Example:
        >>> _letters(0), _letters(25), _letters(26)
        ('A', 'Z', 'BA')
    """
    text = ""
    while True:
        text = chr(ord("A") + number % 26) + text
        number //= 26
        if not number:
            return text


def _n(number: float) -> str:
    text = f"{number:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _shape(shape: Shape, colours: dict[str, str], scale: float) -> str:
    if isinstance(shape, Box):
        return _box(shape, colours, scale)
    if isinstance(shape, Label):
        return _label(shape, colours, scale)
    return _stroke(shape, colours, scale)


def _box(box: Box, colours: dict[str, str], scale: float) -> str:
    look = [f"fill={colours[box.fill]}"] if box.fill else []
    if box.stroke:
        look += [f"draw={colours[box.stroke]}", f"line width={_n(box.weight * scale)}bp"]
    look += _dashes(box.dashed, scale)
    return (
        f"\\path[{','.join(look)}] ({_n(box.x)},{_n(box.y)}) rectangle "
        f"({_n(box.x + box.width)},{_n(box.y + box.height)});"
    )


def _label(label: Label, colours: dict[str, str], scale: float) -> str:
    size = _n(label.size * scale)
    weight = "\\bfseries" if label.bold else ""
    return (
        f"\\node[anchor={_POSITIONS[label.anchor]},text={colours[label.ink]}] at "
        f"({_n(label.x)},{_n(label.y)}) {{\\sffamily\\fontsize{{{size}bp}}{{{size}bp}}"
        f"{weight}\\selectfont {_padded(label.text)}}};"
    )


def _padded(text: str) -> str:
    """Write a number whose end is padded: the blanks become empty digits of the same width."""
    bare = text.rstrip(FIGURE + POINT)
    blanks = text[len(bare) :].replace(POINT, ".").replace(FIGURE, "0")
    phantom = f"\\phantom{{{blanks}}}" if blanks else ""
    return escape_tex(bare) + phantom


def _stroke(stroke: Stroke, colours: dict[str, str], scale: float) -> str:
    points = " ".join(
        "--".join(f"({_n(x)},{_n(y)})" for x, y in line) + ("--cycle" if stroke.filled else "")
        for line in stroke.lines
    )
    if stroke.filled:
        return f"\\path[fill={colours[stroke.ink]}] {points};"
    look = [f"draw={colours[stroke.ink]}", f"line width={_n(stroke.weight * scale)}bp"]
    return f"\\path[{','.join([*look, *_dashes(stroke.dashed, scale)])}] {points};"


def _dashes(dashed: bool, scale: float) -> list[str]:
    if not dashed:
        return []
    return [f"dash pattern=on {_n(3 * scale)}bp off {_n(2 * scale)}bp"]


trace_tex = renderer(trace_scene, tikz_bytes)
split_tex = renderer(split_scene, tikz_bytes)
