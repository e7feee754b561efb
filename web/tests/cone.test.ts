import { expect, test } from "vitest";
import { cone, reach, spanOf } from "../src/cone";
import { contributions } from "../src/contributions";
import { lawOf, positions } from "../src/convolution";
import { PlaygroundSource } from "../src/playground";
import { receiptOf } from "../src/receipt";
import { type LayerSettings, plainLayer, problemsOf } from "../src/settings";
import { makeStack } from "../src/stack";
import { cases, networkOf } from "./cases";

test.each(cases())("the field of every number bounds what its receipt reads: %s", (_, one) => {
  const network = networkOf(one);
  for (const index of positions(network.tensor("conv")!.shape)) {
    const receipt = receiptOf(network, "conv", index)!;
    const reads = receipt.sources.flatMap((source) => (source ? [place(source)] : []));
    const span = spanOf(cone(network, "conv", index).get("input"));
    expect(span).toEqual(reads.length ? bounds(reads) : null);
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
    expect(spanOf(reach(network, "input", index).get("conv"))).toEqual(found ? bounds(found) : null);
  }
});

test.each(cases())("pixels and biases add up to the number: %s", (_, one) => {
  const network = networkOf(one);
  for (const { address, sum } of one.receipts) {
    const split = contributions(network, { step: "conv", index: address }, () => null)!;
    expect(split.pixels + split.biases).toBe(sum);
  }
});

const STACKS: Partial<LayerSettings>[] = [
  { stride: [2, 2], dilation: [3, 1], kernel: [2, 3], padding: [2, 1] },
  { stride: [3, 1], kernel: [2, 2], padding: [0, 16] },
  { stride: [2, 3], dilation: [3, 2], kernel: [3, 2], padding: [1, 2], transposed: true, outputPadding: [1, 0] },
  { groups: 2, channels: 4, stride: [2, 2], kernel: [1, 1] },
];

test.each(STACKS)("fields and reaches of two layers bound what is read, place by place: %o", (odd) => {
  const first = { ...plainLayer("conv1", 2, [3, 3]), ...odd };
  const settings = { channels: 2, size: [7, 6], layers: [first, plainLayer("conv2", 2, [2, 3])] };
  expect(problemsOf(settings)).toEqual([]);
  const { network } = new PlaygroundSource(makeStack(settings));
  const positionsOf = (name: string) => [...positions(network.tensor(name)!.shape)];
  const read = new Map(
    ["conv1", "conv2"].flatMap((name) =>
      positionsOf(name).map((index) => {
        const { address, sources } = receiptOf(network, name, index)!;
        return [address, sources.flatMap((source) => (source ? [place(source)] : []))] as const;
      }),
    ),
  );
  const readBy = (name: string, index: readonly number[]) => read.get(`${name}[${index.join(",")}]`)!;
  const among = (found: readonly (readonly number[])[]) => {
    const keys = new Set(found.map((one) => one.join()));
    return (at: readonly number[]): boolean => keys.has(at.join());
  };

  for (const index of positionsOf("conv2").slice(0, 40)) {
    const reads = positionsOf("conv1").filter(among(readBy("conv2", index))).flatMap((at) => readBy("conv1", at));
    expect(spanOf(cone(network, "conv2", index).get("input"))).toEqual(reads.length ? bounds(reads) : null);
  }
  const users = (name: string, wanted: (index: readonly number[]) => boolean) =>
    positionsOf(name).filter((index) => readBy(name, index).some(wanted));
  for (const index of positionsOf("input").slice(0, 40)) {
    const top = users("conv2", among(users("conv1", among([index]))));
    expect(spanOf(reach(network, "input", index).get("conv2"))).toEqual(top.length ? bounds(top) : null);
  }
});

test.each(["reflect", "replicate", "circular"] as const)("padding with copies is followed to what it copies: %s", (mode) => {
  const layer = { ...plainLayer("conv1", 2, [2, 2]), mode, padding: [2, 1] };
  const source = new PlaygroundSource(makeStack({ channels: 2, size: [4, 5], layers: [layer] }));
  const { network } = source;
  const readOf = (address: string): string[] => {
    const at = address.indexOf("[");
    const { sources } = source.receipt({ step: address.slice(0, at), index: place(address) });
    return sources.flatMap((one) => (one?.startsWith("input[") ? [one] : one ? readOf(one) : []));
  };
  const users = new Map<string, number[][]>();
  for (const index of positions(network.tensor("conv1")!.shape)) {
    const reads = readOf(`conv1[${index.join(",")}]`);
    expect(spanOf(cone(network, "conv1", index).get("input"))).toEqual(bounds(reads.map(place)));
    for (const read of reads) users.set(read, [...(users.get(read) ?? []), index]);
  }
  for (const [read, found] of users) {
    expect(spanOf(reach(network, "input", place(read)).get("conv1"))).toEqual(bounds(found));
  }
});

const place = (address: string): number[] => address.slice(address.indexOf("[") + 1, -1).split(",").map(Number);

function bounds(places: readonly number[][]): [number, number][] {
  return places[0]!.map((_, axis) => {
    const along = places.map((one) => one[axis]!);
    return [Math.min(...along), Math.max(...along)];
  });
}
