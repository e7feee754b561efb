/** Reads numbers that were typed in. */

/** A number with a point or a comma, a minus of any kind, a power of ten, or a fraction: `−1.5`, `1/9`. */
export function readTyped(text: string): number | null {
  const plain = text.trim().replace(/[−–]/g, "-").replace(",", ".");
  const parts = plain.split("/");
  if (parts.length > 2 || !parts.every((part) => /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?$/i.test(part.trim()))) {
    return null;
  }
  const [over, under = "1"] = parts as [string, string?];
  const value = Number(over) / Number(under);
  return isFinite(Math.fround(value)) ? value : null;
}

/** Read `3`, or `3, 2` for two axes; one number stands for all of them. */
export function readSizes(text: string, axes: number): number[] | null {
  const parts = text.trim().split(/\s*[,×x ]\s*/);
  if (!parts.every((part) => /^[−-]?\d{1,6}$/.test(part))) return null;
  const values = parts.map((part) => Number(part.replace("−", "-")));
  if (values.length === 1) return Array.from({ length: axes }, () => values[0]!);
  return values.length === axes ? values : null;
}

/** Whether a text can still become what `readSizes` reads: nothing, a sign, or a comma at the end. */
export const isBegun = (text: string): boolean => /^\s*(([−-]?\d{1,6}\s*[,×x ]\s*)*[−-]?)$/.test(text);

/** Write what `readSizes` reads. */
export function sizesText(values: readonly number[]): string {
  const same = values.every((value) => value === values[0]);
  return (same ? String(values[0]) : values.join(", ")).replaceAll("-", "−");
}
