/** Positions on one axis, each once and in order. */
export type Places = readonly number[];

/** The first so many positions. */
export const upTo = (size: number): number[] => Array.from({ length: size }, (_, place) => place);

/** The positions of a list. */
export const placesOf = (found: readonly number[]): Places => [...new Set(found)].sort((a, b) => a - b);

/** Positions that both have. */
export function common(a: Places, b: Places): Places {
  const other = new Set(b);
  return a === b ? a : a.filter((place) => other.has(place));
}

/** Whether one has all positions of another. */
export const covers = (a: Places, b: Places): boolean => common(b, a).length === b.length;

/** Positions that follow each other, as first and last. */
export function runsOf(places: Places): [low: number, high: number][] {
  const runs: [number, number][] = [];
  for (const place of places) {
    const last = runs.at(-1);
    if (last?.[1] === place - 1) last[1] = place;
    else runs.push([place, place]);
  }
  return runs;
}
