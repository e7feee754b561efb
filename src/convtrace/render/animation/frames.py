"""Draws the frames: the window walks over the input, and the output fills up.

Each input channel is a row: input × kernel = products, and their sum. What never changes is drawn
once; a moment belongs to one frame; what is kept stays from its frame on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convtrace.receipt import Receipt
from convtrace.render.animation.parts import Band, Field, Film, Place
from convtrace.render.cut import add
from convtrace.render.drawing.measure import width_of
from convtrace.render.drawing.pen import BODY, HEAD, RESULT, SMALL, Pen, hatching
from convtrace.render.drawing.scene import Block, Box, Label, Shape
from convtrace.render.look import PADDING, name
from convtrace.render.numbers import ABOUT, MINUS, Scale, Shown, product_sign, sum_sign
from convtrace.rules.conv import Window
from convtrace.step import Number

DIGITS = 4
"""Significant digits of rounded numbers."""

MARGIN, _GAP, _BAND_GAP = 14.0, 14.0, 12.0
_HEADLINE, _COLUMN_HEAD = 34.0, 15.0


class Stage:
    """The layout of an animation.

    Args:
        receipts: Those of every output number of one channel, in row-major order.
        places: Row and column of each.
        bands: What of the input is shown. What other channels add is one number in each frame.
        shape: Rows and columns of the output.
        pen: Colours and language.

    Attributes:
        width, height: Size in points.
    """

    def __init__(
        self,
        receipts: Sequence[Receipt],
        places: Sequence[Place],
        bands: Sequence[Band],
        shape: Place,
        pen: Pen,
    ) -> None:
        self._receipts, self._places = receipts, places
        self._bands, self._shape, self._pen = bands, shape, pen
        self._first = receipts[0]
        arithmetic = self._first.arithmetic
        self._narrow = arithmetic is None or arithmetic.operands != "float64"
        self._shown = sorted({band.channel for band in bands})
        self._rests: list[Number] = []
        if len(self._shown) < len(self._first.products):
            hidden = [np.delete(receipt.products, self._shown, axis=0) for receipt in receipts]
            self._rests = [add(products.ravel().tolist()) for products in hidden]
        self._inputs = self._kind(band.source for band in bands)
        self._weights = self._kind([self._first.weights[self._shown]])
        self._products = self._kind(receipt.products[self._shown] for receipt in receipts)
        self._outputs = self._kind([np.array([receipt.reported for receipt in receipts])])
        sums = [n for r in receipts for n in r.channel_sums[self._shown].tolist()]
        self._sums = Scale.of([*sums, *self._rests], DIGITS, narrow=self._narrow)
        self._lay_out()

    def film(self, chosen: Sequence[int]) -> Film:
        """Draw the frames.

        Args:
            chosen: Numbers of the output positions that get a frame, in rising order.
        """
        title = self._headline(self._receipts[chosen[-1]])
        film = Film(self.width, self.height, self._pen.theme, self._pen.look.lang, title=title)
        film.still = [*self._still()]
        before = 0
        for number in chosen:
            film.moments.append([*self._moment(number)])
            film.kept.append([s for done in range(before, number + 1) for s in self._filled(done)])
            before = number + 1
        return film

    def _kind(self, arrays: Iterable[NDArray[np.generic]]) -> _Kind:
        """Say how the numbers of one kind are written, in all frames alike."""
        values = list({value for array in arrays for value in array.ravel().tolist()})
        scale = Scale.of(values, DIGITS, narrow=self._narrow)
        written = {value: scale.show(value) for value in values}
        width = max(18.0, *(width_of(one.text, BODY) + 7 for one in written.values()))
        rounded = any(one.rounded for one in written.values())
        return _Kind(scale, width, f" {ABOUT}" if rounded else "", written)

    def _lay_out(self) -> None:
        """Place every grid."""
        window = self._window(0)
        kernel: Place = (1, len(window.taps[0]))
        if len(window.axes) > 1:
            kernel = (len(window.taps[-2]), len(window.taps[-1]))
        high = 18.0
        wide = self._inputs.width
        rows, columns = self._bands[0].source.shape
        (top, bottom), (left, right) = _ring(window)
        count = (rows + top + bottom, columns + left + right)
        x0 = MARGIN
        x1 = x0 + count[1] * wide + 2 * _GAP
        x2 = x1 + kernel[1] * self._weights.width + 2 * _GAP
        x3 = x2 + kernel[1] * self._products.width + _GAP
        sums = {n for r in self._receipts for n in r.channel_sums[self._shown].tolist()}
        longest = (f"Σ {ABOUT} {MINUS}{self._sums.show(n).text}" for n in sums)
        x4 = x3 + max(width_of(text, BODY, bold=True) for text in longest) + _GAP
        band_height = max(count[0], kernel[0]) * high
        y = MARGIN + _HEADLINE
        self._sources: list[Field] = []
        self._kernels: list[Field] = []
        self._made: list[Field] = []
        for _ in self._bands:
            y += _COLUMN_HEAD
            middle = y + band_height / 2
            self._sources.append(
                Field(x0, middle - count[0] * high / 2, wide, high, (-top, -left), count)
            )
            start = middle - kernel[0] * high / 2
            self._kernels.append(Field(x1, start, self._weights.width, high, (0, 0), kernel))
            self._made.append(Field(x2, start, self._products.width, high, (0, 0), kernel))
            y += band_height + _BAND_GAP
        self._sum_x, self._end = x3, y
        all_bands = y - _BAND_GAP - MARGIN - _HEADLINE
        out_high = self._shape[0] * high
        top_y = MARGIN + _HEADLINE + _COLUMN_HEAD
        start = max(top_y, top_y + (all_bands - _COLUMN_HEAD - out_high) / 2)
        self._output = Field(x4 + _GAP, start, self._outputs.width, high, (0, 0), self._shape)
        lowest = max(y - _BAND_GAP, self._output.bottom)
        self._total_y = lowest + 22
        numbers = range(len(self._receipts))
        totals = max(width_of(self._total(n), HEAD, bold=True) for n in numbers)
        heads = max(width_of(self._headline(r), RESULT, bold=True) for r in self._receipts) + 110
        rests = max(width_of(self._rest(n), SMALL) for n in numbers)
        out_head = width_of(self._head("output", self._outputs), SMALL)
        inner = max(totals, heads, rests, self._output.x + out_head - MARGIN)
        inner = max(inner, self._output.right - MARGIN)
        self._remark = Block(0, 0)
        if self._is_rounded(totals=map(self._total, numbers)):
            self._remark = self._pen.paragraph([self._pen.say("shown.rounded")], inner)
        self._rest_y = self._total_y + (16 if self._rests else 0)
        self._remark_y = self._rest_y + 10
        self.width = inner + 2 * MARGIN
        self.height = self._remark_y + self._remark.height + MARGIN

    def _is_rounded(self, totals: Iterable[str]) -> bool:
        """Whether the mark of rounded numbers occurs anywhere."""
        kinds = (self._inputs, self._weights, self._products, self._outputs)
        heads = (self._headline(receipt) for receipt in self._receipts)
        return any(kind.mark for kind in kinds) or any(ABOUT in t for t in (*totals, *heads))

    def _head(self, key: str, kind: _Kind) -> str:
        return self._pen.say(f"animation.{key}") + kind.mark

    def _still(self) -> Iterator[Shape]:
        """Draw grids, numbers of input and kernel, headings and signs."""
        pen, theme = self._pen, self._pen.theme
        many = len(self._bands) > 1
        for number, band in enumerate(self._bands):
            source, kernel, made = self._sources[number], self._kernels[number], self._made[number]
            extra = f" {self._band_name(band)}" if many else ""
            for place, head, ink in (
                (source, pen.say("animation.input") + extra + self._inputs.mark, theme.window),
                (kernel, self._head("kernel", self._weights), theme.kernel),
                (made, self._head("products", self._products), theme.quiet),
            ):
                y = place.y - 5
                yield Label(place.x, y, head, SMALL, ink if ink != theme.kernel else theme.quiet)
                yield Box(place.x, place.y - 2.2, place.count[1] * place.width, 1.4, ink)
            yield from self._source_cells(band, source)
            for at in np.ndindex(kernel.count):
                yield kernel.box(at, None, theme.rule)
                yield kernel.text(at, self._weight(band, at).text, theme.ink, role="kernel")
                yield made.box(at, None, theme.rule)
            y = (kernel.y + kernel.bottom) / 2 + 4
            yield Label((source.right + kernel.x) / 2, y, "×", HEAD, theme.quiet, anchor="middle")
        out = self._output
        yield Label(out.x, out.y - 5, self._head("output", self._outputs), SMALL, theme.sum)
        yield Box(out.x, out.y - 2.2, out.count[1] * out.width, 1.4, theme.sum)
        yield from (out.box(at, None, theme.rule) for at in np.ndindex(out.count))
        yield from (shape.moved(MARGIN, self._remark_y) for shape in self._remark.shapes)

    def _source_cells(self, band: Band, source: Field) -> Iterator[Shape]:
        theme = self._pen.theme
        rows, columns = band.source.shape
        for row, column in np.ndindex(source.count):
            at = (row + source.first[0], column + source.first[1])
            yield source.box(at, None, theme.rule)
            if 0 <= at[0] < rows and 0 <= at[1] < columns and self._is_read(band):
                text = self._inputs.show(band.source[at].item()).text
                yield source.text(at, text, theme.ink, role="input")
            else:
                box = source.box(at, None, None)
                yield hatching(source.width, source.height, theme.rule).moved(box.x, box.y)

    def _moment(self, number: int) -> Iterator[Shape]:
        """Draw the window, its products and sums at one output position."""
        receipt, theme = self._receipts[number], self._pen.theme
        window = self._window(number)
        sums = receipt.channel_sums.tolist()
        for place, band in enumerate(self._bands):
            source, kernel, made = self._sources[place], self._kernels[place], self._made[place]
            products = self._plane(receipt.products, band)
            present = self._plane(receipt.present, band)
            covered: list[Place] = []
            signs: set[str] = set()
            for at in np.ndindex(kernel.count):
                hit = _hit(window, at)
                reads = bool(present[at])
                if hit is not None and source.holds(hit):
                    covered.append(hit)
                    if reads:
                        yield source.box(hit, theme.behind(theme.window), theme.rule)
                        text = self._inputs.show(band.source[hit].item()).text
                        yield source.text(hit, text, theme.ink, bold=True, role="window")
                if reads:
                    assert hit is not None
                    read = self._inputs.show(band.source[hit].item())
                    weight = self._weight(band, at)
                    yield kernel.box(at, theme.behind(theme.kernel), theme.rule)
                    yield kernel.text(at, weight.text, theme.ink, bold=True)
                    product = self._products.show(products[at].item())
                    yield made.text(at, product.text, theme.ink, role="product")
                    signs.add(product_sign(read, weight, product))
                else:
                    yield made.text(at, PADDING, theme.quiet)
            if covered:
                yield source.outline(covered, theme.window)
            x, y = (kernel.right + made.x) / 2, (kernel.y + kernel.bottom) / 2 + 4
            sign = ABOUT if ABOUT in signs else "="
            yield Label(x, y, sign, HEAD, theme.quiet, anchor="middle", role="sign")
            if band.plane % self._planes == 0:
                y = (kernel.y + self._kernels[place + self._planes - 1].bottom) / 2 + 3.5
                total = self._sums.show(sums[band.channel])
                there = receipt.products[band.channel][receipt.present[band.channel]].tolist()
                sign = sum_sign([self._products.show(one) for one in there], total)
                text = f"Σ {sign} {total.text}"
                yield Label(self._sum_x, y, text, BODY, theme.sum, True, role="channel-sum")
        yield self._output.outline([self._places[number]], theme.ink)
        y = MARGIN + RESULT
        yield Label(MARGIN, y, self._headline(receipt), RESULT, theme.ink, True, role="headline")
        which = f"{number + 1} / {len(self._receipts)}"
        yield Label(self.width - MARGIN, y, which, SMALL, theme.quiet, anchor="end")
        text = self._total(number)
        yield Label(MARGIN, self._total_y, text, HEAD, theme.sum, True, role="total")
        if rest := self._rest(number):
            yield Label(MARGIN, self._rest_y, rest, SMALL, theme.quiet, role="rest")

    def _filled(self, number: int) -> Iterator[Shape]:
        """Draw an output cell once its number is there."""
        theme, at = self._pen.theme, self._places[number]
        yield self._output.box(at, theme.behind(theme.sum), theme.rule)
        text = self._outputs.show(self._receipts[number].reported).text
        yield self._output.text(at, text, theme.ink, bold=True, role="output")

    @property
    def _planes(self) -> int:
        """Bands of one channel."""
        return self._first.weights.shape[1] if self._first.weights.ndim == 4 else 1

    def _plane(self, array: NDArray[np.generic], band: Band) -> NDArray[np.generic]:
        """Return what belongs to one band, with rows and columns."""
        found = array.reshape(-1, *array.shape[2:]) if array.ndim == 4 else array
        return np.atleast_2d(found[band.plane])

    def _is_read(self, band: Band) -> bool:
        return band.depth is not None or self._planes == 1

    def _band_name(self, band: Band) -> str:
        channel = self._window(0).channels[band.channel]
        text = self._pen.say("axis.channel", n=channel)
        if self._planes == 1:
            return text
        if band.depth is None:
            key = "receipt.no_input" if self._window(0).transposed else "receipt.padding"
            depth = self._pen.say(key)
        else:
            depth = self._pen.say("axis.depth", n=band.depth)
        return f"{text}, {depth}"

    def _weight(self, band: Band, at: Place) -> Shown:
        weights = self._plane(self._first.weights, band)
        return self._weights.show(weights[at].item())

    def _window(self, number: int) -> Window:
        layout = self._receipts[number].layout
        assert isinstance(layout, Window)
        return layout

    def _headline(self, receipt: Receipt) -> str:
        shown = self._outputs.show(receipt.reported)
        return f"{name(receipt.address)} {shown.sign} {shown.text}"

    def _total(self, number: int) -> str:
        """Write the sums of the channels, of those that are not shown, and the bias as one sum."""
        receipt = self._receipts[number]
        parts = [self._sums.show(one) for one in receipt.channel_sums[self._shown].tolist()]
        if self._rests:
            parts.append(self._sums.show(self._rests[number]))
        if receipt.bias is not None:
            scale = Scale.of([receipt.bias], DIGITS, narrow=self._narrow)
            parts.append(scale.show(receipt.bias))
        total = self._outputs.show(receipt.reported)
        texts = [p.text for p in parts]
        if receipt.bias is not None:
            texts[-1] += f" ({self._pen.say('figure.bias')})"
        rest = [f"− {t[1:]}" if t.startswith(MINUS) else f"+ {t}" for t in texts[1:]]
        return f"{' '.join([texts[0], *rest])} {sum_sign(parts, total)} {total.text}"

    def _rest(self, number: int) -> str:
        """Say how many channels are shown, and what the others sum to; nothing where all are."""
        if not self._rests:
            return ""
        values = {"shown": len(self._shown), "count": len(self._first.products)}
        rest = self._sums.show(self._rests[number]).marked
        return self._pen.say("animation.some_channels", rest=rest, **values)


@dataclass(frozen=True)
class _Kind:
    """How the numbers of one kind are written.

    Attributes:
        scale: Their digits.
        width: Width of a cell that holds any of them.
        mark: What is added to a heading: ` ≈` where one of them is shown rounded.
        written: Each of them, written.
    """

    scale: Scale
    width: float
    mark: str
    written: Mapping[Number, Shown]

    def show(self, value: Number) -> Shown:
        """Write one of them."""
        return self.written.get(value) or self.scale.show(value)  # NaN is not found


def _ring(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return how many cells of padding are drawn above, below, left and right of the input."""
    if window.transposed:
        return (0, 0), (0, 0)
    pads = [(max(low, 0), max(high, 0)) for low, high in (a.padding for a in window.axes[-2:])]
    return ((0, 0), pads[0]) if len(pads) == 1 else (pads[0], pads[1])


def _hit(window: Window, at: Place) -> Place | None:
    """Return the cell that a tap falls on, padding included; None between inputs."""
    places: list[int] = []
    for axis, k in zip(window.taps[-2:], at[-min(len(window.taps), 2) :], strict=True):
        place = axis[k].source if window.transposed else axis[k].numerator
        if place is None:
            return None
        places.append(place)
    return (0, places[0]) if len(places) == 1 else (places[0], places[1])
