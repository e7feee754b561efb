"""Draws the frames: the window walks over the input, and the output fills up.

Each input channel is a row: input × kernel = products, and their sum. What never changes is drawn
once; a moment belongs to one frame; what is kept stays from its frame on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from convtrace.receipt import Receipt
from convtrace.render.animation.parts import Band, Field, Film, Place
from convtrace.render.drawing.measure import width_of
from convtrace.render.drawing.pen import BODY, HEAD, RESULT, SMALL, Pen, hatching
from convtrace.render.drawing.scene import Box, Label, Shape
from convtrace.render.look import PADDING, name
from convtrace.render.numbers import MINUS, Scale, sum_sign
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
        bands: What of the input is shown.
        shape: Rows and columns of the output.
        pen: Colours and language.
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
        self._inputs = self._scale(n for band in bands for n in band.source.ravel().tolist())
        self._weights = self._scale(self._first.weights.ravel().tolist())
        self._products = self._scale(n for r in receipts for n in r.products.ravel().tolist())
        self._outputs = self._scale(r.reported for r in receipts)
        self._sums = self._scale(n for r in receipts for n in r.channel_sums.tolist())
        self._lay_out()

    def film(self, chosen: Sequence[int]) -> Film:
        """Draw the frames.

        Args:
            chosen: Numbers of the output positions that get a frame, in rising order.
        """
        film = Film(self._width, self._height, title=self._headline(self._receipts[chosen[-1]]))
        film.still = [*self._still()]
        before = 0
        for number in chosen:
            film.moments.append([*self._moment(number)])
            film.kept.append([s for done in range(before, number + 1) for s in self._filled(done)])
            before = number + 1
        return film

    def _scale(self, values: Iterable[Number]) -> Scale:
        return Scale.of(list(values), DIGITS, narrow=self._narrow)

    def _lay_out(self) -> None:
        """Place every grid."""
        window = self._window(0)
        kernel: Place = (1, len(window.taps[0]))
        if len(window.axes) > 1:
            kernel = (len(window.taps[-2]), len(window.taps[-1]))
        numbers = {
            "input": (self._inputs, [band.source for band in self._bands]),
            "kernel": (self._weights, [self._first.weights]),
            "product": (self._products, [receipt.products for receipt in self._receipts]),
            "output": (self._outputs, [np.array([r.reported for r in self._receipts])]),
        }
        wide = {key: _width(scale, arrays) for key, (scale, arrays) in numbers.items()}
        high = 18.0
        rows, columns = self._bands[0].source.shape
        (top, bottom), (left, right) = _ring(window)
        count = (rows + top + bottom, columns + left + right)
        x0 = MARGIN
        x1 = x0 + count[1] * wide["input"] + 2 * _GAP
        x2 = x1 + kernel[1] * wide["kernel"] + 2 * _GAP
        x3 = x2 + kernel[1] * wide["product"] + _GAP
        longest = {self._sums.show(n).text for r in self._receipts for n in r.channel_sums.tolist()}
        x4 = x3 + max(width_of(f"Σ = {MINUS}{text}", BODY, bold=True) for text in longest) + _GAP
        band_height = max(count[0], kernel[0]) * high
        y = MARGIN + _HEADLINE
        self._sources: list[Field] = []
        self._kernels: list[Field] = []
        self._made: list[Field] = []
        for _ in self._bands:
            y += _COLUMN_HEAD
            middle = y + band_height / 2
            self._sources.append(
                Field(x0, middle - count[0] * high / 2, wide["input"], high, (-top, -left), count)
            )
            start = middle - kernel[0] * high / 2
            self._kernels.append(Field(x1, start, wide["kernel"], high, (0, 0), kernel))
            self._made.append(Field(x2, start, wide["product"], high, (0, 0), kernel))
            y += band_height + _BAND_GAP
        self._sum_x, self._end = x3, y
        all_bands = y - _BAND_GAP - MARGIN - _HEADLINE
        out_high = self._shape[0] * high
        top_y = MARGIN + _HEADLINE + _COLUMN_HEAD
        start = max(top_y, top_y + (all_bands - _COLUMN_HEAD - out_high) / 2)
        self._output = Field(x4 + _GAP, start, wide["output"], high, (0, 0), self._shape)
        lowest = max(y - _BAND_GAP, self._output.bottom)
        self._total_y = lowest + 22
        self._height = self._total_y + 10 + MARGIN
        totals = max(width_of(self._total(r), HEAD, bold=True) for r in self._receipts)
        heads = max(width_of(self._headline(r), RESULT, bold=True) for r in self._receipts) + 110
        out_head = width_of(self._pen.say("animation.output"), SMALL)
        self._width = MARGIN + max(
            self._output.right, self._output.x + out_head, MARGIN + totals, MARGIN + heads
        )

    def _still(self) -> Iterator[Shape]:
        """Draw grids, numbers of input and kernel, headings and signs."""
        pen, theme = self._pen, self._pen.theme
        many = len(self._bands) > 1
        for number, band in enumerate(self._bands):
            source, kernel, made = self._sources[number], self._kernels[number], self._made[number]
            extra = f" {self._band_name(band)}" if many else ""
            for place, head, ink in (
                (source, pen.say("animation.input") + extra, theme.window),
                (kernel, pen.say("animation.kernel"), theme.kernel),
                (made, pen.say("animation.products"), theme.quiet),
            ):
                y = place.y - 5
                yield Label(place.x, y, head, SMALL, ink if ink != theme.kernel else theme.quiet)
                yield Box(place.x, place.y - 2.2, place.count[1] * place.width, 1.4, ink)
            yield from self._source_cells(band, source)
            for at in np.ndindex(kernel.count):
                yield kernel.box(at, None, theme.rule)
                yield kernel.text(at, self._weight(band, at), theme.ink, role="kernel")
                yield made.box(at, None, theme.rule)
            y = (kernel.y + kernel.bottom) / 2 + 4
            yield Label((source.right + kernel.x) / 2, y, "×", HEAD, theme.quiet, anchor="middle")
            yield Label((kernel.right + made.x) / 2, y, "=", HEAD, theme.quiet, anchor="middle")
        out = self._output
        yield Label(out.x, out.y - 5, pen.say("animation.output"), SMALL, theme.sum)
        yield Box(out.x, out.y - 2.2, out.count[1] * out.width, 1.4, theme.sum)
        yield from (out.box(at, None, theme.rule) for at in np.ndindex(out.count))

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
                    yield kernel.box(at, theme.behind(theme.kernel), theme.rule)
                    yield kernel.text(at, self._weight(band, at), theme.ink, bold=True)
                    text = self._products.show(products[at].item()).text
                    yield made.text(at, text, theme.ink, role="product")
                else:
                    yield made.text(at, PADDING, theme.quiet)
            if covered:
                yield source.outline(covered, theme.window)
            if band.plane % self._planes == 0:
                y = (kernel.y + kernel.bottom) / 2 + 3.5
                text = f"Σ = {self._sums.show(sums[band.channel]).text}"
                yield Label(self._sum_x, y, text, BODY, theme.sum, True, role="channel-sum")
        yield self._output.outline([self._places[number]], theme.ink)
        y = MARGIN + RESULT
        yield Label(MARGIN, y, self._headline(receipt), RESULT, theme.ink, True, role="headline")
        which = f"{number + 1} / {len(self._receipts)}"
        yield Label(self._width - MARGIN, y, which, SMALL, theme.quiet, anchor="end")
        total = self._total(receipt)
        yield Label(MARGIN, self._total_y, total, HEAD, theme.sum, True, role="total")

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

    def _weight(self, band: Band, at: Place) -> str:
        return self._weights.show(self._plane(self._first.weights, band)[at].item()).text

    def _window(self, number: int) -> Window:
        layout = self._receipts[number].layout
        assert isinstance(layout, Window)
        return layout

    def _headline(self, receipt: Receipt) -> str:
        shown = self._outputs.show(receipt.reported)
        return f"{name(receipt.address)} {shown.sign} {shown.text}"

    def _total(self, receipt: Receipt) -> str:
        """Write the sums of the channels and the bias as one sum."""
        parts = [self._sums.show(number) for number in receipt.channel_sums.tolist()]
        if receipt.bias is not None:
            parts.append(self._scale([receipt.bias]).show(receipt.bias))
        total = self._outputs.show(receipt.reported)
        texts = [p.text for p in parts]
        rest = [f"− {t[1:]}" if t.startswith(MINUS) else f"+ {t}" for t in texts[1:]]
        return f"{' '.join([texts[0], *rest])} {sum_sign(parts, total)} {total.text}"


def _width(scale: Scale, arrays: Iterable[NDArray[np.generic]]) -> float:
    """Return the width of a cell that holds any of the numbers."""
    texts = {scale.show(n).text for array in arrays for n in set(array.ravel().tolist())}
    return max(18.0, *(width_of(text, BODY) + 7 for text in texts))


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
