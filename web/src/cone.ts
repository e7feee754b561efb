/** The receptive field of one number: in every tensor below it, the box that it can depend on. */
import { lawOf, usesOfInput, windowOf } from "./convolution";
import type { Network, Step } from "./network";
import type { Box } from "./tensor";

/** First and last position on each axis, both included. */
export type Span = [low: number, high: number][];

/**
 * Find what one number depends on.
 *
 * Convolutions and linear layers by the index law, pools by their windows, a step that keeps the places
 * of its operand at the same place; of anything else every number is taken, which is never too little.
 */
export function cone(network: Network, name: string, index: readonly number[]): Map<string, Span> {
  const found = new Map<string, Span>([[name, index.map((place) => [place, place])]]);
  for (const step of [...network.steps.values()].reverse()) {
    const span = found.get(step.name);
    if (!span) continue;
    for (const [role, operand] of Object.entries(step.operands)) {
      const origin = network.tensor(operand)?.origin;
      if (origin !== "step" && origin !== "input") continue;
      const below = spanBelow(network, step, role, span);
      const known = found.get(operand);
      found.set(operand, known ? join(known, below) : below);
    }
  }
  return found;
}

function spanBelow(network: Network, step: Step, role: string, span: Span): Span {
  const operand = network.tensor(step.operands[role]!)!;
  const shape = network.tensor(step.name)!.shape;
  const law = role === "input" ? lawOf(network, step) : null;
  const every: Span = operand.shape.map((size) => [0, size - 1]);
  if (!law) {
    if (keepsPlaces(step, shape, operand.shape)) return span;
    return pooled(step, span, operand.shape, false) ?? every;
  }
  const low = windowOf(law, span.map(([first]) => first));
  const high = windowOf(law, span.map(([, last]) => last));
  const leading = law.axes.length ? law.leading : span.length - 1;
  return [
    ...span.slice(0, leading),
    [low.channels[0], high.channels[1]],
    ...law.axes.map((_, axis): [number, number] => {
      const reads = [...low.taps[axis]!, ...high.taps[axis]!].flatMap((tap) => tap.source ?? []);
      return reads.length ? [Math.min(...reads), Math.max(...reads)] : [0, -1];
    }),
  ];
}

/** Whether each number of a step depends on the one at its own place only. */
function keepsPlaces(step: Step, shape: readonly number[], operand: readonly number[]): boolean {
  const same = shape.length === operand.length && shape.every((n, axis) => n === operand[axis]);
  // Statistics of the data mix all places; stored ones, of an evaluated batch norm, do not.
  const stored = step.kind === "native_batch_norm" && step.status === "linear";
  return same && (stored || !MIXES.test(step.kind));
}

/** Kinds that mix positions although they keep the shape. */
const MIXES = /norm|softmax|pool|cumsum|flip|roll|fft|sort|mm$|matmul|resize|permute|transpose/;

/** Follow a pool down to what its window covers, or up to the windows that cover a place. */
function pooled(step: Step, span: Span, shape: readonly number[], up: boolean): Span | null {
  if (!/^(max|avg)_pool\dd/.test(step.kind)) return null;
  const settings = step.attributes as Partial<Record<string, number[]>>;
  const { kernel_size: kernel, stride, padding, dilation } = settings;
  if (!kernel || !stride || !padding) return null;
  const leading = shape.length - kernel.length;
  return span.map(([low, high], axis) => {
    const n = axis - leading;
    if (n < 0) return [low, high];
    const reach = (kernel[n]! - 1) * (dilation?.[n] ?? 1);
    const [first, last] = up
      ? [Math.ceil((low + padding[n]! - reach) / stride[n]!), Math.floor((high + padding[n]!) / stride[n]!)]
      : [low * stride[n]! - padding[n]!, high * stride[n]! - padding[n]! + reach];
    return [Math.max(first, 0), Math.min(last, shape[axis]! - 1)];
  });
}

function join(left: Span, right: Span): Span {
  return left.map(([low, high], axis) => {
    const [other, end] = right[axis]!;
    if (high < low) return [other, end];
    if (end < other) return [low, high];
    return [Math.min(low, other), Math.max(high, end)];
  });
}

/**
 * Find everything that one number goes into: in every tensor above it, the box of numbers that depend
 * on it. By the index law, or by equal shapes; through anything else every number is taken.
 */
export function reach(network: Network, name: string, index: readonly number[]): Map<string, Span> {
  const found = new Map<string, Span>([[name, index.map((place) => [place, place])]]);
  for (const step of network.steps.values()) {
    for (const [role, operand] of Object.entries(step.operands)) {
      const span = found.get(operand);
      if (!span || span.some(([low, high]) => high < low)) continue;
      const above = spanAbove(network, step, role, span);
      const known = found.get(step.name);
      found.set(step.name, known ? join(known, above) : above);
    }
  }
  return found;
}

function spanAbove(network: Network, step: Step, role: string, span: Span): Span {
  const operand = network.tensor(step.operands[role]!)!;
  const shape = network.tensor(step.name)!.shape;
  const every: Span = shape.map((size) => [0, size - 1]);
  const law = lawOf(network, step);
  if (!law) {
    if (keepsPlaces(step, shape, operand.shape)) return span;
    return pooled(step, span, shape, true) ?? every;
  }
  const uses = (index: number[]): number[][] =>
    role === "input" ? usesOfInput(law, index).map((use) => use.output) : [];
  if (role === "weight" || role === "bias") {
    const axis = law.axes.length ? law.leading : shape.length - 1;
    const [first, second] = [span[0]!, span[1]];
    const each = law.channelsOut / law.groups;
    every[axis] =
      role === "weight" && law.transposed && second
        ? [Math.floor(first[0] / (law.channelsIn / law.groups)) * each + second[0],
           Math.floor(first[1] / (law.channelsIn / law.groups)) * each + second[1]]
        : first;
    return every;
  }
  const places = corners(span).flatMap(uses);
  if (!places.length) return shape.map(() => [0, -1]);
  return shape.map((_, axis) => [
    Math.min(...places.map((place) => place[axis]!)),
    Math.max(...places.map((place) => place[axis]!)),
  ]);
}

/** The corners of a box: of a window that slides, they bound what lies between them. */
function corners(span: Span): number[][] {
  return span.reduce<number[][]>(
    (found, [low, high]) =>
      found.flatMap((place) => (low === high ? [[...place, low]] : [[...place, low], [...place, high]])),
    [[]],
  );
}

export const boxOf = (span: Span): Box => ({
  start: span.map(([low]) => low),
  shape: span.map(([low, high]) => Math.max(high - low + 1, 0)),
});
