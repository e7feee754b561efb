/**
 * Numbers as text: true minus, no false digits, and a mark on whatever is shown rounded.
 *
 * The same rules as `src/convtrace/render/numbers.py`, tested on the same numbers. Whether `=` or
 * `≈` belongs between numbers is decided from what is on the screen.
 */
import type { Num } from "./document";
import { type Decimal, equal, exactDecimal, fixed, plus, readDecimal, scientific, times } from "./decimal";

export const MINUS = "−";
export const ABOUT = "≈";
/** Significant digits that a rounded number is shown with. */
export const DIGITS = 6;

const isPlain = (exponent: number): boolean => exponent >= -4 && exponent < 10;

/** A number and its text. */
export interface Shown {
  /** What is written, without a mark. */
  text: string;
  /** Whether the text lost digits. */
  rounded: boolean;
  value: Num;
}

export const marked = (shown: Shown): string => (shown.rounded ? ABOUT : "") + shown.text;

/** How the numbers of one column are written, so that they agree with each other. */
export class Scale {
  constructor(
    /** Significant digits of rounded numbers; null shows all digits of all numbers. */
    readonly digits: number | null = DIGITS,
    /** Whether the numbers may be float32, so that fewer digits identify them. */
    readonly narrow = true,
    /** Decimals of rounded numbers; null where each has its own power of ten. */
    readonly decimals: number | null = null,
  ) {}

  /** Choose the scale of a column: the largest number gets `digits` significant digits. */
  static of(values: readonly Num[], digits: number | null = DIGITS, narrow = true): Scale {
    if (digits === null) return new Scale(null, false);
    let largest = 0;
    let short = true;
    for (const value of values) {
      if (typeof value === "string" || !Number.isFinite(value) || value === 0) continue;
      largest = Math.max(largest, Math.abs(value));
      short &&= Number.isInteger(value) && Math.abs(value) < 1e6
        ? true
        : isShort(shortest(value, narrow), digits);
    }
    if (short) return new Scale(digits, narrow);
    const exponent = exponentOf(largest);
    if (!isPlain(exponent)) return new Scale(digits, narrow);
    return new Scale(digits, narrow, Math.max(digits - 1 - exponent, 0));
  }

  /** Write one number. */
  show(value: Num): Shown {
    if (typeof value === "string") return { text: minus(value), rounded: false, value };
    if (!Number.isFinite(value)) {
      const text = Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : `${MINUS}∞`;
      return { text, rounded: false, value };
    }
    if (Number.isInteger(value) && Math.abs(value) < 1e6) {
      return { text: minus(String(value === 0 ? 0 : value)), rounded: false, value };
    }
    const full = shortest(value, this.narrow);
    if (this.digits === null || this.fits(full, this.digits)) {
      return { text: write(full), rounded: false, value };
    }
    const text = this.round(value, this.digits);
    return { text: minus(text), rounded: Number(text) !== full, value };
  }

  private fits(full: number, digits: number): boolean {
    return isShort(full, digits) && (this.decimals === null || places(full) <= this.decimals);
  }

  private round(value: number, digits: number): string {
    const exponent = exponentOf(value);
    if (this.decimals === null) {
      if (isPlain(exponent)) return toFixed(value, Math.max(digits - 1 - exponent, 0));
      return scientific(exactDecimal(value), digits);
    }
    // A number far smaller than its neighbours would become 0.00: it keeps one digit instead.
    const missing = -exponent - this.decimals;
    if (missing > 3) return scientific(exactDecimal(value), 1);
    return toFixed(value, this.decimals + Math.max(missing, 0));
  }
}

/** Power of ten of the first digit. */
function exponentOf(value: number): number {
  const text = value.toExponential();
  return Number(text.slice(text.indexOf("e") + 1));
}

/** Round to a number of decimals, with ties to even; JavaScript's own takes ties up. */
function toFixed(value: number, decimals: number): string {
  const doubled = Math.abs(value) * 10 ** decimals * 2;
  // No tie is near: then both round alike, and JavaScript's own is quicker.
  if (doubled < 2 ** 50 && Math.abs(doubled - Math.round(doubled)) > 1e-3) return value.toFixed(decimals);
  return fixed(exactDecimal(value), decimals);
}

/** Write one number that stands alone. */
export function show(value: Num, digits: number | null = DIGITS, narrow = true): Shown {
  return Scale.of([value], digits, narrow).show(value);
}

/** Write a number with as many digits as it takes to tell it from every other one. */
export function identify(value: Num, narrow = true): Shown {
  if (typeof value === "string" || !Number.isFinite(value)) return new Scale().show(value);
  return { text: write(shortest(value, narrow)), rounded: false, value };
}

/** Write the size of a number in few digits, without a mark. */
export function about(value: number, digits = 2): string {
  if (!value || !Number.isFinite(value)) return show(value).text;
  const rounded = scientific(exactDecimal(value), digits);
  const power = Number(rounded.split("e")[1]);
  return minus(power >= -3 && power < 6 ? String(Number(rounded)) : rounded.replace(/\.?0+e/, "e"));
}

/** Write numbers with enough decimals that their difference can be read off. */
export function resolve(values: readonly number[], difference: number, narrow: boolean): Shown[] {
  const largest = exponentOf(Math.max(...values.map(Math.abs)));
  const decimals = Math.max(2 - exponentOf(difference), DIGITS - 1 - largest);
  if (!isPlain(largest) || decimals > 20) return values.map((value) => identify(value, false));
  return values.map((value) => {
    const exact = exactDecimal(value);
    if (equal(readDecimal(String(shortest(value, narrow))), exact)) return identify(value, narrow);
    const text = fixed(exact, Math.max(decimals, 0));
    return { text: minus(text), rounded: !equal(readDecimal(text), exact), value };
  });
}

/** `=` if the product is shown in full and is that of the factors as shown, else `≈`. */
export function productSign(left: Shown, right: Shown, product: Shown): string {
  return sign([left, right], product, times);
}

/** `=` if the total is shown in full and is the sum of the parts as shown, else `≈`. */
export function sumSign(parts: readonly Shown[], total: Shown): string {
  return sign(parts, total, plus);
}

function sign(
  parts: readonly Shown[],
  total: Shown,
  join: (left: Decimal, right: Decimal) => Decimal,
): string {
  if (total.rounded) return ABOUT;
  const seen = [...parts, total].map(reading);
  if (seen.some((one) => one === null)) return "=";
  const found = (seen as Decimal[]).slice(0, -1).reduceRight((a, b) => join(b, a));
  return equal(found, seen.at(-1)!) ? "=" : ABOUT;
}

/** The number that a reader sees; null for NaN, infinity and complex numbers. */
function reading(shown: Shown): Decimal | null {
  const text = shown.text.replaceAll(MINUS, "-");
  return /^-?[\d.]+(e-?\d+)?$/.test(text) ? readDecimal(text) : null;
}

/** The float64 that is written with as few digits as identify a float32 (if it is one) or a float64. */
export function shortest(value: number, narrow: boolean): number {
  if (!narrow || Math.fround(value) !== value) return value;
  let found = known.get(value);
  if (found === undefined) {
    if (known.size > MOST_KNOWN) known.clear();
    known.set(value, (found = shortestFloat32(value)));
  }
  return found;
}

/** A view asks for the same numbers several times: for the scale, the text, the accessible name. */
const known = new Map<number, number>();
const MOST_KNOWN = 5000;

function shortestFloat32(value: number): number {
  // Six digits identify whatever fewer do, but for the subnormal numbers.
  for (let digits = Math.abs(value) < 1e-37 ? 1 : 6; digits < 9; digits += 1) {
    const found = Number(value.toPrecision(digits));
    if (Math.fround(found) === value) return found;
  }
  return Number(value.toPrecision(9));
}

/** Whether rounding would save nothing: the mark is as long as the digit that it replaces. */
function isShort(full: number, digits: number): boolean {
  if (Number.isInteger(full) && Math.abs(full) < 1e10) return true;
  return full.toExponential().replace(/e.*|\D/g, "").length <= digits + 1;
}

/** Decimals that it takes to write a number in full. */
function places(full: number): number {
  const [mantissa, power] = full.toExponential().split("e");
  return mantissa!.replace(/^\D?\d\D?/, "").length - Number(power);
}

function write(full: number): string {
  if (!full) return "0";
  // Like JavaScript, but with other limits.
  return minus(isPlain(exponentOf(full)) ? String(full) : full.toExponential().replace("+", ""));
}

const minus = (text: string): string => text.replaceAll("-", MINUS);
