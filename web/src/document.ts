/**
 * The JSON documents that Python writes (`src/convtrace/render/documents/document.py` and `page.py`).
 *
 * A test compares these interfaces with the JSON Schema of the Python structs, field by field.
 * Axes: `N C_in C_out H W kH kW oH oW`. Everything counts from 0.
 */

/** A number. NaN, infinities, whole numbers beyond 2^53 and complex numbers are texts in JSON;
 * `decode` turns the first two into JavaScript numbers and leaves the others as texts. */
export type Num = number | string;

export type Status = "linear" | "selects" | "gates" | "opaque";
export type Verdict = "exact" | "rounding" | "mismatch" | "nonfinite";
export type Language = "en" | "ko";
export type Theme = "light" | "dark";

/** A remark: key in the catalogue, and what its placeholders stand for. */
export type Note = [string, Record<string, unknown>];

/** One tensor: an input, a parameter, or what a step made. */
export interface TensorDocument {
  name: string;
  origin: string;
  dtype: string;
  shape: number[];
  /** All numbers in row-major order; null where they were left out or are in `PageDocument.boxes`. */
  data: Num[] | null;
}

/** The formats of the arithmetic that ran. */
export interface ArithmeticDocument {
  operands: string;
  accumulate: string;
  result: string;
  partialSums: boolean;
  flushes: boolean;
}

/** One step. */
export interface StepDocument {
  name: string;
  kind: string;
  status: string;
  attributes: Record<string, unknown>;
  /** Names of what it read, by role. */
  operands: Record<string, string>;
  output: TensorDocument;
  module: string | null;
  arithmetic: string | null;
  formats: ArithmeticDocument | null;
}

/** One receipt. The lists of terms share one order: input channel slowest. */
export interface ReceiptDocument {
  address: string;
  kind: string;
  status: string;
  /** `(channels, ...kernel)`. */
  shape: number[];
  channels: number[];
  inputs: Num[];
  weights: Num[];
  products: Num[];
  /** Addresses of the inputs; null on padding. */
  sources: (string | null)[];
  weightAddresses: (string | null)[];
  channelSums: Num[];
  bias: Num | null;
  biasAddress: string | null;
  exact: Num;
  bound: Num;
  typical: Num;
  reported: Num;
  residual: Num;
  verdict: Verdict | null;
  arithmetic: string | null;
  reporter: string;
  /** Numbers of the terms that brought in NaN or infinity. */
  culprits: number[];
  notes: Note[];
  format: "convtrace.receipt";
  version: number;
}

/** One run: every step in the order it ran, and every tensor. */
export interface TraceDocument {
  reporter: string;
  notes: string[];
  inputs: TensorDocument[];
  parameters: TensorDocument[];
  steps: StepDocument[];
  aliases: Record<string, string>;
  receipts: ReceiptDocument[];
  leftOut: string[];
  format: "convtrace.trace";
  version: number;
}

/** The numbers of one box of a tensor. */
export interface BoxDocument {
  /** First position on each axis. */
  start: number[];
  shape: number[];
  /** Element type of `data`: `f4 f8 i1 i2 i4 u1 u2 u4`, little-endian. */
  type: string;
  /** Base64, row-major. */
  data: string;
}

/** A list of numbers as base64; `type` as in `BoxDocument`. */
export interface PackedDocument {
  type: string;
  data: string;
}

/**
 * Receipts of numbers of one step that have the same number of terms, in columns.
 *
 * A place is a number counted through all of `operands`, row by row; -1 where there is none.
 */
export interface ReceiptsDocument {
  step: string;
  /** Which numbers, counted row by row through the output; null for all, in order. */
  numbers: PackedDocument | null;
  /** Shape of the terms of each receipt. */
  shape: number[];
  channels: number[];
  operands: string[];
  /** Where the inputs come from, one place a term. */
  sources: PackedDocument;
  /** Factors, one a term, or one for all. */
  weights: PackedDocument;
  weightPlaces: PackedDocument | null;
  bias: PackedDocument | null;
  biasPlaces: PackedDocument | null;
  exact: PackedDocument;
  bound: PackedDocument;
  typical: PackedDocument;
  /** Positions in `VERDICTS`. */
  verdicts: PackedDocument;
}

export const VERDICTS: readonly (Verdict | null)[] = [
  null,
  "exact",
  "rounding",
  "mismatch",
  "nonfinite",
];

/** Positions on one operand axis that follow one axis of the output. */
export interface LineDocument {
  axis: number;
  /** Operand positions that one period moves. */
  advance: number;
  /** Phases in a row: how many, by how much each moves on, and the positions of the first. */
  runs: number[][];
}

/** Positions that are read on one operand axis: every sum of a fixed one and one per line. */
export interface ReadDocument {
  lines: LineDocument[];
  /** First position and count, of each run. */
  fixed: number[][];
}

/** How steps read some of their operands; of what is not listed, it cannot be told. */
export interface ReadingsDocument {
  steps: string[];
  roles: string[];
  /** Readings one after another, the operand's own first: one entry for each axis of it. */
  chain: (number | ReadDocument)[][];
}

/** What a page shows. */
export interface PageDocument {
  trace: TraceDocument;
  /** Numbers of tensors whose `data` is null, by name. */
  boxes: Record<string, BoxDocument[]>;
  receipts: ReceiptsDocument[];
  readings: ReadingsDocument[];
  /** Messages of the catalogue by language and dotted key. */
  messages: Record<string, Record<string, string>>;
  lang: string;
  theme: string | null;
  title: string;
  /** Address of the number that is shown first. */
  start: string;
  /** Bytes that the numbers may take, and how many they would take without a limit. */
  budget: number | null;
  wanted: number;
  format: "convtrace.page";
  version: number;
}

/** Read a number of a document: texts that stand for NaN and infinities become such numbers. */
export function decode(number: Num): Num {
  if (number === "NaN") return NaN;
  if (number === "Infinity") return Infinity;
  if (number === "-Infinity") return -Infinity;
  return number;
}
