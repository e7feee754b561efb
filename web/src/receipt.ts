/** Receipts that follow from recorded numbers by the index law. They know nothing of drawing. */
import { addressText } from "./address";
import { addUp, judge } from "./arithmetic";
import { lawOf, positions, sourceIndex, weightIndex, windowOf } from "./convolution";
import type { Num, ReceiptDocument } from "./document";
import { sum } from "./exact";
import type { Network } from "./network";
import { type Box, type Tensor, sizeOf } from "./tensor";
import { upTo } from "./places";

/** Numbers that a receipt needs are not here. */
export class MissingNumbers extends Error {
  constructor(
    readonly tensor: string,
    readonly box: Box,
  ) {
    super();
  }
}

/**
 * Make the receipt of one number of a convolution or a linear layer.
 *
 * Returns null where the step is of another kind, or nothing has this name.
 * Throws `MissingNumbers` where a number that it needs is not here.
 */
export function receiptOf(
  network: Network,
  name: string,
  index: readonly number[],
): ReceiptDocument | null {
  const step = network.step(name);
  const output = network.tensor(name);
  const law = step && lawOf(network, step);
  if (!step || !output || !law) return null;
  const window = windowOf(law, index);
  const [first, last] = window.channels;
  const kernel = law.axes.map((axis) => axis.kernel);
  const shape = [last - first + 1, ...kernel];
  const channels = upTo(shape[0]!).map((n) => first + n);
  const count = sizeOf(shape);

  const inputs: Num[] = new Array(count);
  const weights: Num[] = new Array(count);
  const present: boolean[] = new Array(count);
  const sources: (string | null)[] = new Array(count);
  const weightAddresses: (string | null)[] = new Array(count);
  const places = [...positions(kernel)].map((place) => ({
    from: weightIndex(window, first, place),
    source: sourceIndex(window, first, place),
  }));
  const [inputAxis, weightAxis] = [window.leading.length, law.transposed ? 0 : 1];
  for (let at = 0; at < count; at += 1) {
    const { from, source } = places[at % places.length]!;
    weights[at] = need(law.weight, from);
    weightAddresses[at] = addressText(law.weight.name, from);
    present[at] = source !== null;
    inputs[at] = source ? need(law.input, source) : 0;
    sources[at] = source && addressText(law.input.name, source);
    // The next time this place comes, it is that of the next channel.
    from[weightAxis]! += 1;
    if (source) source[inputAxis]! += 1;
  }
  const biasIndex = [window.outputChannel];
  const bias = law.bias ? need(law.bias, biasIndex) : null;
  const tapsPresent = present.slice(0, count / shape[0]!).filter(Boolean).length;
  const judged = judge(
    { inputs, weights, present, bias },
    {
      dtype: output.dtype,
      dtypes: [law.input.dtype, law.weight.dtype, ...(law.bias ? [law.bias.dtype] : []), output.dtype],
      formats: step.formats,
      tapsPresent,
    },
    need(output, index),
  );
  const each = count / shape[0]!;
  return {
    address: addressText(step.name, index),
    kind: step.kind,
    status: step.status,
    shape,
    channels,
    inputs,
    weights,
    sources,
    weightAddresses,
    channelSums: channels.map((_, n) => addUp(judged.products.slice(n * each, (n + 1) * each), sum)),
    bias,
    biasAddress: law.bias && addressText(law.bias.name, biasIndex),
    arithmetic: step.arithmetic,
    reporter: network.reporter,
    format: "convtrace.receipt",
    version: 1,
    ...judged,
  };
}

function need(tensor: Tensor, index: readonly number[]): Num {
  const value = tensor.at(index);
  if (value === undefined) {
    throw new MissingNumbers(tensor.name, { start: index, shape: index.map(() => 1) });
  }
  return value;
}
