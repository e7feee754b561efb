/**
 * A stack of convolutions that the reader edits: settings, and the numbers that were given.
 *
 * A `Stack` is never changed; every edit makes another one that shares what stayed the same. So undo
 * keeps old ones, and whoever computes sees at a glance what is new.
 */
import { parseAddress } from "./address";
import { type InputPreset, KERNEL_SIZE, type KernelPreset, biasNumbers, inputNumbers, kernelNumbers } from "./presets";
import {
  type LayerSettings,
  type Settings,
  axesOf,
  padsFirst,
  paddedSize,
  shapesOf,
  weightShape,
} from "./settings";

/** Numbers that were given: an input, a weight or a bias. */
export interface Given<Preset extends string = string> {
  /** What they were filled with; edits stay on top of it. */
  preset: Preset;
  shape: readonly number[];
  values: Float32Array;
}

export interface Stack {
  settings: Settings;
  /** Seed of what is random. */
  seed: number;
  input: Given<InputPreset>;
  weights: readonly Given<KernelPreset>[];
  biases: readonly (Given<KernelPreset> | null)[];
}

/** Make a stack from settings that are possible. */
export function makeStack(
  settings: Settings,
  input: InputPreset = "counting",
  kernels: readonly KernelPreset[] = [],
  seed = 0,
): Stack {
  return refill(settings, seed, input, settings.layers.map((_, n) => kernels[n] ?? "snippet"), null);
}

/** Change the settings. Numbers that were edited stay where there is still a place for them. */
export function withSettings(stack: Stack, settings: Settings): Stack {
  return refill(settings, stack.seed, stack.input.preset, settings.layers.map((layer, n) =>
    fitting(stack.weights[n]?.preset ?? stack.weights.at(-1)!.preset, layer)), stack);
}

/** Fill the input, or the kernels of a layer (and its bias), from a preset. */
export function withInput(stack: Stack, preset: InputPreset): Stack {
  const { channels, size } = stack.settings;
  return { ...stack, input: { ...stack.input, preset, values: inputNumbers(preset, channels, size, stack.seed) } };
}

export function withKernels(stack: Stack, n: number, preset: KernelPreset): Stack {
  const wanted = KERNEL_SIZE[preset];
  const layers = stack.settings.layers.map((layer, m) =>
    m === n && wanted ? { ...layer, kernel: layer.kernel.map(() => wanted) } : layer);
  const weights = stack.weights.map((given, m) => (m === n ? { ...given, preset } : given));
  return refill({ ...stack.settings, layers }, stack.seed, stack.input.preset,
    weights.map((given) => given.preset), stack, n);
}

/** Draw everything that is random anew. */
export function withSeed(stack: Stack, seed: number): Stack {
  let made: Stack = { ...stack, seed };
  if (stack.input.preset === "random") made = withInput(made, "random");
  stack.weights.forEach((given, n) => {
    if (given.preset === "random") made = withKernels(made, n, "random");
  });
  return made;
}

/** Replace all numbers of the input. */
export function withInputNumbers(stack: Stack, values: Float32Array): Stack {
  return { ...stack, input: { ...stack.input, preset: "own", values } };
}

/** Change one number; null where there is none to change at this address. */
export function withNumber(stack: Stack, address: string, value: number): Stack | null {
  const found = findGiven(stack, address);
  if (!found) return null;
  const { given, place } = found;
  if (Object.is(given.values[place], Math.fround(value))) return stack;
  const values = Float32Array.from(given.values);
  values[place] = value;
  const change = <G extends Given | null>(one: G): G => (one === given ? { ...one, values } : one);
  return {
    ...stack,
    input: change(stack.input),
    weights: stack.weights.map(change),
    biases: stack.biases.map(change),
  };
}

/** The given tensor in which an address lies, and the place there. */
export function findGiven(stack: Stack, address: string): { given: Given; place: number } | null {
  const at = parseAddress(address);
  if (!at) return null;
  for (const [name, given] of givensOf(stack)) {
    if (name !== at.step || at.index.length !== given.shape.length) continue;
    let place = 0;
    for (const [axis, size] of given.shape.entries()) {
      if (at.index[axis]! >= size) return null;
      place = place * size + at.index[axis]!;
    }
    return { given, place };
  }
  return null;
}

/** All tensors that were given, by name. */
export function givensOf(stack: Stack): [string, Given][] {
  return [
    ["input", stack.input],
    ...stack.settings.layers.flatMap(({ name }, n): [string, Given][] => {
      const bias = stack.biases[n];
      return [[`${name}.weight`, stack.weights[n]!], ...(bias ? [[`${name}.bias`, bias] as [string, Given]] : [])];
    }),
  ];
}

/** What a tensor held before it was edited. */
export function untouched(stack: Stack, name: string): Float32Array {
  const { settings, seed } = stack;
  if (name === "input") return inputNumbers(stack.input.preset, settings.channels, settings.size, seed);
  const n = settings.layers.findIndex((layer) => name.startsWith(`${layer.name}.`));
  const layer = settings.layers[n]!;
  const given = stack.weights[n]!;
  if (name.endsWith(".bias")) return biasNumbers(given.preset, layer.channels, seed + n);
  return kernelNumbers(given.preset, layer, given.shape, seed + n);
}

/** Settings of the index law of each layer, with the sizes that its kernel slides over. */
export function lawsOf(settings: Settings) {
  const shapes = shapesOf(settings);
  return settings.layers.map((layer, n) => ({
    axes: axesOf(layer),
    sizes: paddedSize(layer, shapes[n]!.size),
    outputs: shapes[n + 1]!.size,
    groups: layer.groups,
    channelsIn: shapes[n]!.channels,
    channelsOut: layer.channels,
  }));
}

/** Name of the tensor that a layer's kernel slides over. */
export function readBy(settings: Settings, n: number): string {
  const layer = settings.layers[n]!;
  if (padsFirst(layer)) return `${layer.name}.pad`;
  return n ? settings.layers[n - 1]!.name : "input";
}

/** Kernels of a fixed size give way where the layer has another one. */
function fitting(preset: KernelPreset, layer: LayerSettings): KernelPreset {
  const wanted = KERNEL_SIZE[preset];
  return wanted && layer.kernel.some((size) => size !== wanted) ? "snippet" : preset;
}

function refill(
  settings: Settings,
  seed: number,
  input: InputPreset,
  kernels: readonly KernelPreset[],
  old: Stack | null,
  fresh = -1,
): Stack {
  const shapes = shapesOf(settings);
  const inputShape = [1, settings.channels, ...settings.size];
  const made: Stack = {
    settings,
    seed,
    input: { preset: input, shape: inputShape, values: inputNumbers(input, settings.channels, settings.size, seed) },
    weights: settings.layers.map((layer, n) => {
      const [preset, shape] = [kernels[n]!, weightShape(layer, shapes[n]!.channels)];
      return { preset, shape, values: kernelNumbers(preset, layer, shape, seed + n) };
    }),
    biases: settings.layers.map((layer, n) => layer.bias
      ? { preset: kernels[n]!, shape: [layer.channels], values: biasNumbers(kernels[n]!, layer.channels, seed + n) }
      : null),
  };
  if (!old) return made;
  const base = (name: string): Float32Array => untouched(old, name);
  const before = old.settings.layers;
  return {
    ...made,
    input: keep(made.input, old.input, () => base("input")),
    weights: made.weights.map((given, n) =>
      n !== fresh && before[n] ? keep(given, old.weights[n]!, () => base(`${before[n]!.name}.weight`)) : given),
    biases: made.biases.map((given, n) =>
      n !== fresh && given && old.biases[n] ? keep(given, old.biases[n]!, () => base(`${before[n]!.name}.bias`)) : given),
  };
}

/** Put the edits of a tensor onto its new version; the old one itself where nothing is different. */
function keep<G extends Given>(made: G, old: G, base: () => Float32Array): G {
  if (made.preset !== old.preset) return made;
  const sameShape = made.shape.join() === old.shape.join();
  const before = base();
  for (let place = 0; place < before.length; place += 1) {
    if (Object.is(before[place], old.values[place])) continue;
    const to = sameShape ? place : placeIn(made.shape, old.shape, place);
    if (to >= 0) made.values[to] = old.values[place]!;
  }
  const same = sameShape && made.values.every((value, place) => Object.is(value, old.values[place]));
  return same ? old : made;
}

/** The place in one shape that has the same position in another; -1 where there is none. */
function placeIn(shape: readonly number[], from: readonly number[], place: number): number {
  // After a change between one and two axes, the last axis keeps its meaning.
  if (shape.length !== from.length) return -1;
  let [to, step] = [0, 1];
  for (let axis = from.length - 1; axis >= 0; axis -= 1) {
    const at = place % from[axis]!;
    place = Math.floor(place / from[axis]!);
    if (at >= shape[axis]!) return -1;
    to += at * step;
    step *= shape[axis]!;
  }
  return to;
}
