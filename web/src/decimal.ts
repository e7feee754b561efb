/** Decimal numbers in whole numbers: digits·10^exponent. What readers see is decided with these. */
import { split } from "./exact";

export interface Decimal {
  digits: bigint;
  exponent: number;
}

/** Every digit of a finite float64. */
export function exactDecimal(value: number): Decimal {
  const [mantissa, power] = split(value);
  const whole = BigInt(mantissa);
  if (power >= 0) return normal({ digits: whole << BigInt(power), exponent: 0 });
  return normal({ digits: whole * 5n ** BigInt(-power), exponent: power });
}

/** Read a decimal such as `-12.5e-3`. */
export function readDecimal(text: string): Decimal {
  const [mantissa = "0", power = "0"] = text.toLowerCase().split("e");
  const [before = "", after = ""] = mantissa.replace(/(\.\d*?)0+$/, "$1").split(".");
  return normal({ digits: BigInt(before + after || "0"), exponent: Number(power) - after.length });
}

/** Strip zeros from the end of the digits. */
export function normal({ digits, exponent }: Decimal): Decimal {
  if (digits === 0n) return { digits, exponent: 0 };
  while (digits % 10n === 0n) [digits, exponent] = [digits / 10n, exponent + 1];
  return { digits, exponent };
}

/** Digits without sign and leading zeros, as a text. */
export const figures = (value: Decimal): string => String(value.digits).replace("-", "");

/** Power of ten of the first digit; 0 for zero. */
export const adjusted = (value: Decimal): number =>
  value.digits === 0n ? 0 : figures(value).length - 1 + value.exponent;

export function equal(left: Decimal, right: Decimal): boolean {
  const [a, b] = [normal(left), normal(right)];
  return a.digits === b.digits && a.exponent === b.exponent;
}

export function plus(left: Decimal, right: Decimal): Decimal {
  const exponent = Math.min(left.exponent, right.exponent);
  return normal({ digits: lift(left, exponent) + lift(right, exponent), exponent });
}

export function times(left: Decimal, right: Decimal): Decimal {
  return normal({ digits: left.digits * right.digits, exponent: left.exponent + right.exponent });
}

function lift(value: Decimal, exponent: number): bigint {
  return value.digits * 10n ** BigInt(value.exponent - exponent);
}

/** Round to a number of decimals, to nearest with ties to even, and write all of them. */
export function fixed(value: Decimal, decimals: number): string {
  const shift = value.exponent + decimals;
  let digits = value.digits < 0n ? -value.digits : value.digits;
  if (shift >= 0) {
    digits *= 10n ** BigInt(shift);
  } else {
    const unit = 10n ** BigInt(-shift);
    const rest = (digits % unit) * 2n;
    digits /= unit;
    if (rest > unit || (rest === unit && digits % 2n === 1n)) digits += 1n;
  }
  const text = String(digits).padStart(decimals + 1, "0");
  const at = text.length - decimals;
  const sign = value.digits < 0n ? "-" : "";
  return sign + text.slice(0, at) + (decimals ? "." + text.slice(at) : "");
}

/** Round to significant digits and write as `1.25e-7`. */
export function scientific(value: Decimal, count: number): string {
  const shift = adjusted(value);
  let text = fixed({ digits: value.digits, exponent: value.exponent - shift }, count - 1);
  let power = shift;
  if (/^-?10/.test(text)) {
    // 9.99 became 10.0: one power of ten more.
    text = fixed({ digits: value.digits, exponent: value.exponent - shift - 1 }, count - 1);
    power += 1;
  }
  return `${text}e${power}`;
}
