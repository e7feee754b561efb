/**
 * Convolutions and paddings of whole tensors, in typed arrays, by the index law of `geometry.ts`.
 *
 * Products of float32 numbers are exact in float64; sums are kept in float64 and rounded once to
 * float32. PyTorch rounds its sums on the way, so that its last digit can differ.
 */
import { type Axis, tap } from "./geometry";
import type { PaddingMode } from "./settings";
import { sizeOf } from "./tensor";
import { upTo } from "./places";

/** A convolution of `samples` samples; all arrays are row-major. */
export interface Convolution {
  axes: readonly Axis[];
  sizes: readonly number[];
  outputs: readonly number[];
  groups: number;
  channelsIn: number;
  channelsOut: number;
}

/** The positions at which one tap reads something: output and input positions side by side. */
interface Reads {
  outputs: Int32Array;
  sources: Int32Array;
}

/** Compute a convolution: `(N, C_in, …)` and its weight to `(N, C_out, …)`. */
export function convolve(
  settings: Convolution,
  samples: number,
  input: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number> | null,
): Float32Array {
  const { groups, channelsIn, channelsOut } = settings;
  const [eachIn, eachOut] = [channelsIn / groups, channelsOut / groups];
  const transposed = settings.axes.some((axis) => axis.transposed);
  // Up to three axes; missing ones have one position.
  const missing = 3 - settings.axes.length;
  const ones = Array.from({ length: missing }, () => 1);
  const [, rowsIn, columnsIn] = [...ones, ...settings.sizes] as [number, number, number];
  const [, rows, columns] = [...ones, ...settings.outputs] as [number, number, number];
  const single: Reads[] = [{ outputs: Int32Array.of(0), sources: Int32Array.of(0) }];
  const taps = [
    ...ones.map(() => single),
    ...settings.axes.map((axis, n) => readsOf(axis, settings.sizes[n]!, settings.outputs[n]!)),
  ] as [Reads[], Reads[], Reads[]];
  const [planeIn, plane] = [sizeOf(settings.sizes), sizeOf(settings.outputs)];
  const kernel = sizeOf(settings.axes.map((axis) => axis.kernel));
  const result = new Float32Array(samples * channelsOut * plane);
  const sums = new Float64Array(plane);

  for (let sample = 0; sample < samples; sample += 1) {
    for (let out = 0; out < channelsOut; out += 1) {
      sums.fill(bias ? bias[out]! : 0);
      const group = Math.floor(out / eachOut);
      for (let n = 0; n < eachIn; n += 1) {
        const channel = group * eachIn + n;
        const from = (sample * channelsIn + channel) * planeIn;
        let at = (transposed ? channel * eachOut + (out % eachOut) : out * eachIn + n) * kernel;
        for (const deep of taps[0]) {
          for (const row of taps[1]) {
            for (const column of taps[2]) {
              const factor = weight[at]!;
              at += 1;
              if (factor === 0) continue;
              for (let d = 0; d < deep.outputs.length; d += 1) {
                for (let r = 0; r < row.outputs.length; r += 1) {
                  const to = (deep.outputs[d]! * rows + row.outputs[r]!) * columns;
                  const source = from + (deep.sources[d]! * rowsIn + row.sources[r]!) * columnsIn;
                  for (let c = 0; c < column.outputs.length; c += 1) {
                    sums[to + column.outputs[c]!]! += factor * input[source + column.sources[c]!]!;
                  }
                }
              }
            }
          }
        }
      }
      result.set(sums, (sample * channelsOut + out) * plane);
    }
  }
  return result;
}

function readsOf(axis: Axis, size: number, outputs: number): Reads[] {
  return upTo(axis.kernel).map((kernel) => {
    const found: [number, number][] = [];
    for (let output = 0; output < outputs; output += 1) {
      const { source } = tap(axis, size, output, kernel);
      if (source !== null) found.push([output, source]);
    }
    return {
      outputs: Int32Array.from(found, ([output]) => output),
      sources: Int32Array.from(found, ([, source]) => source),
    };
  });
}

/** Position in the input that a padded position copies, along one axis. */
export function copied(mode: PaddingMode, size: number, place: number): number {
  if (mode === "replicate") return Math.min(Math.max(place, 0), size - 1);
  if (mode === "circular") return ((place % size) + size) % size;
  const back = place < 0 ? -place : place;
  return back < size ? back : 2 * (size - 1) - back;
}

/** Pad every plane of an input with copies of its own numbers. */
export function pad(
  mode: PaddingMode,
  padding: readonly number[],
  planes: number,
  size: readonly number[],
  input: Float32Array,
): Float32Array {
  const [rows, columns] = size.length > 1 ? [size[0]!, size[1]!] : [1, size[0]!];
  const [high, wide] = padding.length > 1 ? [padding[0]!, padding[1]!] : [0, padding[0]!];
  const result = new Float32Array(planes * (rows + 2 * high) * (columns + 2 * wide));
  let at = 0;
  for (let plane = 0; plane < planes; plane += 1) {
    for (let row = -high; row < rows + high; row += 1) {
      const from = (plane * rows + copied(mode, rows, row)) * columns;
      for (let column = -wide; column < columns + wide; column += 1) {
        result[at] = input[from + copied(mode, columns, column)]!;
        at += 1;
      }
    }
  }
  return result;
}
