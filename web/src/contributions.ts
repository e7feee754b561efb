/**
 * One number, split exactly over the numbers of the inputs and the biases of every step below it.
 *
 * Every receipt says what a number is made of: factor × source, and a bias. Gates (ReLU and its like)
 * stay at the factor that they had. So factors can be multiplied along every way down, and
 * `number = Σ factor × pixel + Σ biases`. The same split as `src/convtrace/split.py`.
 */
import { type Address, parseAddress } from "./address";
import { lawOf, positions, sourceIndex, weightIndex, windowOf } from "./convolution";
import type { ReceiptDocument } from "./document";
import { sum } from "./exact";
import type { Network, Step } from "./network";
import { type Tensor, sizeOf, unravel } from "./tensor";

export interface Split {
  /** By input: what each of its numbers contributes, row-major. */
  inputs: Map<string, Float64Array>;
  /** Sum of all contributions of inputs, and of all biases. */
  pixels: number;
  biases: number;
}

/** Terms that are followed at most: more would keep the reader waiting. */
const MOST_TERMS = 2_000_000;

/** Returns the receipt of a number of a step that follows no index law; null where it is not here. */
export type Explain = (address: Address) => ReceiptDocument | null;

/** Split one number; null where something on the way is not here, cannot be split, or is too much. */
export function contributions(network: Network, address: Address, explain: Explain): Split | null {
  const factors = new Map<string, Float64Array>();
  const top = network.tensor(address.step);
  if (!top || !network.step(address.step)) return null;
  factorsOf(factors, top)[flat(top.shape, address.index)] = 1;
  const biases: number[] = [];
  let left = MOST_TERMS;
  for (const step of [...network.steps.values()].reverse()) {
    const above = factors.get(step.name);
    if (!above) continue;
    const output = network.tensor(step.name)!;
    const pull = pullOf(network, step, factors, explain);
    for (let n = 0; n < above.length; n += 1) {
      const factor = above[n]!;
      if (factor === 0) continue;
      const pulled = pull(unravel(output.shape, n), factor);
      if (!pulled) return null;
      left -= pulled.terms;
      if (left < 0) return null;
      if (pulled.bias) biases.push(pulled.bias);
    }
    factors.delete(step.name);
  }
  const inputs = new Map<string, Float64Array>();
  for (const [name, factor] of factors) {
    const tensor = network.tensor(name)!;
    if (tensor.origin !== "input") continue;
    inputs.set(name, factor.map((one, n) => (one ? one * Number(tensor.at(unravel(tensor.shape, n))) : 0)));
  }
  return {
    inputs,
    pixels: sum([...inputs.values()].flatMap((values) => [...values])),
    biases: sum(biases),
  };
}

interface Pulled {
  terms: number;
  bias: number;
}

type Pull = (index: number[], factor: number) => Pulled | null;

/** What carries the factor of one number of a step down to what it was made of. */
function pullOf(
  network: Network,
  step: Step,
  factors: Map<string, Float64Array>,
  explain: Explain,
): Pull {
  const law = lawOf(network, step);
  if (!law) return (index, factor) => pullReceipt(network, step, factors, explain, index, factor);
  const below = factorsOf(factors, law.input);
  const kernel = [...positions(law.axes.map((axis) => axis.kernel))];
  return (index, factor) => {
    const window = windowOf(law, index);
    const [first, last] = window.channels;
    for (let channel = first; channel <= last; channel += 1) {
      for (const place of kernel) {
        const source = sourceIndex(window, channel, place);
        if (!source) continue;
        const weight = law.weight.at(weightIndex(window, channel, place));
        if (weight === undefined) return null;
        below[flat(law.input.shape, source)]! += factor * Number(weight);
      }
    }
    const bias = law.bias ? law.bias.at([window.outputChannel]) : 0;
    if (bias === undefined) return null;
    return { terms: (last - first + 1) * kernel.length, bias: factor * Number(bias) };
  };
}

function pullReceipt(
  network: Network,
  step: Step,
  factors: Map<string, Float64Array>,
  explain: Explain,
  index: number[],
  factor: number,
): Pulled | null {
  const receipt = explain({ step: step.name, index });
  if (!receipt || !receipt.verdict || step.status === "opaque") return null;
  let bias = Number(receipt.bias ?? 0);
  for (const [n, source] of receipt.sources.entries()) {
    const at = source === null ? null : parseAddress(source);
    const tensor = at && network.tensor(at.step);
    const weight = Number(receipt.weights[n]);
    if (at && tensor && (tensor.origin === "step" || tensor.origin === "input")) {
      factorsOf(factors, tensor)[flat(tensor.shape, at.index)]! += factor * weight;
    } else {
      bias += weight * Number(receipt.inputs[n]);
    }
  }
  return { terms: receipt.sources.length, bias: factor * bias };
}

function factorsOf(factors: Map<string, Float64Array>, tensor: Tensor): Float64Array {
  let found = factors.get(tensor.name);
  if (!found) factors.set(tensor.name, (found = new Float64Array(sizeOf(tensor.shape))));
  return found;
}

export function flat(shape: readonly number[], index: readonly number[]): number {
  return index.reduce((n, place, axis) => n * shape[axis]! + place, 0);
}
