import { describe, expect, test } from "vitest";
import { stackOf } from "../src/adopt";
import { convolve, copied, pad } from "../src/compute";
import { lawOf, positions } from "../src/convolution";
import { PlaygroundSource, wholeOf } from "../src/playground";
import { biasNumbers, imageNumbers, kernelNumbers } from "../src/presets";
import { type PaddingMode, type Settings, plainLayer, problemsOf, sizeAfter, withAxes } from "../src/settings";
import { makeStack, withKernels, withNumber, withSettings } from "../src/stack";
import { parseAddress } from "../src/address";
import { cases, networkOf } from "./cases";
import { FIRST } from "./first";
import possible from "./settings.json";

describe.each(cases())("%s", (_, one) => {
  test("the page computes the output that Python expects", () => {
    const network = networkOf(one);
    const law = lawOf(network, network.step("conv")!)!;
    const samples = law.leading ? law.input.shape[0]! : 1;
    const { input, weight, bias } = law;
    const found = convolve(law, samples, wholeOf(input)!, wholeOf(weight)!, bias && wholeOf(bias)!);
    expect([...found].map((value) => value + 0)).toEqual([...wholeOf(network.tensor("conv")!)!]);
  });

  test("a playground of it has the same receipts", () => {
    const network = networkOf(one);
    const stack = stackOf(network);
    if (!stack) return;
    const source = new PlaygroundSource(stack);
    expect(source.network.tensor("conv")!.shape).toEqual(network.tensor("conv")!.shape);
    for (const expected of one.receipts) {
      const receipt = source.receipt({ step: "conv", index: expected.address });
      expect(receipt.products.map((product) => Number(product) + 0)).toEqual(expected.products);
      expect(receipt.channelSums.map((sum) => Number(sum) + 0)).toEqual(expected.channel_sums);
      expect(receipt.reported).toBe(expected.sum);
      expect([receipt.verdict, receipt.reporter]).toEqual(["exact", "page"]);
    }
  });
});

test("most cases of one and two axes can be edited", () => {
  const adopted = cases().filter(([, one]) => stackOf(networkOf(one)));
  expect(adopted.length).toBeGreaterThan(15);
});

const at = (source: PlaygroundSource, address: string) => source.receipt(parseAddress(address)!).reported;

test("24 is 24, and an edit changes everything above it", () => {
  const source = new PlaygroundSource(makeStack(FIRST));
  expect([at(source, "conv1[0,0,0,0]"), at(source, "conv2[0,0,0,0]")]).toEqual([24, 270]);
  source.edit("input[0,0,0,0]", 4);
  expect([at(source, "conv1[0,0,0,0]"), at(source, "conv2[0,0,0,0]")]).toEqual([25, 272.25]);
  source.undo();
  expect(at(source, "conv2[0,0,0,0]")).toBe(270);
  source.redo();
  expect(at(source, "conv2[0,0,0,0]")).toBe(272.25);
});

test("what an edit does not touch is not computed again", () => {
  const source = new PlaygroundSource(makeStack(FIRST));
  const values = () => source.network.tensor("conv1")!.boxes[0]!.values;
  const before = values();
  source.edit("conv2.weight[0,0,0,0]", 7);
  expect(values()).toBe(before);
  source.edit("conv1.weight[0,0,0,0]", 7);
  expect(values()).not.toBe(before);
});

test("changes in a row with one tag are undone together", () => {
  const source = new PlaygroundSource(makeStack(FIRST));
  for (const value of [1, 12, 125]) source.edit("input[0,0,0,0]", value, "typing");
  source.undo();
  expect(source.history.canUndo.value).toBe(false);
  expect(at(source, "conv1[0,0,0,0]")).toBe(24);
});

test("edits stay where the new size still has a place for them", () => {
  const edited = withNumber(makeStack(FIRST), "input[0,1,0,1]", -5)!;
  const wider = withSettings(edited, { ...FIRST, size: [5, 4] });
  expect(wider.input.values[1 * 20 + 0 * 4 + 1]).toBe(-5);
  expect(wider.input.values[0]).toBe(0);
  expect(wider.input.values[39]).toBe(39);
  expect(wider.weights[0]).toBe(edited.weights[0]);
});

test("impossible settings are refused with their formula and with what would fit", () => {
  const source = new PlaygroundSource(makeStack(FIRST));
  const before = source.stack.value;
  const layers = [plainLayer("conv1", 2, [4, 2]), FIRST.layers[1]!];
  source.set({ ...FIRST, layers });
  expect(source.stack.value).toBe(before);
  const [problem] = source.problems.value;
  expect(problem!.key).toBe("fit");
  expect(problem!.values["formula"]).toBe("⌊(3 + 0 + 0 − 1·(4 − 1) − 1) / 1⌋ + 1 = 0");
  expect([problem!.values["most"], problem!.values["padding"]]).toEqual([3, 1]);
  source.undo();
  expect(source.problems.value).toEqual([]);
});

test.each<[string, Partial<(typeof FIRST.layers)[0]>]>([
  ["no_stride", { stride: [0, 1] }],
  ["no_kernel", { kernel: [0, 2] }],
  ["no_dilation", { dilation: [0, 1] }],
  ["no_groups", { groups: 0 }],
  ["no_channels", { channels: 0 }],
  ["less_padding", { padding: [-1, 0] }],
  ["less_padding", { transposed: true, outputPadding: [-1, 0] }],
  ["range", { stride: [9, 1] }],
  ["range", { channels: 2.5 }],
  ["range", { kernel: [NaN, 2] }],
  ["groups", { groups: 3 }],
  ["mode", { transposed: true, mode: "reflect", padding: [1, 1] }],
  ["reflect", { mode: "reflect", padding: [3, 3] }],
  ["circular", { mode: "circular", padding: [4, 4] }],
  ["output_padding", { transposed: true, outputPadding: [1, 1] }],
  ["cropped", { transposed: true, padding: [3, 3] }],
  ["fit", { dilation: [3, 3] }],
  ["large", { transposed: true, stride: [8, 8], kernel: [11, 11], channels: 16 }],
])("%s is explained", (key, change) => {
  const settings: Settings = {
    channels: 2, size: key === "large" ? [64, 64] : [3, 3], layers: [{ ...plainLayer("conv1", 2, [2, 2]), ...change }],
  };
  expect(problemsOf(settings).map((one) => one.key)).toContain(key);
});

test("what the explanation says would fit does fit, and the next value does not", () => {
  for (const dilation of [1, 2, 3]) {
    for (const size of [1, 2, 5]) {
      const layer = { ...plainLayer("conv1", 1, [9, 9]), dilation: [dilation, dilation] };
      const make = (change: object): Settings => ({ channels: 1, size: [size, size], layers: [{ ...layer, ...change }] });
      const { most, padding } = problemsOf(make({}))[0]!.values as { most: number; padding: number };
      expect(problemsOf(make({ kernel: [most, most] }))).toEqual([]);
      expect(problemsOf(make({ kernel: [most + 1, most + 1] })).length).toBeGreaterThan(0);
      if (padding > 16) continue;
      expect(problemsOf(make({ padding: [padding, padding] }))).toEqual([]);
      expect(problemsOf(make({ padding: [padding - 1, padding - 1] })).length).toBeGreaterThan(0);
    }
  }
});

test("kernels of a fixed size set the kernel size, and give way to another one", () => {
  const sobel = withKernels(makeStack(FIRST), 0, "sobel");
  expect(sobel.settings.layers[0]!.kernel).toEqual([3, 3]);
  expect([...sobel.weights[0]!.values.slice(0, 9)]).toEqual([-1, 0, 1, -2, 0, 2, -1, 0, 1]);
  const layers = sobel.settings.layers.map((layer) => ({ ...layer, kernel: [2, 2] }));
  expect(withSettings(sobel, { ...sobel.settings, layers }).weights[0]!.preset).toBe("snippet");
});

test("identity copies the channels of each group", () => {
  const layer = { ...plainLayer("conv1", 4, [1, 1]), groups: 2 };
  expect([...kernelNumbers("identity", layer, [4, 2, 1, 1], 0)]).toEqual([1, 0, 0, 1, 1, 0, 0, 1]);
  expect([...biasNumbers("identity", 3, 0)]).toEqual([1, 2, 3]);
});

test("paddings copy what they say", () => {
  const row = (mode: "reflect" | "replicate" | "circular") => [...pad(mode, [2], 1, [3], Float32Array.of(1, 2, 3))];
  expect(row("reflect")).toEqual([3, 2, 1, 2, 3, 2, 1]);
  expect(row("replicate")).toEqual([1, 1, 1, 2, 3, 3, 3]);
  expect(row("circular")).toEqual([2, 3, 1, 2, 3, 1, 2]);
  expect(copied("reflect", 3, -2)).toBe(2);
});

test("a padded number has a receipt that leads to the number it copies", () => {
  const settings: Settings = {
    channels: 1, size: [3, 3],
    layers: [{ ...plainLayer("conv1", 1, [2, 2]), padding: [1, 1], mode: "reflect" }],
  };
  const source = new PlaygroundSource(makeStack(settings));
  const receipt = source.receipt({ step: "conv1.pad", index: [0, 0, 0, 0] });
  expect([receipt.sources, receipt.reported]).toEqual([["input[0,0,1,1]"], 4]);
  for (const index of positions(source.network.tensor("conv1")!.shape)) {
    expect(source.receipt({ step: "conv1", index }).verdict).toBe("exact");
  }
});

test("one axis less, and back", () => {
  const flat = withAxes(FIRST, 1);
  expect([flat.size, flat.layers[0]!.kernel]).toEqual([[3], [2]]);
  expect(withAxes(flat, 2)).toEqual(FIRST);
  expect(sizeAfter(flat.layers[0]!, [3])).toEqual([2]);
});

test("an image becomes grey, or its colours for three channels", () => {
  const pixels = [255, 0, 0, 255, 0, 0, 255, 255];
  expect([...imageNumbers(pixels, 1)]).toEqual([76, 29]);
  expect([...imageNumbers(pixels, 3)]).toEqual([255, 0, 0, 0, 0, 255]);
});

test("what PyTorch refuses is explained, and nothing else", () => {
  for (const { channels, size, layer, expected } of possible) {
    const made = { ...plainLayer("conv1", 1, layer.kernel), ...layer, mode: layer.mode as PaddingMode };
    const found = problemsOf({ channels, size, layers: [made] });
    expect([JSON.stringify({ channels, size, layer }), found.length === 0]).toEqual([expect.anything(), expected !== null]);
    if (expected) expect(sizeAfter(made, size)).toEqual(expected);
  }
});
