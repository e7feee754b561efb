/** What one output number of a convolution or a linear layer reads, by the index law. */
import { type Axis, type Tap, inputGroup, taps } from "./geometry";
import type { Network, Step } from "./network";
import type { Tensor } from "./tensor";
import { upTo } from "./places";

/** The settings of a step that is a sum of weight × input by the index law. */
export interface Law {
  axes: Axis[];
  /** Input size of each spatial axis. */
  sizes: number[];
  /** Output size of each spatial axis. */
  outputs: number[];
  /** Axes before the channels: 1 for a batch of samples, any number for a linear layer. */
  leading: number;
  groups: number;
  transposed: boolean;
  channelsIn: number;
  channelsOut: number;
  input: Tensor;
  weight: Tensor;
  bias: Tensor | null;
}

/** The window of one output number. */
export interface Window {
  law: Law;
  /** Position on the leading axes. */
  leading: readonly number[];
  outputChannel: number;
  /** First and last input channel; `last` is included. */
  channels: [number, number];
  taps: Tap[][];
}

/** The law of a step; null where the step follows none. */
export function lawOf(network: Network, step: Step): Law | null {
  if (step.kind !== "convolution" && step.kind !== "linear") return null;
  const input = network.tensor(step.operands["input"] ?? "");
  const weight = network.tensor(step.operands["weight"] ?? "");
  const output = network.tensor(step.name);
  if (!input || !weight || !output) return null;
  const bias = network.tensor(step.operands["bias"] ?? "") ?? null;
  if (step.kind === "linear") {
    const [channelsOut, channelsIn] = weight.shape as [number, number];
    const leading = input.shape.length - 1;
    return {
      axes: [], sizes: [], outputs: [], leading, groups: 1, transposed: false,
      channelsIn, channelsOut, input, weight, bias,
    };
  }
  const settings = step.attributes as unknown as ConvolutionAttributes;
  const leading = settings.batched ? 1 : 0;
  const { groups, transposed } = settings;
  const [first, second] = weight.shape as [number, number];
  const axes = weight.shape.slice(2).map((kernel, axis) => ({
    kernel,
    stride: settings.stride[axis]!,
    padding: settings.padding[axis]!,
    dilation: settings.dilation[axis]!,
    transposed,
    outputPadding: settings.output_padding[axis]!,
  }));
  return {
    axes,
    sizes: input.shape.slice(leading + 1),
    outputs: output.shape.slice(leading + 1),
    leading,
    groups,
    transposed,
    channelsIn: transposed ? first : second * groups,
    channelsOut: transposed ? second * groups : first,
    input,
    weight,
    bias,
  };
}

/** Canonical settings of a convolution, one entry an axis. */
export interface ConvolutionAttributes {
  stride: number[];
  padding: [number, number][];
  dilation: number[];
  output_padding: number[];
  groups: number;
  transposed: boolean;
  batched: boolean;
}

/** Find the window of the output number at a position. */
export function windowOf(law: Law, index: readonly number[]): Window {
  const at = law.axes.length ? law.leading : index.length - 1;
  const outputChannel = index[at]!;
  return {
    law,
    leading: index.slice(0, at),
    outputChannel,
    channels: inputGroup(outputChannel, law.channelsOut, law.channelsIn, law.groups),
    taps: law.axes.map((axis, n) => taps(axis, law.sizes[n]!, index[at + 1 + n]!)),
  };
}

/** Position in the weight of one term: input channel (of the whole input) and kernel position. */
export function weightIndex(window: Window, channel: number, kernel: readonly number[]): number[] {
  const { law, channels, outputChannel } = window;
  if (law.transposed) {
    return [channel, outputChannel % Math.floor(law.channelsOut / law.groups), ...kernel];
  }
  return [outputChannel, channel - channels[0], ...kernel];
}

/** Position in the input of one term; null on padding. */
export function sourceIndex(
  window: Window,
  channel: number,
  kernel: readonly number[],
): number[] | null {
  const index = [...window.leading, channel];
  for (let axis = 0; axis < kernel.length; axis += 1) {
    const source = window.taps[axis]![kernel[axis]!]!.source;
    if (source === null) return null;
    index.push(source);
  }
  return index;
}

/** Every choice of one item from each list, last list fastest. */
export function* product<T>(lists: readonly (readonly T[])[]): Generator<T[]> {
  const [first, ...others] = lists;
  if (!first) {
    yield [];
    return;
  }
  for (const item of first) {
    for (const rest of product(others)) yield [item, ...rest];
  }
}

/** Every position of a shape, last axis fastest. */
export function positions(shape: readonly number[]): Generator<number[]> {
  return product(shape.map(upTo));
}
