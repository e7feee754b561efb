import { expect, test } from "vitest";
import { CellScale } from "../src/text";
import { isBegun, readSizes } from "../src/typed";

test("decimal points of a column stand below each other", () => {
  const scale = new CellScale([0.25, 1, -12.5, 3], true);
  const afterPoint = (value: number): number => {
    const { text } = scale.show(value);
    const at = text.indexOf(".");
    // A point is half as wide as a digit.
    return (at < 0 ? 0 : text.length - at - 0.5) + scale.pad(value);
  };
  for (const value of [0.25, 1, -12.5, 3]) expect(afterPoint(value)).toBe(2.5);
});

test("a column is as wide as its longest number before and after the point", () => {
  expect(new CellScale([7], true).width).toBe(1);
  expect(new CellScale([100, 0.25], true).width).toBe(3 + 2.5);
  expect(new CellScale([-100, 0.25], true).width).toBeGreaterThan(4 + 2.5);
  expect(new CellScale([], true).width).toBe(0);
});

test("two scales that pad differently are not the same", () => {
  const [narrow, wide] = [new CellScale([1, 2], true), new CellScale([1, 200], true)];
  expect(narrow.same(new CellScale([2, 1], true))).toBe(true);
  expect(narrow.same(wide)).toBe(false);
});

test("a scale can leave room for the decimals of its neighbour", () => {
  const bias = new CellScale([0.1], true);
  expect(new CellScale([24], false, 6, bias.right).pad(24)).toBe(1.5);
});

test.each(["", " ", "-", "−", "3,", "3, ", "3 ×"])("%o can become sizes, and is none yet", (text) => {
  expect(isBegun(text)).toBe(true);
  expect(readSizes(text, 2)).toBe(null);
});

test.each(["2.5", "x", "1, 2, 3", "3, x", "1e3", ",3"])("%o becomes no sizes", (text) => {
  expect([readSizes(text, 2), isBegun(text)]).toEqual([null, false]);
});
