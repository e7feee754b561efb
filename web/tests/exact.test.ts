import { expect, test } from "vitest";
import { ExactSum, FLOAT64, FORMATS, roundDyadic, sum } from "../src/exact";

/** Sums of two numbers take a shorter way, which has to end where the long one does. */
const PAIRS: readonly (readonly [number, number])[] = [
  [0.1, 0.2],
  [1, 2 ** -53], // a tie: the even neighbour is 1
  [1 + 2 ** -52, 2 ** -53], // a tie: the even neighbour lies above
  [1, 2 ** -53 + 2 ** -105],
  [1e300, -1e300],
  [2 ** 53, 1],
  [2 ** 53, -0.5],
  [Number.MAX_VALUE, 2 ** 969], // less than half a step beyond the largest
  [-Number.MAX_VALUE, -(2 ** 970)], // half a step: infinite
  [Number.MIN_VALUE, Number.MIN_VALUE],
  [2 ** -1022, -Number.MIN_VALUE],
];

test.each(PAIRS)("%f + %f is rounded once", (left, right) => {
  const long = roundDyadic(...new ExactSum().add(left).add(right).total(), FLOAT64);
  expect(long).toBe(left + right); // the processor's own addition decides
  expect(new ExactSum().add(left).add(right).rounded()).toBe(left + right);
  expect(new ExactSum().add(right).add(left).rounded()).toBe(left + right);
  expect(sum([left, right])).toBe(left + right);
});

test("a sum of two is rounded to the format that is asked for, not to float64 first", () => {
  const total = new ExactSum().add(1 + 2 ** -24).add(2 ** -60);
  expect(total.rounded(FORMATS["float32"])).toBe(1 + 2 ** -23);
  expect(new ExactSum().add(1).add(2 ** -24).rounded(FORMATS["float32"])).toBe(1);
  expect(new ExactSum().add(65504).add(16).rounded(FORMATS["float16"])).toBe(Infinity);
  expect(new ExactSum().add(65504).add(15.5).rounded(FORMATS["float16"])).toBe(65504);
});

test("what two numbers hide shows once a third has taken them away", () => {
  expect(sum([1e100, 1, -1e100])).toBe(1);
  const huge = new ExactSum().add(Number.MAX_VALUE).add(Number.MAX_VALUE).add(-Number.MAX_VALUE);
  expect(huge.rounded()).toBe(Number.MAX_VALUE);
});
