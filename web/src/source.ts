/**
 * Where the page has its numbers from.
 *
 * Three kinds: numbers that came with the page (`embedded.ts`), a stack of convolutions that the
 * reader edits (`playground.ts`), and a server or a notebook's kernel that is asked (`live.ts`).
 * Whatever shows numbers knows this interface and none of the three.
 */
import type { ReadonlySignal } from "@preact/signals";
import { type Address, addressText } from "./address";
import type { Field } from "./cone";
import type { Split } from "./contributions";
import type { Note, Num, ReceiptDocument } from "./document";
import type { Network } from "./network";
import { MissingNumbers, receiptOf } from "./receipt";
import type { Box, Tensor } from "./tensor";

export interface Source {
  /** Steps, shapes, and the numbers that are here. Read `revision` before it, to be told of more. */
  readonly network: Network;
  /** Goes up when numbers arrive or change. */
  readonly revision: ReadonlySignal<number>;
  /** Ask for the numbers of a box; null where all are here, or none will come. */
  load(name: string, box: Box): Promise<void> | null;
  /** Explain one number. Throws, or rejects with, `NotHere` where it cannot. */
  receipt(address: Address): ReceiptDocument | Promise<ReceiptDocument>;
  /** Split a number over pixels and biases where the other side does that; null where it cannot. */
  split?(address: Address): Promise<Split | null>;
  /** What of some tensors a number can depend on, and what on it, where the other side knows. */
  reach?(address: Address, names: readonly string[]): Promise<Reached>;
  /** Why nobody answers; null while somebody does, or nobody is asked. */
  readonly lost?: ReadonlySignal<Lost | null>;
}

/** The server stopped, the kernel ended or was restarted, or the kernel has not answered yet. */
export type Lost = "server" | "kernel" | "silent";

/** Ask for numbers that are drawn. If none come they stay grey; the next receipt says why. */
export function want(source: Source, name: string, box: Box): void {
  source.load(name, box)?.catch(() => undefined);
}

/** Fields by name of the tensor, below a number and above it. */
export interface Reached {
  below: ReadonlyMap<string, Field>;
  above: ReadonlyMap<string, Field>;
}

/** Something was asked for that this page does not hold. `key` is a message of the catalogue. */
export class NotHere extends Error {
  constructor(
    readonly key: string,
    readonly values: Record<string, unknown>,
  ) {
    super(key);
  }
}

/**
 * Explain one number from what is here: a receipt that was made beforehand, the index law, or the
 * fact that the number was given. Throws `MissingNumbers` or `NotHere`.
 */
export function explain(
  network: Network,
  address: Address,
  made: ReadonlyMap<string, ReceiptDocument>,
): ReceiptDocument {
  const early = made.get(addressText(address.step, address.index));
  if (early) return early;
  const tensor = network.tensor(address.step);
  if (!tensor) throw new NotHere("page.missing.step", { name: address.step });
  if (!isInside(tensor, address.index)) {
    throw new NotHere("page.missing.position", {
      address: addressText(address.step, address.index),
      shape: tensor.shape.join(" × "),
    });
  }
  const text = addressText(tensor.name, address.index);
  const found = made.get(text) ?? receiptOf(network, tensor.name, address.index);
  if (found) return found;
  const value = tensor.at(address.index);
  if (value === undefined) {
    throw new MissingNumbers(tensor.name, { start: address.index, shape: address.index.map(() => 1) });
  }
  const step = network.step(address.step);
  if (!step) return withoutTerms(network, tensor, text, value, [`note.given.${tensor.origin}`, {}]);
  if (step.status !== "opaque") throw new NotHere("page.missing.receipt", { address: text });
  const operands = Object.values(step.operands).join(", ");
  const key = operands ? "note.opaque" : "note.opaque_source";
  return withoutTerms(network, tensor, text, value, [key, { kind: step.kind, operands }]);
}

/** The receipt of a number that was given, or that a step without a rule made. */
export function withoutTerms(
  network: Network,
  tensor: Tensor,
  address: string,
  value: Num,
  ...notes: Note[]
): ReceiptDocument {
  return {
    address,
    kind: network.step(tensor.name)?.kind ?? tensor.origin,
    status: "opaque",
    shape: [0],
    channels: [],
    inputs: [],
    weights: [],
    products: [],
    sources: [],
    weightAddresses: [],
    channelSums: [],
    bias: null,
    biasAddress: null,
    exact: value,
    bound: NaN,
    typical: NaN,
    reported: value,
    residual: 0,
    verdict: null,
    arithmetic: null,
    reporter: network.reporter,
    culprits: [],
    notes,
    format: "convtrace.receipt",
    version: 1,
  };
}

/** Explain one number; null where it cannot be, here. */
export function receiptHere(source: Source, address: Address): ReceiptDocument | Promise<ReceiptDocument> | null {
  try {
    return source.receipt(address);
  } catch (error) {
    if (error instanceof NotHere) return null;
    throw error;
  }
}

export function isInside(tensor: Tensor, index: readonly number[]): boolean {
  return (
    index.length === tensor.shape.length &&
    index.every((place, axis) => place >= 0 && place < tensor.shape[axis]!)
  );
}
