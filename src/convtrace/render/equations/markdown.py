"""A receipt as Markdown: an equation and a table of terms, for GitHub, Jupyter and the like.

The equation holds symbols and numbers only, and names stand in code spans, so that nothing that a
model is called becomes markup.
"""

from __future__ import annotations

from convtrace.errors import UsageError
from convtrace.receipt import Receipt, Term
from convtrace.render.cut import choose
from convtrace.render.equations.equation import LIMIT, remarks, rows
from convtrace.render.figures.receipt import look_of
from convtrace.render.look import PADDING, Look, name
from convtrace.render.numbers import Scale, product_sign
from convtrace.render.text.receipt import given
from convtrace.render.text.verdict import SHOWN_CULPRITS, verdict_lines
from convtrace.rules.conv import Window


def receipt_md(
    receipt: Receipt, *, lang: str = "en", limit: int = LIMIT, table: bool = True
) -> bytes:
    """Write a receipt as a file of Markdown.

    Args:
        receipt: The receipt.
        lang: `en` or `ko`.
        limit: Most terms to show.
        table: Whether to list the terms and their addresses below the equation.
    """
    if not isinstance(limit, int) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # from a caller
        raise UsageError(f"limit = {limit!r}\n  It is the number of terms to show, at least 1.")
    return markdown(receipt, lang, limit, table=table).encode("utf-8")


def markdown(receipt: Receipt, lang: str, limit: int | None = LIMIT, *, table: bool = True) -> str:
    """Write a receipt as Markdown; `receipt_md` has the arguments, a limit of None shows all."""
    look = look_of(receipt, lang)
    head = f"### {code(name(receipt.address))} = {look.identify(receipt.reported).text}"
    parts = [head]
    if receipt.verdict is None:
        parts += [plain(text) for text in given(receipt, look)]
        return "\n\n".join(parts) + "\n"
    if receipt.products.size:
        lines, choice = rows(receipt, look, limit)
        joined = " \\\\\n".join(lines)
        parts.append(f"$$\n\\begin{{aligned}}\n{joined}\n\\end{{aligned}}\n$$")
        parts += [plain(text) for text in remarks(receipt, choice, lang)]
        if table:
            parts.append(_table(receipt, look, limit))
    verdict = verdict_lines(receipt, look, culprits=SHOWN_CULPRITS)
    parts.append("  \n".join(plain(line.plain.strip()) for line in verdict))
    return "\n\n".join(parts) + "\n"


def code(text: str) -> str:
    """Write a text as a code span, whatever it holds.

    Example:
        >>> print(code("conv1[0,0]"), code("a`b"))
        `conv1[0,0]` ``a`b``
    """
    longest = 0
    run = 0
    for letter in text:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def plain(text: str) -> str:
    """Write a text so that no letter of it is markup."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~$&" else letter for letter in text)


def _table(receipt: Receipt, look: Look, limit: int | None) -> str:
    """Write the terms as a table."""
    choice = choose(receipt, limit)
    terms = [receipt.term(position) for row in choice.positions for position in row]
    here = [term for term in terms if receipt.present[term.position]]
    scales = [
        Scale.of(numbers, look.digits, narrow=look.narrow)
        for numbers in (
            [t.value for t in here],
            [t.weight for t in terms],
            [t.product for t in here],
        )
    ]
    say = look.say
    heads = [say(f"figure.table.{key}") for key in ("source", "weight", "product")]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|--:|"]
    return "\n".join([*lines, *(_row(receipt, term, scales, look) for term in terms)])


def _row(receipt: Receipt, term: Term, scales: list[Scale], look: Look) -> str:
    values, weights, products = scales
    weight = weights.show(term.weight)
    factor = f"× {weight.marked}"
    if term.weight_address is not None:
        factor += f" {_in_cell(name(term.weight_address))}"
    if not receipt.present[term.position] or term.source is None:
        transposed = isinstance(receipt.layout, Window) and receipt.layout.transposed
        nothing = look.say("receipt.no_input" if transposed else "receipt.padding")
        return f"| {nothing} | {factor} | {PADDING} |"
    value, product = values.show(term.value), products.show(term.product)
    sign = product_sign(value, weight, product)
    source = f"{value.marked} {_in_cell(name(term.source))}"
    return f"| {source} | {factor} | {sign} {product.text} |"


def _in_cell(text: str) -> str:
    """Write a code span in a table, where a bar would end the cell."""
    return code(text).replace("|", "\\|")
