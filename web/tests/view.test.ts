import { expect, test } from "vitest";
import { cellAt, fit, pan, reveal, zoom } from "../src/view";

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
