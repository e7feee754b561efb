/**
 * The judge: from the terms of one number to exact sum, bound and verdict.
 *
 * The same rules as `src/convtrace/arithmetic.py` and `certify.py`, for real and whole numbers.
 */
import type { ArithmeticDocument, Note, Num, Verdict } from "./document";
import {
  ExactSum,
  FORMATS,
  type Format,
  gamma,
  halfSpacing,
  ldexp,
  smallest,
  unit,
} from "./exact";

export interface Terms {
  inputs: readonly Num[];
  weights: readonly Num[];
  /** False where a term falls on padding. */
  present: readonly boolean[];
  bias: Num | null;
}

export interface Judged {
  products: Num[];
  exact: Num;
  bound: Num;
  typical: Num;
  reported: Num;
  residual: Num;
  verdict: Verdict;
  culprits: number[];
  notes: Note[];
}

/** What is known of a step's arithmetic. */
export interface Setting {
  /** Element type of the result. */
  dtype: string;
  /** Element types of operands and result. */
  dtypes: readonly string[];
  formats: ArithmeticDocument | null;
  /** Terms of one channel that do not fall on padding, for partial sums that are stored. */
  tapsPresent: number;
}

const isWhole = (dtype: string): boolean => /^(u?int|bool)/.test(dtype);

/** Judge a sum of products. `reported` null: nothing to compare with, the exact sum stands in. */
export function judge(terms: Terms, setting: Setting, reported: Num | null): Judged {
  return isWhole(setting.dtype) && setting.dtypes.every(isWhole)
    ? judgeWhole(terms, setting, reported)
    : judgeFloats(terms, setting, reported);
}

/** A whole number, as a JavaScript number where that holds it. */
export function whole(value: bigint): Num {
  const size = value < 0n ? -value : value;
  return size <= 2n ** 53n ? Number(value) : String(value);
}

function judgeWhole(terms: Terms, setting: Setting, reported: Num | null): Judged {
  let exact = terms.bias === null ? 0n : BigInt(terms.bias);
  const products = terms.inputs.map((input, at) => {
    const product = terms.present[at] ? BigInt(input) * BigInt(terms.weights[at]!) : 0n;
    exact += product;
    return whole(product);
  });
  const returned = reported === null ? exact : BigInt(reported);
  const residual = returned - exact;
  const bits = /\d+/.exec(setting.dtype);
  const modulus = 1n << BigInt(bits ? bits[0] : 1);
  const wrapped = residual !== 0n && residual % modulus === 0n;
  const notes: Note[] = wrapped
    ? [["note.wrapped", { dtype: setting.dtype, exact: whole(exact), modulus: whole(modulus) }]]
    : [];
  return {
    products,
    exact: whole(exact),
    bound: wrapped ? Number(residual < 0n ? -residual : residual) : 0,
    typical: 0,
    reported: whole(returned),
    residual: whole(residual),
    verdict: residual === 0n ? "exact" : wrapped ? "rounding" : "mismatch",
    culprits: [],
    notes,
  };
}

function judgeFloats(terms: Terms, setting: Setting, reported: Num | null): Judged {
  const inputs = terms.inputs as readonly number[];
  const weights = terms.weights as readonly number[];
  const bias = terms.bias === null ? null : Number(terms.bias);
  const returned = reported === null ? null : Number(reported);
  const products = inputs.map((input, at) => (terms.present[at] ? weights[at]! * input : 0));
  const broken = judgeNonfinite(terms, products, bias, returned);
  if (broken) return broken;

  const total = new ExactSum();
  let magnitude = Math.abs(bias ?? 0);
  let count = bias === null ? 0 : 1;
  products.forEach((product, at) => {
    count += 1;
    if (!terms.present[at]) return;
    total.addProduct(weights[at]!, inputs[at]!);
    magnitude += Math.abs(product);
  });
  if (bias !== null) total.add(bias);

  const formats = setting.formats ?? plainArithmetic("float64");
  const exact = total.rounded();
  const rounded = total.rounded(format(formats.result));
  const value = returned ?? rounded;
  const overflow = magnitude * (1 + 1e-6) >= Math.min(
    format(formats.accumulate).largest, format(formats.result).largest);
  if (!Number.isFinite(value)) {
    return {
      products,
      exact,
      bound: NaN,
      typical: NaN,
      reported: value,
      residual: value - exact,
      verdict: overflow ? "nonfinite" : "mismatch",
      culprits: [],
      notes: [[overflow ? "note.overflow" : "note.nonfinite_from_nowhere", { reported: value }]],
    };
  }
  const stored = widest(setting.dtypes);
  const partials = setting.tapsPresent + 2;
  const counts = { count, magnitude, exact, stored, partials };
  let bound = errorBound(formats, counts);
  if (formats.flushes || formats.operands === "bfloat16") {
    // Such kernels may read a subnormal number as zero.
    const tiny = ldexp(1, format(formats.operands).smallestExponent);
    products.forEach((product, at) => {
      const small = Math.abs(inputs[at]!) < tiny || Math.abs(weights[at]!) < tiny;
      if (terms.present[at] && small) bound += Math.abs(product);
    });
  }
  const residual = value - exact;
  const inside = Math.abs(residual) <= bound && Number.isFinite(exact);
  return {
    products,
    exact,
    bound,
    typical: typicalError(formats, counts),
    reported: value,
    residual,
    verdict: rounded === value && Number.isFinite(exact) ? "exact" : inside ? "rounding" : "mismatch",
    culprits: [],
    notes: [],
  };
}

/** Judge a sum in which NaN or infinity takes part; null where none does. */
function judgeNonfinite(
  terms: Terms,
  products: number[],
  bias: number | null,
  returned: number | null,
): Judged | null {
  const finite = (at: number): boolean =>
    Number.isFinite(terms.weights[at]) && Number.isFinite(terms.inputs[at]);
  let culprits: number[] = [];
  const onPadding: number[] = [];
  products.forEach((_, at) => {
    if (!finite(at)) (terms.present[at] ? culprits : onPadding).push(at);
  });
  const badBias = bias !== null && !Number.isFinite(bias);
  // A NaN weight on padding: 0 × NaN is NaN, but only in kernels that multiply the padding.
  let padding = false;
  if (!culprits.length && !badBias) {
    if (!onPadding.length || returned === null || Number.isFinite(returned)) return null;
    culprits = onPadding;
    padding = true;
  }
  const exact = products.reduce((sum, product) => sum + product, 0) + (bias ?? 0);
  const value = returned ?? exact;
  // Kernels that split sums may make NaN of an infinity, but never the other way round.
  const fits = Number.isNaN(value) || (value === exact && !padding);
  return {
    products,
    exact,
    bound: NaN,
    typical: NaN,
    reported: value,
    residual: value - exact,
    verdict: fits && !Number.isFinite(value) ? "nonfinite" : "mismatch",
    culprits,
    notes: badBias ? [["note.nonfinite_bias", { value: bias }]] : [],
  };
}

/** The arithmetic that a dtype has where nothing more is known. */
export function plainArithmetic(dtype: string): ArithmeticDocument {
  const accumulate = dtype === "float16" || dtype === "bfloat16" ? "float32" : dtype;
  return { operands: dtype, accumulate, result: dtype, partialSums: false, flushes: false };
}

interface Counts {
  /** Number of summands, the bias included. */
  count: number;
  /** Sum of their absolute values. */
  magnitude: number;
  exact: number;
  /** Widest format among the operands and the result as they are stored. */
  stored: string;
  /** Where partial sums are stored: through how many of them a summand passes. */
  partials: number;
}

function errorBound(formats: ArithmeticDocument, counts: Counts): number {
  const accumulate = format(formats.accumulate);
  const result = format(formats.result);
  const size = counts.magnitude * (1 + 1e-12);
  let error = 0;
  if (isNarrowed(formats, counts)) {
    const u = unit(format(formats.operands));
    error += (2 * u + u * u) * size;
  }
  error += gamma(counts.count, unit(accumulate)) * (size + error);
  error += counts.count * (formats.flushes ? ldexp(1, accumulate.smallestExponent) : smallest(accumulate));
  if (formats.partialSums) {
    error += gamma(counts.partials, unit(result)) * (size + error);
    error += counts.partials * smallest(result);
  }
  if (formats.result !== formats.accumulate) {
    error += halfSpacing(result, Math.abs(counts.exact) + error);
    if (formats.flushes) error += ldexp(1, result.smallestExponent);
  }
  return error;
}

function typicalError(formats: ArithmeticDocument, counts: Counts): number {
  const accumulate = format(formats.accumulate);
  const result = format(formats.result);
  let scale = Math.sqrt(counts.count) * unit(accumulate) * counts.magnitude;
  if (isNarrowed(formats, counts)) scale += unit(format(formats.operands)) * counts.magnitude;
  if (formats.partialSums) {
    scale += (Math.sqrt(counts.partials) * unit(result) * counts.magnitude) / 2;
  }
  if (formats.result !== formats.accumulate) scale += halfSpacing(result, counts.exact);
  return Math.min(scale, errorBound(formats, counts));
}

/** Whether the operands are stored wider than they are multiplied (TF32). */
function isNarrowed(formats: ArithmeticDocument, counts: Counts): boolean {
  return format(formats.operands).precision < format(counts.stored).precision;
}

function widest(dtypes: readonly string[]): string {
  const known = dtypes.filter((name) => name in FORMATS);
  const order = (name: string): number => format(name).precision;
  return known.reduce((best, name) => (order(name) > order(best) ? name : best), known[0] ?? "float64");
}

const format = (name: string): Format => FORMATS[name]!;

/** Add numbers of a list of any kind: exactly for whole numbers beyond 2^53, else as float64. */
export function addUp(values: readonly Num[], sumOf: (numbers: readonly number[]) => number): Num {
  if (values.some((value) => typeof value === "string")) {
    if (values.some((value) => typeof value === "string" && !/^-?\d+$/.test(value))) return NaN;
    return whole(values.reduce<bigint>((total, value) => total + BigInt(value), 0n));
  }
  return sumOf(values as readonly number[]);
}
