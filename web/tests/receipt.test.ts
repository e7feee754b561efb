import { describe, expect, test } from "vitest";
import { addressText } from "../src/address";
import { lawOf, positions, windowOf } from "../src/convolution";
import { outputSize } from "../src/geometry";
import { receiptOf } from "../src/receipt";
import { type Source } from "../src/source";
import { usedBy, usesOf } from "../src/uses";
import { type Case, cases, networkOf } from "./cases";

const isWhole = (one: Case): boolean => !JSON.stringify([one.x, one.weight, one.bias]).includes(".");

describe.each(cases())("%s", (_, one) => {
  test.each(["float32", "float64", "int32"])("the receipts are Python's, as %s", (dtype) => {
    if (dtype === "int32" && !isWhole(one)) return;
    const network = networkOf(one, dtype);
    for (const expected of one.receipts) {
      const receipt = receiptOf(network, "conv", expected.address)!;
      const address = (name: string) => (index: number[] | null) =>
        index && addressText(name, index);
      expect(receipt.sources).toEqual(expected.sources.map(address("input")));
      expect(receipt.weightAddresses).toEqual(expected.weights.map(address("conv.weight")));
      expect(receipt.inputs).toEqual(expected.values);
      expect(receipt.products.map((product) => Number(product) + 0)).toEqual(expected.products);
      expect(receipt.channels).toEqual(expected.channels);
      expect(receipt.channelSums.map((sum) => Number(sum) + 0)).toEqual(expected.channel_sums);
      expect(receipt.bias).toBe(expected.bias);
      expect(receipt.exact).toBe(expected.sum);
      expect(receipt.reported).toBe(expected.sum);
      expect(receipt.verdict).toBe("exact");
    }
  });

  test("the law gives the shape of the output", () => {
    const network = networkOf(one);
    const law = lawOf(network, network.step("conv")!)!;
    expect(law.axes.map((axis, n) => outputSize(axis, law.sizes[n]!))).toEqual(law.outputs);
  });

  test("the uses of each input and weight are the receipts turned round", () => {
    const network = networkOf(one);
    const law = lawOf(network, network.step("conv")!)!;
    const byInput = new Map<string, string[]>();
    const byWeight = new Map<string, string[]>();
    const note = (map: Map<string, string[]>, key: string, value: string) =>
      map.set(key, [...(map.get(key) ?? []), value]);
    for (const index of positions(network.tensor("conv")!.shape)) {
      const receipt = receiptOf(network, "conv", index)!;
      receipt.sources.forEach((source, n) => {
        if (source === null) return;
        note(byInput, source, `${receipt.address} ${receipt.weightAddresses[n]}`);
        note(byWeight, receipt.weightAddresses[n]!, `${receipt.address} ${source}`);
      });
    }
    const source = { network, receipt: (at) => receiptOf(network, at.step, at.index)! } as Source;
    const step = network.step("conv")!;
    const uses = (role: string, index: number[]): string[] => {
      const address = addressText(step.operands[role]!, index);
      const { outputs } = usedBy(source, step, role, index)!;
      const found = usesOf(source, step, outputs, address).uses;
      expect(new Set(found.map(({ output }) => output.join()))).toEqual(new Set(outputs.map((one) => one.join())));
      return found.map(({ output, factor }) => `${addressText("conv", output)} ${factor.key}`);
    };
    for (const index of positions(law.input.shape)) {
      expect(uses("input", index)).toEqual(byInput.get(addressText("input", index)) ?? []);
    }
    for (const index of positions(law.weight.shape)) {
      expect(uses("weight", index)).toEqual(byWeight.get(addressText("conv.weight", index)) ?? []);
    }
  });
});

test("a wrong output is a mismatch", () => {
  const [, one] = cases()[0]!;
  const network = networkOf(one);
  const { address, sum } = one.receipts[0]!;
  const tensor = network.tensor("conv")!;
  tensor.boxes.push({ start: address, shape: address.map(() => 1), values: [sum + 1] });
  const receipt = receiptOf(network, "conv", address)!;
  expect([receipt.verdict, receipt.residual]).toEqual(["mismatch", 1]);
});

test("the window of the first output starts at the padding", () => {
  const [, one] = cases().find(([name]) => name === "padding: one zero on every side")!;
  const network = networkOf(one);
  const law = lawOf(network, network.step("conv")!)!;
  const window = windowOf(law, [0, 0, 0, 0]);
  expect(window.taps.map((axis) => axis.map((tap) => tap.source))).toEqual([[null, 0, 1], [null, 0, 1]]);
});
