import { expect, test } from "vitest";
import { cone, reach } from "../src/cone";
import { contributions } from "../src/contributions";
import { lawOf, positions } from "../src/convolution";
import { receiptOf } from "../src/receipt";
import { cases, networkOf } from "./cases";

test.each(cases())("the field of every number bounds what its receipt reads: %s", (_, one) => {
  const network = networkOf(one);
  for (const index of positions(network.tensor("conv")!.shape)) {
    const receipt = receiptOf(network, "conv", index)!;
    const reads = receipt.sources.flatMap((source) => (source ? [place(source)] : []));
    const span = cone(network, "conv", index).get("input")!;
    if (!reads.length) continue;
    expect(span).toEqual(bounds(reads));
  }
});

test.each(cases())("the reach of every pixel bounds the numbers that read it: %s", (_, one) => {
  const network = networkOf(one);
  const law = lawOf(network, network.step("conv")!)!;
  const users = new Map<string, number[][]>();
  for (const index of positions(network.tensor("conv")!.shape)) {
    for (const source of receiptOf(network, "conv", index)!.sources) {
      if (source) users.set(source, [...(users.get(source) ?? []), index]);
    }
  }
  for (const index of positions(law.input.shape)) {
    const found = users.get(`input[${index.join(",")}]`);
    if (found) expect(reach(network, "input", index).get("conv")).toEqual(bounds(found));
  }
});

test.each(cases())("pixels and biases add up to the number: %s", (_, one) => {
  const network = networkOf(one);
  for (const { address, sum } of one.receipts) {
    const split = contributions(network, { step: "conv", index: address }, () => null)!;
    expect(split.pixels + split.biases).toBe(sum);
  }
});

const place = (address: string): number[] => address.slice(6, -1).split(",").map(Number);

function bounds(places: readonly number[][]): [number, number][] {
  return places[0]!.map((_, axis) => {
    const along = places.map((one) => one[axis]!);
    return [Math.min(...along), Math.max(...along)];
  });
}
