/** Addresses: the name of one number, `step[index]`, counted from 0. */

export interface Address {
  step: string;
  index: number[];
}

/** Write an address: `conv1[0,1,0,0]`. */
export function addressText(step: string, index: readonly number[]): string {
  return `${step}[${index.join(",")}]`;
}

/** Read an address; null where the text is none. The last bracket counts, as names may hold others. */
export function parseAddress(text: string): Address | null {
  const match = /^\s*([^[\]\s].*?)\s*\[([\d,\s]*)\]\s*$/.exec(text);
  if (!match) return null;
  const inside = match[2]!.trim();
  const parts = inside ? inside.split(",").map((part) => part.trim()) : [];
  if (parts.some((part) => !/^\d+$/.test(part))) return null;
  return { step: match[1]!, index: parts.map(Number) };
}
