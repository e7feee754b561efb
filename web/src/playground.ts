/** Numbers that the page computes itself, from settings and numbers that the reader changes. */
import { type ReadonlySignal, computed, signal } from "@preact/signals";
import { type Address, addressText } from "./address";
import { convolve, copied, pad } from "./compute";
import { positions } from "./convolution";
import type { ArithmeticDocument, ReceiptDocument } from "./document";
import { History } from "./history";
import { Network, type Step } from "./network";
import type { Reading } from "./reading";
import { type Problem, type Settings, padsFirst, problemsOf, shapesOf } from "./settings";
import { type Source, explain, isInside, withoutTerms } from "./source";
import { type Stack, findGiven, givensOf, lawsOf, readBy, withNumber, withSettings } from "./stack";
import { Tensor, sizeOf } from "./tensor";
import { upTo } from "./places";

/** Who computed the numbers, in receipts. */
export const REPORTER = "page";

/** Sums are kept in float64 and rounded once: see `compute.ts`. */
const FORMATS: ArithmeticDocument = {
  operands: "float32",
  accumulate: "float64",
  result: "float32",
  partialSums: false,
  flushes: false,
};
const ARITHMETIC = "float32 × float32, float64 sums, float32 result";

export class PlaygroundSource implements Source {
  readonly history: History<Stack>;
  readonly stack: ReadonlySignal<Stack>;
  readonly revision: ReadonlySignal<number>;
  /** Settings that were asked for and are impossible; null while what is asked for is shown. */
  readonly draft = signal<Settings | null>(null);
  readonly problems = computed<readonly Problem[]>(() => (this.draft.value ? problemsOf(this.draft.value) : []));
  private readonly built: ReadonlySignal<Network>;
  private outputs = new Map<string, Output>();

  constructor(
    /** What it began with. */
    readonly first: Stack,
    /** Whether the reader may change anything. */
    readonly editable = true,
  ) {
    this.history = new History(first);
    this.stack = this.history.now;
    this.built = computed(() => this.build(this.stack.value));
    let revision = 0;
    this.revision = computed(() => {
      void this.built.value;
      revision += 1;
      return revision;
    });
  }

  get network(): Network {
    return this.built.value;
  }

  load(): null {
    return null;
  }

  receipt(address: Address): ReceiptDocument {
    const receipt = padReceipt(this.network, address);
    return receipt ?? explain(this.network, address, new Map());
  }

  canEdit(address: string | null): boolean {
    return this.editable && address !== null && findGiven(this.stack.peek(), address) !== null;
  }

  /** A number that was given; undefined where the address is of none. */
  valueOf(address: string): number | undefined {
    const found = findGiven(this.stack.value, address);
    return found?.given.values[found.place];
  }

  /** Change one number; it is rounded to float32. Changes in a row with one tag are undone as one. */
  edit(address: string, value: number, tag: string | null = null): void {
    const made = withNumber(this.stack.peek(), address, value);
    if (made) this.history.push(made, tag);
  }

  /** Change the settings, or show why they are impossible. */
  set(settings: Settings, tag: string | null = null): void {
    if (problemsOf(settings).length) {
      this.draft.value = settings;
      return;
    }
    this.draft.value = null;
    this.history.push(withSettings(this.stack.peek(), settings), tag);
  }

  put(stack: Stack): void {
    this.draft.value = null;
    this.history.push(stack);
  }

  undo(): void {
    if (this.draft.peek()) this.draft.value = null;
    else this.history.undo();
  }

  redo(): void {
    this.history.redo();
  }

  /** Build the network. What reads the same numbers by the same settings is not computed again. */
  private build(stack: Stack): Network {
    const { settings } = stack;
    const network = new Network(REPORTER);
    for (const [name, given] of givensOf(stack)) {
      const origin = name === "input" ? "input" : "parameter";
      network.tensors.set(name, tensorOf(name, origin, given.shape, given.values));
    }
    const shapes = shapesOf(settings);
    const known = this.outputs;
    this.outputs = new Map();
    const once = (name: string, parts: readonly unknown[], compute: () => Float32Array): Float32Array => {
      const before = known.get(name);
      const same = before?.parts.length === parts.length && parts.every((part, n) => part === before.parts[n]);
      const values = same ? before!.values : compute();
      this.outputs.set(name, { parts, values });
      return values;
    };
    let values = stack.input.values;
    let below = "input";
    for (const [n, law] of lawsOf(settings).entries()) {
      const layer = settings.layers[n]!;
      const { channels, size } = shapes[n]!;
      const key = JSON.stringify([law, layer.mode, layer.padding]);
      if (padsFirst(layer)) {
        const from = values;
        const name = readBy(settings, n);
        values = once(name, [key, from], () => pad(layer.mode, layer.padding, channels, size, from));
        const pads = [[0, 0], [0, 0], ...layer.padding.map((one) => [one, one])];
        network.add(
          stepOf(name, "pad", "selects", { padding: pads, mode: layer.mode, value: null }, { input: below }),
          tensorOf(name, "step", [1, channels, ...law.sizes], values),
        );
        network.reads(name, ["input"], [padReading(layer.mode, layer.padding, size)]);
        below = name;
      }
      const { weights, biases } = stack;
      const [from, weight, bias] = [values, weights[n]!.values, biases[n]?.values ?? null];
      values = once(layer.name, [key, from, weight, bias], () => convolve(law, 1, from, weight, bias));
      const { name } = layer;
      network.add(
        stepOf(name, "convolution", "linear", attributesOf(law), {
          input: below,
          weight: `${name}.weight`,
          ...(bias ? { bias: `${name}.bias` } : {}),
        }),
        tensorOf(name, "step", [1, law.channelsOut, ...law.outputs], values),
      );
      below = name;
    }
    return network;
  }
}

interface Output {
  /** What it was computed from. */
  parts: readonly unknown[];
  values: Float32Array;
}

function attributesOf(law: ReturnType<typeof lawsOf>[number]): Record<string, unknown> {
  const { axes, groups } = law;
  return {
    stride: axes.map((axis) => axis.stride),
    padding: axes.map((axis) => axis.padding),
    dilation: axes.map((axis) => axis.dilation),
    groups,
    transposed: axes.some((axis) => axis.transposed),
    output_padding: axes.map((axis) => axis.outputPadding),
    batched: true,
  };
}

function stepOf(
  name: string,
  kind: string,
  status: Step["status"],
  attributes: Record<string, unknown>,
  operands: Record<string, string>,
): Step {
  return { name, kind, status, attributes, operands, module: null, arithmetic: ARITHMETIC, formats: FORMATS };
}

function tensorOf(name: string, origin: string, shape: readonly number[], values: Float32Array): Tensor {
  const tensor = new Tensor(name, origin, "float32", shape);
  tensor.boxes.push({ start: shape.map(() => 0), shape, values });
  return tensor;
}

/** Which positions a padded number was copied from. */
function padReading(mode: Parameters<typeof copied>[0], padding: readonly number[], sizes: readonly number[]): Reading {
  return [
    0,
    1,
    ...sizes.map((size, n) => {
      const low = padding[n]!;
      const runs = upTo(size + 2 * low).map((place) => [1, 0, copied(mode, size, place - low)]);
      return { lines: [{ axis: n + 2, advance: 0, runs }], fixed: [[0, 1]] };
    }),
  ];
}

/** The receipt of a padded number, which was copied; null where the step is another one. */
function padReceipt(network: Network, { step: name, index }: Address): ReceiptDocument | null {
  const step = network.step(name);
  const output = network.tensor(name);
  if (step?.kind !== "pad" || !output || !isInside(output, index)) return null;
  const input = network.tensor(step.operands["input"]!)!;
  const { padding, mode } = step.attributes as { padding: [number, number][]; mode: "reflect" };
  const from = index.map((place, axis) => {
    const low = padding[axis]![0];
    return low ? copied(mode, input.shape[axis]!, place - low) : place;
  });
  const value = input.at(from)!;
  return {
    ...withoutTerms(network, output, addressText(name, index), value),
    status: step.status,
    shape: [1],
    channels: [0],
    inputs: [value],
    weights: [1],
    products: [value],
    sources: [addressText(input.name, from)],
    weightAddresses: [null],
    channelSums: [value],
    bound: 0,
    typical: 0,
    verdict: "exact",
    arithmetic: ARITHMETIC,
  };
}

/** Every number of a tensor, in row-major order; undefined where some are not here. */
export function wholeOf(tensor: Tensor): Float32Array | null {
  const values = new Float32Array(sizeOf(tensor.shape));
  let at = 0;
  for (const index of positions(tensor.shape)) {
    const value = tensor.at(index);
    if (typeof value !== "number") return null;
    values[at] = value;
    at += 1;
  }
  return values;
}
