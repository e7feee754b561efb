import { describe, expect, test } from "vitest";
import { changed, linkText, readLink } from "../src/link";
import { packStack, unpackStack } from "../src/packing";
import { LEVELS, exerciseOf, nextPractice, practiceText, readPractice } from "../src/practice";
import { plainLayer } from "../src/settings";
import { slips } from "../src/slips";
import { givensOf, makeStack, withInputNumbers, withNumber } from "../src/stack";
import { FIRST } from "./first";
import { readSizes, readTyped, sizesText } from "../src/typed";

const RICH = makeStack(
  {
    channels: 2,
    size: [7, 5],
    layers: [
      { ...plainLayer("features.0", 4, [3, 2]), stride: [2, 1], padding: [1, 1], mode: "circular", bias: true },
      { ...plainLayer("a~b:c%", 4, [2, 2]), transposed: true, stride: [3, 3], outputPadding: [1, 2], groups: 2 },
    ],
  },
  "random", ["random", "blur"], 5,
);

describe("a packed stack", () => {
  test.each([["the first one", makeStack(FIRST)], ["a rich one", RICH]])("comes back: %s", (_, stack) => {
    expect(unpackStack(packStack(stack))).toEqual(stack);
  });

  test("keeps edits, each in a few characters", () => {
    const edited = withNumber(withNumber(RICH, "input[0,1,6,4]", -0.1)!, "features.0.bias[2]", 1e-7)!;
    const text = packStack(edited);
    expect(unpackStack(text)).toEqual(edited);
    expect(text.length - packStack(RICH).length).toBeLessThan(20);
  });

  test("keeps numbers of one's own, whole ones in a byte each", () => {
    const values = Float32Array.from({ length: 70 }, (_, n) => (n * 37) % 256);
    const own = withInputNumbers(RICH, values);
    expect(unpackStack(packStack(own))).toEqual(own);
    expect(packStack(own).length).toBeLessThan(packStack(RICH).length + 100);
    const odd = withInputNumbers(RICH, values.map((value) => value / 7));
    expect(unpackStack(packStack(odd))).toEqual(odd);
  });

  test.each(["", "x", "2x3x3", "2x3x3~0~conv1:2.k99", "2x3x3~0~conv1:2.k9", "0x0~0~a:1.k1", "2x3x3~NaN~a:1.k1",
    "2x3x3~0~a:2.k2~a:2.k2", "2x3x3~0~a:2.k2~own!f!!!!", "%%%~~~~:::", "1e9x9~0~a:1.k1"])(
    "of garbage is none, or one that can be shown: %s", (text) => {
      const stack = unpackStack(text);
      if (stack) expect(givensOf(stack).every(([, { values }]) => values.length > 0)).toBe(true);
    });

  test("of any prefix or with any character changed is none, or one that can be shown", () => {
    const text = packStack(withNumber(RICH, "input[0,1,6,4]", 3)!);
    for (let n = 0; n < text.length; n += 1) {
      for (const garbled of [text.slice(0, n), `${text.slice(0, n)}~${text.slice(n + 1)}`]) unpackStack(garbled);
    }
  });
});

describe("a link", () => {
  const snapshot = {
    selected: "layer1.0.conv1[0,3,1,2]", trail: ["conv2[0,0,0,0]", "relu:2[0,1]"], lang: "ko", theme: "dark",
    order: "share", from: 12, playground: packStack(RICH), practice: "2.17",
  } as const;

  test("holds everything", () => {
    expect(readLink(`#${linkText(snapshot)}`)).toEqual(snapshot);
  });

  test.each(["mean:2:0,5", "mean:2[0,5]", "mean%3A2%5B0%2C5%5D"])("may hold a whole address: %s", (text) => {
    expect(readLink(`#v=1&at=${text}`)).toEqual({ selected: "mean:2[0,5]", trail: [] });
  });

  test("needs no character that ends a link in a text", () => {
    expect(linkText(snapshot)).toMatch(/^[\w.,:;=&~!*%+-]+$/);
  });

  test.each(["", "#", "#section-2", "#v=2&at=conv1:0,0", "#at=conv1:0,0"])("of another kind is none: %s", (text) => {
    expect(readLink(text)).toBe(null);
  });

  test.each(["#v=1&at=", "#v=1&at=conv1", "#v=1&at=%E0%A4%A", "#v=1&lang=fr&theme=blue&order=x"])(
    "leaves garbage out: %s", (text) => {
      expect(readLink(text)).toEqual({ trail: [] });
    });

  test.each(["x", "-1", "1e9", "3.5", ""])("shows the first rows where it says no number of them: %s", (text) => {
    expect(readLink(`#v=1&from=${text}`)).toEqual({ trail: [], from: 0 });
  });

  test("says only what differs from how the page begins", () => {
    const first = { ...snapshot, trail: [], from: 0, playground: null, practice: null };
    expect(changed(first, first)).toEqual({});
    expect(changed({ ...first, order: "number" }, first)).toEqual({ selected: first.selected, order: "number" });
  });
});

describe("exercises", () => {
  const all = LEVELS.flatMap((level) => Array.from({ length: 60 }, (_, seed) => ({ level, seed })));

  test("are the same each time, and come back from a link", () => {
    for (const which of all) {
      expect(readPractice(practiceText(which))).toEqual(which);
      const [one, other] = [exerciseOf(which), exerciseOf(which)];
      expect([one.answers, one.address, one.stack.input.values]).toEqual([other.answers, other.address, other.stack.input.values]);
    }
  });

  test("differ from each other, and come in all kinds", () => {
    const texts = new Set(all.map((which) => JSON.stringify(exerciseOf(which).stack)));
    expect(texts.size).toBeGreaterThan(0.95 * all.length);
    expect(new Set(all.map((which) => exerciseOf(which).kind)).size).toBe(3);
  });

  test("have whole answers that can be typed", () => {
    for (const which of all) {
      for (const answer of exerciseOf(which).answers) expect(Number.isInteger(answer)).toBe(true);
    }
  });

  test.each(["4.1", "1.", "1.1234567", "x"])("garbage is no exercise: %s", (text) => {
    expect(readPractice(text)).toBe(null);
  });

  test("the next one has the same level", () => {
    expect(nextPractice({ level: 2, seed: 999_999 })).toEqual({ level: 2, seed: 0 });
  });

  test("a missing bias and a sum of one channel are recognised", () => {
    const found = new Set<string>();
    for (const which of all) {
      const exercise = exerciseOf(which);
      if (exercise.kind !== "output") continue;
      const bias = exercise.stack.biases[0]?.values[0] ?? 0;
      if (bias) found.add(slips(exercise, [exercise.answers[0]! - bias]));
    }
    expect(found).toContain("bias");
  });
});

test.each([["−1.5", -1.5], ["-1,5", -1.5], ["1/4", 0.25], [" 7 ", 7], ["1e-3", 0.001], [".5", 0.5]])(
  "%s is a number", (text, value) => expect(readTyped(text)).toBe(value));

test.each(["", "-", "1/0", "abc", "1 2", "1e999", "1//2", "0x10"])("%s is none", (text) => {
  expect(readTyped(text)).toBe(null);
});

test("sizes are one number, or one for each axis", () => {
  expect([readSizes("3", 2), readSizes("3, 2", 2), readSizes("3×2", 2), readSizes("3, 2", 1), readSizes("a", 1)])
    .toEqual([[3, 3], [3, 2], [3, 2], null, null]);
  expect([sizesText([3, 3]), sizesText([3, 2]), sizesText([-1])]).toEqual(["3", "3, 2", "−1"]);
});
