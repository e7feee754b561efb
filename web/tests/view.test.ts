import { expect, test } from "vitest";
import { type Tile, cellAt, fit, pan, reveal, tilesSeen, zoom } from "../src/view";

const size = { width: 200, height: 100 };

test("a map that fits stands in the middle", () => {
  const view = fit(10, 10, size);
  expect(view).toEqual({ cell: 10, x: 50, y: 0 });
  expect(cellAt(view, { x: 50, y: 0 }, 10, 10)).toEqual([0, 0]);
  expect(cellAt(view, { x: 149, y: 99 }, 10, 10)).toEqual([9, 9]);
  expect(cellAt(view, { x: 49, y: 0 }, 10, 10)).toBeNull();
});

test("zooming keeps the cell under the pointer, and ends at the largest cell", () => {
  const at = { x: 120, y: 50 };
  let view = fit(100, 200, size);
  const before = cellAt(view, at, 100, 200);
  view = zoom(view, 8, at, 100, 200, size);
  expect(cellAt(view, at, 100, 200)).toEqual(before);
  expect(zoom(view, 1e9, at, 100, 200, size).cell).toBe(96);
  expect(zoom(view, 1e-9, at, 100, 200, size)).toEqual(fit(100, 200, size));
});

test("a map cannot be dragged out of its frame", () => {
  const view = zoom(fit(100, 200, size), 4, { x: 100, y: 50 }, 100, 200, size);
  expect(pan(view, 1e6, 1e6, 100, 200, size)).toMatchObject({ x: 0, y: 0 });
  expect(pan(view, -1e6, -1e6, 100, 200, size)).toMatchObject({ x: 200 - 800, y: 100 - 400 });
});

test("a cell outside the frame is brought in", () => {
  const view = zoom(fit(100, 200, size), 20, { x: 0, y: 0 }, 100, 200, size);
  const shown = reveal(view, 99, 199, 100, 200, size);
  expect(cellAt(shown, { x: 199, y: 99 }, 100, 200)).toEqual([99, 199]);
});

const corner = { cell: 10, x: 0, y: 0 };
const numbers = ({ rows, columns }: Tile): number => rows * columns;

test("a small map is one tile", () => {
  expect(tilesSeen(fit(56, 30, size), 56, 30, size, [0, 0])).toEqual([{ top: 0, left: 0, rows: 56, columns: 30 }]);
});

test("a large map that is seen whole is asked for tile by tile, the window first", () => {
  const [rows, columns] = [1200, 1000];
  const tiles = tilesSeen(fit(rows, columns, size), rows, columns, size, [1100, 3]);
  expect(tiles[0]).toEqual({ top: 1024, left: 0, rows: 176, columns: 512 });
  expect(tiles.map(numbers).reduce((a, b) => a + b)).toBe(rows * columns);
});

test("of a map that is zoomed into, the tiles that are seen are asked for", () => {
  expect(tilesSeen(corner, 5000, 5000, size, [0, 0])).toEqual([{ top: 0, left: 0, rows: 512, columns: 512 }]);
  const across = { cell: 10, x: -5100, y: 0 };
  expect(tilesSeen(across, 5000, 5000, size, [0, 0]).map(({ left }) => left)).toEqual([0, 512]);
});

test("a huge map is not asked for whole, and a long row is cut too", () => {
  expect(tilesSeen(fit(50_000, 50_000, size), 50_000, 50_000, size, [0, 0])).toHaveLength(16);
  const row = tilesSeen(fit(1, 3_000_000, size), 1, 3_000_000, size, [0, 0]);
  expect(row.map(numbers).reduce((a, b) => a + b)).toBe(3_000_000);
  expect(Math.max(...row.map(numbers))).toBeLessThanOrEqual(1 << 18);
});
