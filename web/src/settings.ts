/** What the playground can be set to, and why some settings are impossible. Knows no drawing. */
import { type Axis, extent, outputFormula, outputSize } from "./geometry";
import { sizeOf } from "./tensor";
import { upTo } from "./places";

export const PADDING_MODES = ["zeros", "reflect", "replicate", "circular"] as const;
export type PaddingMode = (typeof PADDING_MODES)[number];

/** One convolution. Lists have one entry an axis: rows and columns, or positions alone. */
export interface LayerSettings {
  name: string;
  /** Channels that it makes. */
  channels: number;
  kernel: readonly number[];
  stride: readonly number[];
  padding: readonly number[];
  mode: PaddingMode;
  dilation: readonly number[];
  groups: number;
  transposed: boolean;
  outputPadding: readonly number[];
  bias: boolean;
}

export interface Settings {
  /** Channels of the input. */
  channels: number;
  /** Rows and columns of the input, or positions alone. */
  size: readonly number[];
  layers: readonly LayerSettings[];
}

/** Settings of a layer that hold a number, or one for each axis. */
export type NumberField = "channels" | "kernel" | "stride" | "padding" | "dilation" | "groups" | "outputPadding";

/** Smallest and largest value of each number. */
export const LIMITS: Readonly<Record<NumberField | "size" | "input", readonly [number, number]>> = {
  input: [1, 16],
  size: [1, 64],
  channels: [1, 16],
  kernel: [1, 11],
  stride: [1, 8],
  padding: [0, 16],
  dilation: [1, 8],
  groups: [1, 16],
  outputPadding: [0, 7],
};
export const MOST_LAYERS = 4;
/** Numbers of one tensor, and products of one layer: all is computed again at each edit. */
const MOST_NUMBERS = 40_000;
const MOST_PRODUCTS = 4_000_000;

/** Why settings are impossible. `key` is a message of the catalogue below `page.playground.problem`. */
export interface Problem {
  key: string;
  values: Record<string, string | number>;
  /** Number of the layer; -1 for the input. */
  layer: number;
  field: NumberField | "size" | "input";
}

/** The settings of one axis as the index law takes them. Padding of other modes is a step before. */
export function axisOf(layer: LayerSettings, axis: number): Axis {
  const padding = layer.mode === "zeros" ? layer.padding[axis]! : 0;
  return {
    kernel: layer.kernel[axis]!,
    stride: layer.stride[axis]!,
    padding: [padding, padding],
    dilation: layer.dilation[axis]!,
    transposed: layer.transposed,
    outputPadding: layer.transposed ? layer.outputPadding[axis]! : 0,
  };
}

export const axesOf = (layer: LayerSettings): Axis[] =>
  layer.kernel.map((_, axis) => axisOf(layer, axis));

/** Whether a layer copies its padding from the input, in a step of its own before it. */
export const padsFirst = (layer: LayerSettings): boolean =>
  layer.mode !== "zeros" && layer.padding.some((size) => size > 0);

/** Sizes that the kernel slides over: those of the input, and of its copied padding. */
export const paddedSize = (layer: LayerSettings, size: readonly number[]): number[] =>
  size.map((one, axis) => one + (layer.mode === "zeros" ? 0 : 2 * layer.padding[axis]!));

/** Output sizes of a layer that reads `size`. */
export function sizeAfter(layer: LayerSettings, size: readonly number[]): number[] {
  const padded = paddedSize(layer, size);
  return padded.map((one, axis) => outputSize(axisOf(layer, axis), one));
}

/** Shape of the weight; a transposed one has its input channels first. */
export function weightShape(layer: LayerSettings, channelsIn: number): number[] {
  const { channels, groups, kernel, transposed } = layer;
  return transposed
    ? [channelsIn, channels / groups, ...kernel]
    : [channels, channelsIn / groups, ...kernel];
}

/** Channels and sizes that each layer reads, and at the end those of the output. */
export function shapesOf(settings: Settings): { channels: number; size: number[] }[] {
  const shapes = [{ channels: settings.channels, size: [...settings.size] }];
  for (const layer of settings.layers) {
    shapes.push({ channels: layer.channels, size: sizeAfter(layer, shapes.at(-1)!.size) });
  }
  return shapes;
}

/** Explain why settings are impossible: all problems of the first layer that has any. */
export function problemsOf(settings: Settings): Problem[] {
  const found = rangeProblems(settings);
  if (found.length) return found;
  let channels = settings.channels;
  let size = settings.size;
  for (const [n, layer] of settings.layers.entries()) {
    const problems = layerProblems(layer, n, channels, size);
    if (problems.length) return problems;
    size = sizeAfter(layer, size);
    channels = layer.channels;
  }
  return [];
}

/** What cannot be at all, and not in the playground alone: the message that says why. */
const TOO_SMALL: Readonly<Record<Problem["field"], string>> = {
  input: "no_channels",
  size: "no_size",
  channels: "no_channels",
  kernel: "no_kernel",
  stride: "no_stride",
  padding: "less_padding",
  dilation: "no_dilation",
  groups: "no_groups",
  outputPadding: "less_padding",
};

function rangeProblems(settings: Settings): Problem[] {
  const found: Problem[] = [];
  const check = (field: Problem["field"], layer: number, values: readonly number[]): void => {
    const [low, high] = LIMITS[field];
    const wrong = values.find((value) => !(Number.isInteger(value) && value >= low && value <= high));
    if (wrong === undefined) return;
    const value = isNaN(wrong) ? "?" : String(wrong).replace("-", "−");
    const key = wrong < low ? TOO_SMALL[field] : "range";
    found.push({ key, values: { value, low, high }, layer, field });
  };
  check("input", -1, [settings.channels]);
  check("size", -1, settings.size);
  settings.layers.forEach((layer, n) => {
    for (const field of ["kernel", "stride", "padding", "dilation", "outputPadding"] as const) {
      check(field, n, layer[field]);
    }
    check("channels", n, [layer.channels]);
    check("groups", n, [layer.groups]);
  });
  return found;
}

function layerProblems(
  layer: LayerSettings,
  n: number,
  channelsIn: number,
  size: readonly number[],
): Problem[] {
  const { name } = layer;
  const found: Problem[] = [];
  const add = (field: Problem["field"], key: string, values: Problem["values"] = {}): unknown =>
    found.push({ key, values: { name, ...values }, layer: n, field });
  const { groups, channels } = layer;
  if (channelsIn % groups || channels % groups) {
    const uneven = channelsIn % groups ? channelsIn : channels;
    add("groups", "groups", {
      groups, reads: channelsIn, makes: channels,
      division: `${uneven} / ${groups} = ${Math.floor(uneven / groups)} + ${uneven % groups}/${groups}`,
      choices: divisors(channelsIn, channels).join(", "),
    });
  }
  if (layer.transposed && padsFirst(layer)) add("padding", "mode", { mode: layer.mode });
  layer.kernel.forEach((_, axis) => {
    const [low, one] = [layer.padding[axis]!, size[axis]!];
    if (layer.mode === "reflect" && low >= one) add("padding", "reflect", { padding: low, size: one, most: one - 1 });
    if (layer.mode === "circular" && low > one) add("padding", "circular", { padding: low, size: one });
    const law = axisOf(layer, axis);
    const { outputPadding, stride, dilation } = law;
    if (law.transposed && outputPadding >= Math.max(stride, dilation)) {
      add("outputPadding", "output_padding", { outputPadding, stride, dilation, most: Math.max(stride, dilation) - 1 });
    }
    const padded = paddedSize(layer, size)[axis]!;
    if (outputSize(law, padded) >= 1) return;
    const formula = outputFormula(law, padded);
    if (law.transposed) {
      const most = Math.floor((outputSize(law, padded) + 2 * low - 1) / 2);
      add("padding", "cropped", { formula, padding: low, most });
      return;
    }
    const room = padded + law.padding[0] + law.padding[1];
    add("kernel", "fit", {
      formula, room, extent: extent(law), size: one, dilation, kernel: law.kernel,
      most: Math.floor((room - 1) / dilation) + 1, padding: Math.ceil((extent(law) - one) / 2),
    });
  });
  if (found.length) return unique(found);
  const after = sizeAfter(layer, size);
  const numbers = channels * sizeOf(after);
  const products = numbers * (channelsIn / groups) * sizeOf(layer.kernel);
  if (numbers > MOST_NUMBERS || products > MOST_PRODUCTS) {
    add(layer.transposed ? "stride" : "channels", "large", {
      numbers: numbers.toLocaleString("en"), products: products.toLocaleString("en"),
      most: MOST_NUMBERS.toLocaleString("en"), products_most: MOST_PRODUCTS.toLocaleString("en"),
    });
  }
  return found;
}

/** Rows and columns often have the same problem: it is told once. */
function unique(problems: Problem[]): Problem[] {
  const told = new Set<string>();
  return problems.filter((one) => {
    const text = JSON.stringify(one);
    return !told.has(text) && told.add(text);
  });
}

function divisors(...numbers: number[]): number[] {
  const most = Math.min(...numbers);
  return upTo(most).map((n) => n + 1).filter((n) => numbers.every((one) => one % n === 0));
}

/** A layer as PyTorch has it where nothing else is said. */
export function plainLayer(name: string, channels: number, kernel: readonly number[]): LayerSettings {
  const all = (value: number): number[] => kernel.map(() => value);
  return {
    name, channels, kernel, stride: all(1), padding: all(0), mode: "zeros", dilation: all(1),
    groups: 1, transposed: false, outputPadding: all(0), bias: false,
  };
}

/** The same settings with one axis less or more: the last axis stays. */
export function withAxes(settings: Settings, count: number): Settings {
  const change = (list: readonly number[]): number[] =>
    count > list.length ? [list.at(-1)!, ...list] : list.slice(-count);
  return {
    ...settings,
    size: change(settings.size),
    layers: settings.layers.map((layer) => ({
      ...layer,
      kernel: change(layer.kernel),
      stride: change(layer.stride),
      padding: change(layer.padding),
      dilation: change(layer.dilation),
      outputPadding: change(layer.outputPadding),
    })),
  };
}
