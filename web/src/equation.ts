/** A receipt laid out as an equation: which number stands in which cell. No drawing, no text. */
import { addressText, parseAddress } from "./address";
import { type Law, type Window, lawOf, positions, windowOf } from "./convolution";
import type { Num, ReceiptDocument } from "./document";
import { sum } from "./exact";
import type { Network } from "./network";
import { type Box, type Tensor, sizeOf, unravel } from "./tensor";
import { upTo } from "./places";

/** One cell of a grid. */
export interface Cell {
  /** `data-address`: an address, or `address#part[…]`; null where no number stands. */
  key: string | null;
  /** undefined: not here. null: padding, where there is no number. */
  value: Num | undefined | null;
  /** Whether its number is held back, in an exercise. */
  blank?: boolean;
  /** What stands before the number: a sign, or what it is. */
  before?: string;
  /** Whether the window covers it. */
  window?: boolean;
  /** Whether it is the number that the receipt is of. */
  selected?: boolean;
  /** From −1 to 1: how strongly the cell is coloured on the diverging scale. */
  shade?: number;
}

/** A grid: rows of cells. Slices of three-dimensional data stand below each other. */
export interface Sheet {
  rows: Cell[][];
  /** Rows of one slice. */
  slice: number;
  /** Which numbers they are, where they are those of a tensor. */
  of?: { name: string; box: Box };
}

/** A plane of a tensor that is too large for cells: drawn on a canvas. */
export interface Plane {
  tensor: Tensor;
  /** Position on the axes before rows and columns. */
  at: number[];
  rows: number;
  columns: number;
  /** First and last row and column of the window, padding included; null where nothing is marked. */
  mark: [top: number, bottom: number, left: number, right: number] | null;
}

/** One row: an input channel, or one term of a step that has no channels. */
export interface Row {
  /** Position on the first axis of the receipt's arrays. */
  place: number;
  channel: number;
  /** Address that names the row where it is no channel. */
  source: string | null;
  /** The channel as a whole with the window marked, or a canvas, or neither. */
  input: Sheet | Plane | null;
  /** The numbers in the window, where `input` does not show them. */
  values: Sheet | null;
  kernel: Sheet;
  /** null: held back, in an exercise. */
  products: Sheet | null;
  sum: Cell;
}

export interface Equation {
  receipt: ReceiptDocument;
  /** Whether rows are input channels. */
  channels: boolean;
  /** Whether a kernel slides over an input (or the terms are a plain list). */
  slides: boolean;
  rows: Row[];
  /** Number of rows of the receipt, and the sum of the products of those not shown. */
  of: number;
  rest: Num | null;
  output: Sheet | Plane | null;
  outputChannel: number | null;
}

/** Largest grid that is drawn cell by cell: more rows or columns go to a canvas. */
const MOST_ROWS = 9;
const MOST_COLUMNS = 9;
/** Rows that are shown at once, however small they are; of more channels, fewer. */
const MOST_CHANNELS = 6;
const FEW_CHANNELS = 2;
/** Features of a linear layer stand in rows of so many. */
const FEATURES = 5;

export const partKey = (address: string, part: string): string => `${address}#${part}`;

export interface Choice {
  order: "share" | "number";
  from: number;
  /** Cells that may be drawn, all grids together. */
  cells: number;
  /** Whether numbers in so many columns are narrow enough to be drawn as cells. */
  narrow: (columns: number, values: readonly (Num | null | undefined)[]) => boolean;
}

/** Lay out a receipt that has terms. */
export function equationOf(network: Network, receipt: ReceiptDocument, choice: Choice): Equation {
  const { step: name, index } = parseAddress(receipt.address)!;
  const step = network.step(name);
  const law = step ? lawOf(network, step) : null;
  const window = law && windowOf(law, index);
  const count = receipt.shape[0] ?? 0;
  const order = rowOrder(receipt, choice.order);
  const each = sizeOf(receipt.shape.slice(1));
  const cells = window !== null && hasCells(window, choice);
  const inputCells = window && cells ? sizeOf(extentOf(window)) : 0;
  const most = Math.max(1, Math.floor(choice.cells / (inputCells + 3 * each + 6)));
  const from = Math.min(choice.from, Math.max(count - 1, 0));
  const few = each > 1 && count > MOST_CHANNELS;
  const places = order.slice(from, from + Math.min(most, few ? FEW_CHANNELS : MOST_CHANNELS));
  const shown = new Set(places);
  const hidden = receipt.products.filter((_, n) => !shown.has(Math.floor(n / each)));
  return {
    receipt,
    channels: /^(conv|lin)/.test(receipt.kind),
    slides: receipt.kind === "convolution",
    rows: places.map((place) => rowOf(receipt, window, place, cells)),
    of: count,
    rest: places.length < count ? restOf(hidden) : null,
    output: network.tensor(name) ? planeOf(network.tensor(name)!, index, law, choice.narrow) : null,
    outputChannel: law?.axes.length ? window!.outputChannel : null,
  };
}

function restOf(products: readonly Num[]): Num {
  return products.some((one) => typeof one === "string") ? NaN : sum(products as number[]);
}

/** Positions on the first axis, in the order in which they are shown. */
function rowOrder(receipt: ReceiptDocument, order: "share" | "number"): number[] {
  const places = upTo(receipt.shape[0] ?? 0);
  if (order === "number") return places;
  const size = (place: number): number => {
    const value = Math.abs(Number(receipt.channelSums[place]));
    return isNaN(value) ? Infinity : value;
  };
  return places.sort((a, b) => size(b) - size(a) || a - b);
}

function rowOf(receipt: ReceiptDocument, window: Window | null, place: number, cells: boolean): Row {
  const kernel = receipt.shape.slice(1);
  const each = sizeOf(kernel);
  const at = (n: number): number => place * each + n;
  const sheet = (cell: (n: number) => Cell): Sheet => layOut(kernel, cell);
  const channel = receipt.channels[place] ?? place;
  const missed = (n: number): boolean => receipt.sources[at(n)] === null;
  const input = window && inputOf(window, channel, cells);
  const part = (name: string) => (n: number): string =>
    partKey(receipt.address, `${name}[${[place, ...unravel(kernel, n)].join(",")}]`);
  const [product, factor] = [part("product"), part("factor")];
  return {
    place,
    channel,
    source: window ? null : (receipt.sources[at(0)] ?? null),
    input,
    values:
      input && !isPlane(input)
        ? null
        : sheet((n) => ({
            key: receipt.sources[at(n)]!,
            value: missed(n) ? null : receipt.inputs[at(n)]!,
            window: true,
          })),
    kernel: sheet((n) => ({
      key: receipt.weightAddresses[at(n)] ?? factor(n),
      value: receipt.weights[at(n)]!,
    })),
    products: sheet((n) => ({
      key: product(n),
      value: missed(n) && window ? null : receipt.products[at(n)]!,
    })),
    sum: { key: partKey(receipt.address, `channel[${place}]`), value: receipt.channelSums[place]! },
  };
}

/** Whether the input channels are drawn cell by cell: they are small, and their numbers short. */
function hasCells(window: Window, choice: Choice): boolean {
  const [rows, columns] = extentOf(window);
  if (!fits(rows, columns)) return false;
  const { law, leading, channels } = window;
  const values = [...positions(law.sizes)].map((place) => law.input.at([...leading, channels[0], ...place]));
  return choice.narrow(columns, values);
}

const fits = (rows: number, columns: number): boolean => rows <= MOST_ROWS && columns <= MOST_COLUMNS;

/** Rows and columns of one input channel with its padding. */
function extentOf({ law }: Window): [number, number] {
  if (!law.axes.length) return [1, 1];
  const sizes = law.axes.map((axis, n) => {
    const [low, high] = axis.transposed ? [0, 0] : axis.padding;
    return law.sizes[n]! + low + high;
  });
  return [sizeOf(sizes.slice(0, -1)), sizes.at(-1)!];
}

/** One input channel with the window marked. */
function inputOf(window: Window, channel: number, cells: boolean): Sheet | Plane | null {
  const { law } = window;
  if (!law.axes.length) return null;
  if (!cells) return inputPlane(window, channel);
  const ranges = law.axes.map((axis, n) => {
    const [low, high] = axis.transposed ? [0, 0] : axis.padding;
    return upTo(law.sizes[n]! + low + high).map((place) => place - low);
  });
  const read = window.taps.map(
    (taps) => new Set(taps.filter((tap) => tap.miss !== "gap").map(({ source, numerator }) =>
      law.transposed ? source : numerator)),
  );
  const cell = (place: number[]): Cell => {
    const inside = place.every((p, axis) => p >= 0 && p < law.sizes[axis]!);
    const covered = place.every((p, axis) => read[axis]!.has(p));
    if (!inside) return { key: null, value: null, window: covered };
    const index = [...window.leading, channel, ...place];
    return { key: addressText(law.input.name, index), value: law.input.at(index), window: covered };
  };
  const start = [...window.leading, channel];
  return { ...grid(ranges, cell), of: partOf(law.input, start, law.sizes) };
}

function inputPlane(window: Window, channel: number): Plane {
  const { law } = window;
  const spans = window.taps.map((taps) => {
    const places = taps.flatMap((tap) => (law.transposed ? (tap.source ?? []) : tap.numerator));
    return places.length ? [Math.min(...places), Math.max(...places)] : [0, -1];
  });
  const [left, right] = spans.at(-1)! as [number, number];
  const [top, bottom] = (spans.length > 1 ? spans.at(-2)! : [0, 0]) as [number, number];
  const deeper = spans.slice(0, -2).map(([low]) => Math.max(low!, 0));
  return {
    tensor: law.input,
    at: [...window.leading, channel, ...deeper],
    rows: law.sizes.length > 1 ? law.sizes.at(-2)! : 1,
    columns: law.sizes.at(-1)!,
    mark: [top, bottom, left, right],
  };
}

/** The plane of a tensor in which one number lies, with that number marked. */
export function planeOf(
  tensor: Tensor,
  index: readonly number[],
  law: Law | null,
  narrow: Choice["narrow"],
): Sheet | Plane {
  if (tensor.shape.length < 3 && !law?.axes.length && tensor.origin !== "parameter") {
    return featuresOf(tensor, index);
  }
  // Positions of one axis stand in one row.
  const flat = law ? law.axes.length < 2 : tensor.shape.length < 2;
  const columns = tensor.shape.at(-1) ?? 1;
  const rows = flat ? 1 : tensor.shape.at(-2)!;
  const at = index.slice(0, index.length - (flat ? 1 : 2));
  const [row, column] = [flat ? 0 : index.at(-2)!, index.at(-1) ?? 0];
  const map = (): Plane => ({ tensor, at: [...at], rows, columns, mark: [row, row, column, column] });
  if (!fits(rows, columns)) return map();
  const spans = flat ? [[0], upTo(columns)] : [upTo(rows), upTo(columns)];
  const cells = grid(spans, ([r, c]) => {
    const place = tensor.shape.length === 0 ? [] : [...at, ...(flat ? [] : [r!]), c!];
    return {
      key: addressText(tensor.name, place),
      value: tensor.at(place),
      selected: r === row && c === column,
    };
  });
  const sheet = { ...cells, of: partOf(tensor, at, tensor.shape.slice(at.length)) };
  return narrow(columns, sheet.rows.flat().map((cell) => cell.value)) ? sheet : map();
}

/** Most features that are shown around one. */
const MOST_FEATURES = 40;

/** Features have no neighbours: they stand in rows of a few, those around the number. */
function featuresOf(tensor: Tensor, index: readonly number[]): Sheet {
  const size = tensor.shape.at(-1) ?? 1;
  const at = index.at(-1) ?? 0;
  const page = Math.floor(at / MOST_FEATURES) * MOST_FEATURES;
  const shown = upTo(Math.min(size - page, MOST_FEATURES));
  const cells = shown.map((n): Cell => {
    const place = index.length ? [...index.slice(0, -1), page + n] : [];
    return {
      key: addressText(tensor.name, place),
      value: tensor.at(place),
      selected: page + n === at,
    };
  });
  const rows: Cell[][] = [];
  for (let n = 0; n < cells.length; n += FEATURES) rows.push(cells.slice(n, n + FEATURES));
  const of = index.length
    ? partOf(tensor, index.slice(0, -1), [shown.length], [page])
    : partOf(tensor, [], []);
  return { rows, slice: rows.length, of };
}

/** The numbers of a tensor at one position of its first axes, and of these sizes on the others. */
function partOf(
  { name }: Tensor,
  at: readonly number[],
  sizes: readonly number[],
  from: readonly number[] = sizes.map(() => 0),
): NonNullable<Sheet["of"]> {
  return { name, box: { start: [...at, ...from], shape: [...at.map(() => 1), ...sizes] } };
}

/** Lay cells out as rows; axes before the last two become slices below each other. */
function grid(ranges: readonly (readonly number[])[], cell: (place: number[]) => Cell): Sheet {
  const full = ranges.length === 1 ? [[0], ...ranges] : ranges;
  const columns = full.at(-1)!;
  const slice = full.at(-2)!.length;
  const rows = [...product(full.slice(0, -1))].map((start) =>
    columns.map((column) => cell(ranges.length === 1 ? [column] : [...start, column])),
  );
  return { rows, slice };
}

function* product(lists: readonly (readonly number[])[]): Generator<number[]> {
  for (const place of positions(lists.map((list) => list.length))) {
    yield place.map((p, n) => lists[n]![p]!);
  }
}

function layOut(shape: readonly number[], cell: (n: number) => Cell): Sheet {
  const columns = shape.at(-1) ?? 1;
  const rows = sizeOf(shape) / columns;
  return {
    rows: upTo(rows).map((row) => upTo(columns).map((column) => cell(row * columns + column))),
    slice: shape.at(-2) ?? 1,
  };
}

export const isPlane = (drawn: Sheet | Plane): drawn is Plane => "tensor" in drawn;
