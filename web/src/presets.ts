/** Numbers to begin with: what the input and the kernels of the playground hold. No drawing. */
import type { LayerSettings } from "./settings";
import { sizeOf, unravel } from "./tensor";

export const INPUTS = ["counting", "one_hot", "edge", "digit", "random", "own"] as const;
export type InputPreset = (typeof INPUTS)[number];

export const KERNELS = ["snippet", "identity", "ones", "blur", "sobel", "sharpen", "random", "own"] as const;
export type KernelPreset = (typeof KERNELS)[number];

/** Kernels that there are in one size only. */
export const KERNEL_SIZE: Readonly<Partial<Record<KernelPreset, number>>> = { sobel: 3, sharpen: 3 };

/** One constant for each kernel, number `(2·output + input) % 5`: as in `models/stack.py`. */
const SNIPPET = [0.25, 0.5, 1, 2, 4];
/** Random numbers are whole, from -3 to 3 in kernels and from 0 to 9 in inputs. */
const LARGEST_WEIGHT = 3;
const LARGEST_INPUT = 9;

/** A generator of numbers from 0 to 1 that repeats (mulberry32, public domain, T. Ettinger). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A whole number from `low` to `high`, both included. */
export const draw = (next: () => number, low: number, high: number): number =>
  low + Math.floor(next() * (high - low + 1));

/**
 * An 8, eight by eight, in sixteenths: the digit that convtrace ships. E. Alpaydin and C. Kaynak,
 * Optical Recognition of Handwritten Digits, UCI, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0.
 */
const DIGIT = "00bac40000cd9g10007dbg00001ge40000agd00000e7c70004e4cd0001bec400";

/** Fill an input of `(C, …size)`. */
export function inputNumbers(
  preset: InputPreset,
  channels: number,
  size: readonly number[],
  seed: number,
): Float32Array {
  const [rows, columns] = size.length > 1 ? [size[0]!, size[1]!] : [1, size[0]!];
  const next = generator(seed);
  return filled([channels, rows, columns], ([channel, row, column], n) => {
    switch (preset) {
      case "counting":
        return n;
      case "one_hot":
        return channel === 0 && row === (rows - 1) >> 1 && column === (columns - 1) >> 1 ? 1 : 0;
      case "edge":
        // Left to right in channels 0, 2, …, top to bottom in the others.
        return (channel % 2 && rows > 1 ? row >= rows / 2 : column >= columns / 2) ? 1 : 0;
      case "digit":
        return digitAt(rows > 1 ? (row + 0.5) / rows : 0.5, (column + 0.5) / columns);
      case "random":
        return draw(next, 0, LARGEST_INPUT);
      case "own":
        return 0;
    }
  });
}

function digitAt(down: number, across: number): number {
  return parseInt(DIGIT[Math.floor(down * 8) * 8 + Math.floor(across * 8)]!, 17) / 16;
}

/** Fill a tensor, in row-major order, from the position and the number of each place. */
const filled = (
  shape: readonly number[],
  value: (at: [number, number, number, ...number[]], n: number) => number,
): Float32Array =>
  Float32Array.from({ length: sizeOf(shape) }, (_, n) => value(unravel(shape, n) as [number, number, number], n));

/** Fill the weight of a layer, in the order of PyTorch's weight; the twin of `models/stack.py`. */
export function kernelNumbers(
  preset: KernelPreset,
  layer: LayerSettings,
  shape: readonly number[],
  seed: number,
): Float32Array {
  const next = generator(seed);
  return filled(shape, ([a, b, ...at]) => {
    // Number of the output channel in its group, or of all, and of the input channel likewise.
    const [output, input] = layer.transposed ? [b, a] : [a, b];
    return weightAt(preset, layer, [a % (shape[0]! / layer.groups), b], output, input, at, next);
  });
}

function weightAt(
  preset: KernelPreset,
  layer: LayerSettings,
  [within, second]: readonly [number, number],
  output: number,
  input: number,
  at: readonly number[],
  next: () => number,
): number {
  const { kernel } = layer;
  const middle = at.every((one, axis) => one === kernel[axis]! >> 1);
  switch (preset) {
    case "snippet":
      return SNIPPET[(2 * output + input) % SNIPPET.length]!;
    case "identity":
      // As `nn.init.dirac_(weight, groups)`: each group copies its own channels.
      return middle && within === second ? 1 : 0;
    case "ones":
      return 1;
    case "blur":
      return at.reduce((product, one, axis) => product * binomial(kernel[axis]! - 1, one), 1);
    case "sobel": {
      const [row, column] = at.length > 1 ? [at[0]!, at[1]!] : [1, at[0]!];
      const [along, across] = output % 2 && at.length > 1 ? [column, row] : [row, column];
      return (at.length > 1 && along === 1 ? 2 : 1) * (across - 1);
    }
    case "sharpen":
      if (middle) return 1 + 2 * at.length;
      return at.filter((one) => one === 1).length === at.length - 1 ? -1 : 0;
    case "random":
      return draw(next, -LARGEST_WEIGHT, LARGEST_WEIGHT);
    case "own":
      return 0;
  }
}

/** Biases are 1, 2, 3, … by output channel, or random. */
export function biasNumbers(preset: KernelPreset, channels: number, seed: number): Float32Array {
  const next = generator(seed + 7919);
  return Float32Array.from({ length: channels }, (_, channel) => {
    if (preset === "random") return draw(next, -LARGEST_WEIGHT, LARGEST_WEIGHT);
    return preset === "own" ? 0 : channel + 1;
  });
}

/** Entry `k` of row `n` of Pascal's triangle, divided by the sum of the row. */
function binomial(n: number, k: number): number {
  let value = 1;
  for (let m = 1; m <= k; m += 1) value = (value * (n - m + 1)) / m;
  return value / 2 ** n;
}

/**
 * Turn the pixels of an image (red, green, blue, alpha; 0 to 255) into an input: the colours for
 * three channels, else grey in every channel.
 */
export function imageNumbers(pixels: ArrayLike<number>, channels: number): Float32Array {
  const count = pixels.length / 4;
  const numbers = new Float32Array(channels * count);
  for (let channel = 0; channel < channels; channel += 1) {
    for (let n = 0; n < count; n += 1) {
      const [red, green, blue] = [pixels[4 * n]!, pixels[4 * n + 1]!, pixels[4 * n + 2]!];
      // Weights of ITU-R BT.601, as Pillow's conversion to grey has them.
      const grey = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
      numbers[channel * count + n] = channels === 3 ? pixels[4 * n + channel]! : grey;
    }
  }
  return numbers;
}
