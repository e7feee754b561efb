/** Tensors of which some boxes are at hand: all of a small one, windows and tiles of a large one. */
import { type BoxDocument, type Num, type PackedDocument, type TensorDocument, decode } from "./document";

/** A box of positions: first position and size on each axis. */
export interface Box {
  start: readonly number[];
  shape: readonly number[];
}

/** A box and its numbers, row-major. */
export interface FilledBox extends Box {
  readonly values: ArrayLike<Num>;
}

/** A box whose numbers are read when the first one is asked for: a page opens without reading all. */
class PackedBox implements FilledBox {
  readonly start: readonly number[];
  readonly shape: readonly number[];
  private read: ArrayLike<number> | null = null;

  constructor(private readonly packed: BoxDocument) {
    this.start = packed.start;
    this.shape = packed.shape;
  }

  get values(): ArrayLike<number> {
    return (this.read ??= unpack(this.packed));
  }
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A tensor: what is known of it, and the numbers that are here. */
export class Tensor {
  readonly boxes: FilledBox[] = [];

  constructor(
    readonly name: string,
    /** `input`, `parameter`, `constant` or `step`. */
    readonly origin: string,
    readonly dtype: string,
    readonly shape: readonly number[],
  ) {}

  /** Make a tensor from its document, and the boxes that came beside it. */
  static from(document: TensorDocument, boxes: readonly BoxDocument[] = []): Tensor {
    const { name, origin, dtype, shape, data } = document;
    const tensor = new Tensor(name, origin, dtype, shape);
    if (data) tensor.boxes.push({ start: shape.map(() => 0), shape, values: data.map(decode) });
    for (const box of boxes) {
      tensor.boxes.push(new PackedBox(box));
    }
    return tensor;
  }

  /** The number at a position; undefined where it is not here. */
  at(index: readonly number[]): Num | undefined {
    for (let n = this.boxes.length - 1; n >= 0; n -= 1) {
      const box = this.boxes[n]!;
      const offset = offsetIn(box, index);
      if (offset >= 0) return box.values[offset];
    }
    return undefined;
  }

  /** The numbers of the last one or two axes, NaN where one is not here. */
  plane(at: readonly number[], rows: number, columns: number): Float64Array {
    const values = new Float64Array(rows * columns).fill(NaN);
    const flat = at.length + 1 === this.shape.length;
    for (const box of this.boxes) {
      const low = box.start.slice(at.length);
      const size = box.shape.slice(at.length);
      if (flat) [low.unshift(0), size.unshift(1)];
      const head = offsetIn({ start: box.start.slice(0, at.length), shape: box.shape.slice(0, at.length) }, at);
      if (head < 0) continue;
      const [height, width] = size as [number, number];
      const from = box.values;
      for (let row = 0; row < height; row += 1) {
        const [source, target] = [(head * height + row) * width, (low[0]! + row) * columns + low[1]!];
        for (let column = 0; column < width; column += 1) {
          values[target + column] = Number(from[source + column]);
        }
      }
    }
    return values;
  }

  /** Whether every number of a box is here, in one piece. */
  has(box: Box): boolean {
    return this.boxes.some((here) =>
      here.shape.every((size, axis) => {
        const low = box.start[axis]! - here.start[axis]!;
        return low >= 0 && low + box.shape[axis]! <= size;
      }),
    );
  }
}

function offsetIn(box: Box, index: readonly number[]): number {
  let offset = 0;
  for (let axis = 0; axis < box.shape.length; axis += 1) {
    const place = index[axis]! - box.start[axis]!;
    const size = box.shape[axis]!;
    if (place < 0 || place >= size) return -1;
    offset = offset * size + place;
  }
  return offset;
}

const ARRAYS = {
  f4: Float32Array,
  f8: Float64Array,
  i1: Int8Array,
  i2: Int16Array,
  i4: Int32Array,
  u1: Uint8Array,
  u2: Uint16Array,
  u4: Uint32Array,
};

/** Read packed numbers. Every machine that runs a browser today is little-endian. */
export function unpack(packed: PackedDocument): ArrayLike<number> {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return new ARRAYS[packed.type as keyof typeof ARRAYS](bytes.buffer);
}

/** Position of number `n` of an array of this shape, counted row by row. */
export function unravel(shape: readonly number[], n: number): number[] {
  const index: number[] = new Array(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    index[axis] = n % shape[axis]!;
    n = Math.floor(n / shape[axis]!);
  }
  return index;
}
