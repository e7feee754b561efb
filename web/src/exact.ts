/**
 * Exact sums of products and correct rounding, in whole numbers.
 *
 * A finite float is m·2^e. Products and sums of such numbers are of the same form, so they are kept
 * as BigInt and rounded once, at the end, directly to the format that is asked for.
 *
 * Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1 (gamma_n).
 */

/** A binary floating-point format; the same numbers as in `src/convtrace/exact.py`. */
export interface Format {
  name: string;
  /** Significant bits, the hidden one included. */
  precision: number;
  /** `e` of the smallest normal number, `2^e`. */
  smallestExponent: number;
  largest: number;
}

const formats: Format[] = [
  { name: "float16", precision: 11, smallestExponent: -14, largest: 65504 },
  { name: "bfloat16", precision: 8, smallestExponent: -126, largest: (2 - 2 ** -7) * 2 ** 127 },
  { name: "tf32", precision: 11, smallestExponent: -126, largest: (2 - 2 ** -10) * 2 ** 127 },
  { name: "float32", precision: 24, smallestExponent: -126, largest: (2 - 2 ** -23) * 2 ** 127 },
  { name: "float64", precision: 53, smallestExponent: -1022, largest: Number.MAX_VALUE },
];

export const FORMATS: Readonly<Record<string, Format>> = Object.fromEntries(
  formats.map((format) => [format.name, format]),
);

export const FLOAT64 = FORMATS["float64"]!;

/** Unit roundoff: half the distance from 1 to the next number. */
export const unit = (format: Format): number => 2 ** -format.precision;

/** Smallest positive number (subnormal). */
export const smallest = (format: Format): number =>
  2 ** (format.smallestExponent - format.precision + 1);

/** Half the distance between the numbers of a format around a value. */
export function halfSpacing(format: Format, value: number): number {
  const lead = value ? exponentOf(value) : format.smallestExponent;
  return ldexp(1, Math.max(lead, format.smallestExponent) - format.precision);
}

const view = new DataView(new ArrayBuffer(8));

/** Take a finite float apart: `[m, e]` with value = m·2^e, m a whole number below 2^53. */
export function split(value: number): [number, number] {
  view.setFloat64(0, value);
  const high = view.getUint32(0);
  const exponent = (high >>> 20) & 0x7ff;
  const upper = (high & 0xfffff) + (exponent ? 0x100000 : 0);
  const mantissa = upper * 4294967296 + view.getUint32(4);
  return [value < 0 ? -mantissa : mantissa, (exponent || 1) - 1075];
}

/** `floor(log2(|value|))` of a finite value that is not 0. */
export function exponentOf(value: number): number {
  const [mantissa, exponent] = split(value);
  return exponent + BigInt(Math.abs(mantissa)).toString(2).length - 1;
}

/** `value·2^power` without an intermediate overflow or underflow. */
export function ldexp(value: number, power: number): number {
  while (power > 1000) [value, power] = [value * 2 ** 1000, power - 1000];
  while (power < -1000) [value, power] = [value * 2 ** -1000, power + 1000];
  return value * 2 ** power;
}

const fround = Math.fround;

/** From here on, adding many numbers could overflow. */
const HUGE = 2 ** 960;

/** A sum without error. */
export class ExactSum {
  /** Numbers that do not overlap, smallest first: their sum is exact (Shewchuk, doi:10.1007/PL00009321). */
  private readonly terms: number[] = [];
  /** What is no float64, or huge: mantissa·2^exponent. */
  private mantissa = 0n;
  private exponent = 0;

  /** Add a finite number. */
  add(value: number): this {
    if (Math.abs(value) > HUGE) {
      this.put(...split(value));
      return this;
    }
    const { terms } = this;
    let kept = 0;
    for (const term of terms) {
      const sum = value + term;
      const rest = Math.abs(value) < Math.abs(term) ? value - (sum - term) : term - (sum - value);
      if (rest) terms[kept++] = rest;
      value = sum;
    }
    terms.length = kept;
    if (value) terms.push(value);
    return this;
  }

  /** Add a product of two finite numbers, without rounding it. */
  addProduct(left: number, right: number): this {
    if (left === 0 || right === 0) return this;
    // Products of float32 numbers are exact in float64.
    if (fround(left) === left && fround(right) === right) return this.add(left * right);
    const [m, e] = split(left);
    const [n, f] = split(right);
    this.put(BigInt(m) * BigInt(n), e + f);
    return this;
  }

  private put(mantissa: bigint | number, exponent: number): void {
    const low = Math.min(exponent, this.exponent);
    this.mantissa = (this.mantissa << BigInt(this.exponent - low)) + (BigInt(mantissa) << BigInt(exponent - low));
    this.exponent = low;
  }

  /** The sum as `[m, e]`: m·2^e. */
  total(): [bigint, number] {
    for (const term of this.terms.splice(0)) this.put(...split(term));
    return [this.mantissa, this.exponent];
  }

  /** The sum, rounded once to a format, to nearest with ties to even; infinite beyond its range. */
  rounded(format: Format = FLOAT64): number {
    const { terms } = this;
    // JavaScript rounds the sum of two.
    if (format === FLOAT64 && terms.length < 3 && !this.mantissa) return (terms[0] ?? 0) + (terms[1] ?? 0);
    return roundDyadic(...this.total(), format);
  }
}

/** Round m·2^e to a format, to nearest with ties to even. */
export function roundDyadic(mantissa: bigint, exponent: number, format: Format): number {
  if (mantissa === 0n) return 0;
  const size = mantissa < 0n ? -mantissa : mantissa;
  const lead = size.toString(2).length - 1 + exponent;
  const last = Math.max(lead, format.smallestExponent) - format.precision + 1;
  const shift = last - exponent;
  let kept: bigint;
  if (shift <= 0) {
    kept = size << BigInt(-shift);
  } else {
    kept = size >> BigInt(shift);
    const rest = (size - (kept << BigInt(shift))) << 1n;
    const one = 1n << BigInt(shift);
    if (rest > one || (rest === one && (kept & 1n) === 1n)) kept += 1n;
  }
  // Beyond float64 the power would overflow on its own.
  if (last > 971) return mantissa < 0n ? -Infinity : Infinity;
  const result = ldexp(Number(kept), last);
  const bounded = result > format.largest ? Infinity : result;
  return mantissa < 0n ? -bounded : bounded;
}

/** Add numbers without error and round once; NaN and infinity as float64 has them. */
export function sum(values: Iterable<number>): number {
  const total = new ExactSum();
  let plain = 0;
  for (const value of values) {
    plain += value;
    if (isFinite(value)) total.add(value);
  }
  return isFinite(plain) ? total.rounded() : plain;
}

/**
 * Bound the relative error of `count` roundings: `n·u / (1 − n·u)`; from `n·u ≥ 1/2` on
 * `(1 + u)^n − 1`, but at least 1.
 */
export function gamma(count: number, unitRoundoff: number): number {
  const product = count * unitRoundoff;
  if (product < 0.5) return product / (1 - product);
  return Math.max(1, Math.expm1(Math.min(count * Math.log1p(unitRoundoff), 700)));
}
