/** The cases that Python's tests read too: settings, arrays and what must come out. */
import { Network } from "../src/network";
import { plainArithmetic } from "../src/arithmetic";
import type { Num } from "../src/document";
import { Tensor } from "../src/tensor";

const files = import.meta.glob<{ theme: string; cases: Case[] }>("../../tests/cases/*.json", {
  eager: true,
  import: "default",
});

type Nested = number | Nested[];

export interface CaseReceipt {
  address: number[];
  weights: number[][];
  sources: (number[] | null)[];
  values: number[];
  products: number[];
  channels: number[];
  channel_sums: number[];
  bias: number | null;
  sum: number;
}

export interface Case {
  name: string;
  settings: {
    stride: number[];
    padding: [number, number][];
    dilation: number[];
    groups: number;
    transposed: boolean;
    output_padding: number[];
  };
  x: Nested;
  weight: Nested;
  bias: Nested | null;
  output: Nested;
  receipts: CaseReceipt[];
}

export function cases(): [string, Case][] {
  return Object.values(files).flatMap(({ theme, cases }) =>
    cases.map((one): [string, Case] => [`${theme}: ${one.name}`, one]),
  );
}

export function tensorOf(name: string, origin: string, nested: Nested, dtype = "float32"): Tensor {
  const shape: number[] = [];
  for (let level = nested; Array.isArray(level); level = level[0] ?? 0) shape.push(level.length);
  const data: Num[] = [];
  const collect = (level: Nested): unknown =>
    Array.isArray(level) ? level.forEach(collect) : data.push(level);
  collect(nested);
  return Tensor.from({ name, origin, dtype, shape, data });
}

/** A network of one convolution, `conv`, that reads `input`. */
export function networkOf(one: Case, dtype = "float32"): Network {
  const network = new Network("torch");
  const input = tensorOf("input", "input", one.x, dtype);
  const weight = tensorOf("conv.weight", "parameter", one.weight, dtype);
  for (const tensor of [input, weight]) network.tensors.set(tensor.name, tensor);
  const operands: Record<string, string> = { input: "input", weight: "conv.weight" };
  if (one.bias) {
    network.tensors.set("conv.bias", tensorOf("conv.bias", "parameter", one.bias, dtype));
    operands["bias"] = "conv.bias";
  }
  network.add(
    {
      name: "conv",
      kind: "convolution",
      status: "linear",
      attributes: { ...one.settings, batched: input.shape.length === weight.shape.length },
      operands,
      module: null,
      arithmetic: null,
      formats: dtype.startsWith("int") ? null : plainArithmetic(dtype),
    },
    tensorOf("conv", "step", one.output, dtype),
  );
  return network;
}
