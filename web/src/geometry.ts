/**
 * The index law: which input positions a window reads, in pure integers.
 *
 * Along one axis, for output position `o` and kernel tap `k`:
 *
 *     convolution             i = o*stride - padding_low + k*dilation
 *     transposed convolution  i = (o + padding_low - k*dilation) / stride, only where it divides
 *
 * An `i` outside `[0, size)` is padding. The same law as `src/convtrace/geometry.py`, tested on the
 * same cases (`tests/cases/*.json`).
 *
 * Sources: Dumoulin and Visin, arXiv:1603.07285. The kernel is not flipped (cross-correlation).
 */
import { upTo } from "./places";

/** The settings of a convolution along one axis, all in elements. */
export interface Axis {
  /** Number of taps, kH or kW. */
  kernel: number;
  stride: number;
  /** Padding before the first and after the last input; a transposed convolution crops instead. */
  padding: readonly [number, number];
  dilation: number;
  transposed: boolean;
  /** Transposed only: positions added after the last output. */
  outputPadding: number;
}

/** One kernel tap at one output position, along one axis. */
export interface Tap {
  kernel: number;
  /** Position in the input, or null where the tap reads nothing. */
  source: number | null;
  /** Why `source` is null; `gap`: a transposed convolution falls between two inputs. */
  miss: "padding" | "gap" | null;
  /** What the law computes before the division by the stride, or before the test of the range. */
  numerator: number;
}

/** Elements from the first to the last tap. */
export function extent(axis: Axis): number {
  return axis.dilation * (axis.kernel - 1) + 1;
}

/** Count the output positions along one axis; zero or negative where the kernel does not fit. */
export function outputSize(axis: Axis, size: number): number {
  const [low, high] = axis.padding;
  if (axis.transposed) {
    return (size - 1) * axis.stride - low - high + extent(axis) + axis.outputPadding;
  }
  return Math.floor((size + low + high - extent(axis)) / axis.stride) + 1;
}

/** Write `outputSize` with its numbers filled in: `⌊(7 + 1 + 1 − 1·(3 − 1) − 1) / 2⌋ + 1 = 4`. */
export function outputFormula(axis: Axis, size: number): string {
  const [low, high] = axis.padding;
  const { stride, dilation, kernel } = axis;
  const result = String(outputSize(axis, size)).replace("-", "−");
  if (axis.transposed) {
    return (
      `(${size} − 1)·${stride} − ${low} − ${high} + ${dilation}·(${kernel} − 1)` +
      ` + ${axis.outputPadding} + 1 = ${result}`
    );
  }
  return (
    `⌊(${size} + ${low} + ${high} − ${dilation}·(${kernel} − 1) − 1)` +
    ` / ${stride}⌋ + 1 = ${result}`
  );
}

/** Find what one tap reads. */
export function tap(axis: Axis, size: number, output: number, kernel: number): Tap {
  const low = axis.padding[0];
  let numerator: number;
  let source: number;
  if (axis.transposed) {
    numerator = output + low - kernel * axis.dilation;
    source = Math.floor(numerator / axis.stride);
    if (source * axis.stride !== numerator) return { kernel, source: null, miss: "gap", numerator };
  } else {
    numerator = source = output * axis.stride - low + kernel * axis.dilation;
  }
  if (source < 0 || source >= size) return { kernel, source: null, miss: "padding", numerator };
  return { kernel, source, miss: null, numerator };
}

/** List what every tap of one output position reads, first tap first. */
export function taps(axis: Axis, size: number, output: number): Tap[] {
  return upTo(axis.kernel).map((kernel) => tap(axis, size, output, kernel));
}

/** First and last input channel that one output channel reads; `last` is included. */
export function inputGroup(
  outputChannel: number,
  channelsOut: number,
  channelsIn: number,
  groups: number,
): [first: number, last: number] {
  const each = Math.floor(channelsIn / groups);
  const group = Math.floor(outputChannel / Math.floor(channelsOut / groups));
  return [group * each, (group + 1) * each - 1];
}
