/** What one step made of a number: which numbers used it, with which factor, and what it brought in. */
import { addressText } from "./address";
import { lawOf, product } from "./convolution";
import type { Num, ReceiptDocument } from "./document";
import { partKey } from "./equation";
import type { Network, Step } from "./network";
import { chainOf, madeOf } from "./reading";
import { type Source, receiptHere } from "./source";
import { unravel } from "./tensor";

/** A number, and its `data-address`. */
interface Named {
  key: string;
  value: Num | undefined;
}

/** One term that a number went into: number × factor = product. */
export interface Use {
  output: readonly number[];
  factor: Named;
  product: Named;
}

export interface Uses {
  uses: readonly Use[];
  /** Numbers whose receipts are not here, and receipts that were asked for. */
  missing: number;
  waiting: readonly Promise<unknown>[];
}

/** Receipts that are looked at, at most, where they decide what used a number. */
const MOST_RECEIPTS = 64;

/** List the outputs of a step that can depend on a number of an operand; null where it cannot be told. */
export function outputsOf(network: Network, step: Step, role: string, index: readonly number[]): number[][] | null {
  const chain = chainOf(network, step, role);
  if (!chain) return null;
  const box = madeOf(index.map((place) => [place]), chain, network.tensor(step.name)!.shape);
  return box ? [...product(box)] : [];
}

/** Find the terms of some outputs that a number went into. */
export function usesOf(source: Source, step: Step, outputs: readonly (readonly number[])[], address: string): Uses {
  const uses: Use[] = [];
  const waiting: Promise<unknown>[] = [];
  let missing = 0;
  for (const output of outputs) {
    const receipt = receiptHere(source, { step: step.name, index: [...output] });
    if (!receipt) missing += 1;
    else if (receipt instanceof Promise) waiting.push(receipt);
    else uses.push(...termsOf(receipt, output, address));
  }
  return { uses, missing, waiting };
}

/** Find who used a number: by the index law, or by the receipts of those that could have. */
export function usedBy(
  source: Source,
  step: Step,
  role: string,
  index: readonly number[],
): (Uses & { outputs: readonly (readonly number[])[] }) | null {
  const { network } = source;
  const outputs = outputsOf(network, step, role, index);
  if (!outputs) return null;
  if (lawOf(network, step)) return { outputs, uses: [], missing: 0, waiting: [] };
  const address = addressText(network.tensor(step.operands[role]!)!.name, index);
  const found = usesOf(source, step, outputs.slice(0, MOST_RECEIPTS), address);
  const more = Math.max(outputs.length - MOST_RECEIPTS, 0);
  return { ...found, missing: found.missing + more, outputs: found.uses.map(({ output }) => output) };
}

function termsOf(receipt: ReceiptDocument, output: readonly number[], address: string): Use[] {
  const part = (name: string, n: number): string =>
    partKey(receipt.address, `${name}[${unravel(receipt.shape, n).join(",")}]`);
  const found = receipt.products.flatMap((made, n): Use[] => {
    const sides = [
      [receipt.sources[n], receipt.weightAddresses[n], receipt.weights[n]],
      [receipt.weightAddresses[n], receipt.sources[n], receipt.inputs[n]],
    ] as const;
    const side = sides.find(([own]) => own === address);
    if (!side) return [];
    const [, other, value] = side;
    return [{ output, factor: { key: other ?? part("factor", n), value }, product: { key: part("product", n), value: made } }];
  });
  if (receipt.biasAddress === address && receipt.bias !== null) {
    const [one, bias] = [partKey(receipt.address, "one"), partKey(receipt.address, "bias")];
    found.push({ output, factor: { key: one, value: 1 }, product: { key: bias, value: receipt.bias } });
  }
  return found;
}
