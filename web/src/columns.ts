/** Receipts that came in columns: of steps that follow no index law, made by Python beforehand. */
import { addressText } from "./address";
import { type Num, type PackedDocument, type ReceiptDocument, type ReceiptsDocument, VERDICTS } from "./document";
import { sum } from "./exact";
import type { Network } from "./network";
import { sizeOf, unpack } from "./tensor";
import { upTo } from "./places";

interface Columns {
  document: ReceiptsDocument;
  /** Row of each number that is here; null where all are, in order. */
  rows: Map<number, number> | null;
  sources: ArrayLike<number>;
  weights: ArrayLike<number>;
  weightPlaces: ArrayLike<number> | null;
  bias: ArrayLike<number> | null;
  biasPlaces: ArrayLike<number> | null;
  exact: ArrayLike<number>;
  bound: ArrayLike<number>;
  typical: ArrayLike<number>;
  verdicts: ArrayLike<number>;
}

/** Finds receipts in columns. A step's columns are read when they are first asked for. */
export class ReceiptColumns {
  private readonly documents = new Map<string, ReceiptsDocument[]>();
  private readonly read = new Map<ReceiptsDocument, Columns>();

  constructor(documents: readonly ReceiptsDocument[]) {
    for (const one of documents) {
      this.documents.set(one.step, [...(this.documents.get(one.step) ?? []), one]);
    }
  }

  /** The receipt of one number; null where there is none, or a number that it needs is not here. */
  find(network: Network, name: string, index: readonly number[]): ReceiptDocument | null {
    const output = network.tensor(name);
    if (!output) return null;
    const number = index.reduce((n, place, axis) => n * output.shape[axis]! + place, 0);
    for (const document of this.documents.get(output.name) ?? []) {
      const columns = this.columns(document);
      const row = columns.rows ? columns.rows.get(number) : number;
      if (row !== undefined) return receiptOfRow(network, columns, row, index);
    }
    return null;
  }

  private columns(document: ReceiptsDocument): Columns {
    let found = this.read.get(document);
    if (!found) this.read.set(document, (found = open(document)));
    return found;
  }
}

function open(document: ReceiptsDocument): Columns {
  const optional = (packed: PackedDocument | null) => packed && unpack(packed);
  const numbers = optional(document.numbers);
  return {
    document,
    rows: numbers && new Map(Array.from(numbers, (number, row) => [number, row])),
    sources: unpack(document.sources),
    weights: unpack(document.weights),
    weightPlaces: optional(document.weightPlaces),
    bias: optional(document.bias),
    biasPlaces: optional(document.biasPlaces),
    exact: unpack(document.exact),
    bound: unpack(document.bound),
    typical: unpack(document.typical),
    verdicts: unpack(document.verdicts),
  };
}

function receiptOfRow(
  network: Network,
  columns: Columns,
  row: number,
  index: readonly number[],
): ReceiptDocument | null {
  const { document } = columns;
  const { shape, channels, operands } = document;
  const step = network.step(document.step);
  const reported = network.tensor(document.step)?.at(index);
  if (!step || reported === undefined) return null;
  const count = sizeOf(shape);
  const terms = upTo(count).map((n) => row * count + n);
  const places = terms.map((n) => placeOf(network, operands, columns.sources[n]!));
  const inputs: Num[] = [];
  for (const place of places) {
    const value = place ? network.tensor(place.name)?.at(place.index) : 0;
    if (value === undefined) return null;
    inputs.push(value);
  }
  const weights = terms.map((n) => columns.weights[columns.weights.length === 1 ? 0 : n]!);
  const products = inputs.map((input, n) => (places[n] ? weights[n]! * Number(input) : 0));
  const each = count / shape[0]!;
  const text = (place: Place | null) => place && addressText(place.name, place.index);
  const address = (all: ArrayLike<number> | null, n: number) =>
    text(all && placeOf(network, operands, all[n]!));
  const exact = columns.exact[row]!;
  return {
    address: addressText(document.step, index),
    kind: step.kind,
    status: step.status,
    shape,
    channels,
    inputs,
    weights,
    products,
    sources: places.map(text),
    weightAddresses: terms.map((n) => address(columns.weightPlaces, n)),
    channelSums: channels.map((_, n) => sum(products.slice(n * each, (n + 1) * each))),
    bias: columns.bias && columns.bias[row]!,
    biasAddress: address(columns.biasPlaces, row),
    exact,
    bound: columns.bound[row]!,
    typical: columns.typical[row]!,
    reported,
    residual: Number(reported) - exact,
    verdict: VERDICTS[columns.verdicts[row]!] ?? null,
    arithmetic: step.arithmetic,
    reporter: network.reporter,
    culprits: [],
    notes: [],
    format: "convtrace.receipt",
    version: 1,
  };
}

interface Place {
  name: string;
  index: number[];
}

/** Find where a place lies; null for -1. */
function placeOf(network: Network, operands: readonly string[], place: number): Place | null {
  if (place < 0) return null;
  for (const name of operands) {
    const shape = network.tensor(name)?.shape ?? [];
    const size = sizeOf(shape);
    if (place < size) {
      const index: number[] = [];
      for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
        index.unshift(place % shape[axis]!);
        place = Math.floor(place / shape[axis]!);
      }
      return { name, index };
    }
    place -= size;
  }
  return null;
}
