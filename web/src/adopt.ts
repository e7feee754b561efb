/** Turns a network that was recorded into a stack that can be edited, where it is one. */
import type { ConvolutionAttributes } from "./convolution";
import type { Network, Step } from "./network";
import { wholeOf } from "./playground";
import { type LayerSettings, MOST_LAYERS, PADDING_MODES, type PaddingMode, problemsOf } from "./settings";
import { type Given, type Stack, makeStack } from "./stack";

/**
 * Read a network as a stack of convolutions.
 *
 * Returns null where it is none: where something else than a convolution ran, one reads anything but
 * the one before it, it is too large to be computed again at each edit, or numbers are not here.
 */
export function stackOf(network: Network): Stack | null {
  const inputs = [...network.tensors.values()].filter(({ origin }) => origin === "input");
  const input = inputs[0];
  if (inputs.length !== 1 || !input || input.shape[0] !== 1 || input.dtype !== "float32") return null;
  const layers: LayerSettings[] = [];
  const steps: Step[] = [];
  let below = input.name;
  let padding: { mode: PaddingMode; sizes: number[] } | null = null;
  for (const step of network.steps.values()) {
    if (step.operands["input"] !== below) return null;
    below = step.name;
    if (step.kind === "pad" && !padding) {
      padding = paddingOf(step);
      if (!padding) return null;
      continue;
    }
    const layer = step.kind === "convolution" ? layerOf(network, step, padding) : null;
    if (!layer) return null;
    layers.push(layer);
    steps.push(step);
    padding = null;
  }
  const [, channels, ...size] = input.shape as [number, number, ...number[]];
  const settings = { channels, size, layers };
  const axes = size.length === 1 || size.length === 2;
  if (!axes || padding || !layers.length || layers.length > MOST_LAYERS || problemsOf(settings).length) return null;
  return filled(network, makeStack(settings), input.name, steps);
}

function paddingOf(step: Step): { mode: PaddingMode; sizes: number[] } | null {
  const { padding, mode } = step.attributes as { padding: [number, number][]; mode: PaddingMode };
  const spatial = padding.slice(2);
  if (!PADDING_MODES.includes(mode) || spatial.some(([low, high]) => low !== high)) return null;
  return { mode, sizes: spatial.map(([low]) => low) };
}

function layerOf(
  network: Network,
  step: Step,
  padded: { mode: PaddingMode; sizes: number[] } | null,
): LayerSettings | null {
  const attributes = step.attributes as unknown as ConvolutionAttributes;
  const { stride, padding, dilation, groups, transposed, output_padding, batched } = attributes;
  const [weight, output] = [network.tensor(step.operands["weight"] ?? ""), network.tensor(step.name)];
  if (!weight || !output || !batched || padding.some(([low, high]) => low !== high)) return null;
  if (padded && padding.some(([low]) => low > 0)) return null;
  return {
    name: step.name,
    channels: output.shape[1]!,
    kernel: weight.shape.slice(2),
    stride,
    padding: padded ? padded.sizes : padding.map(([low]) => low),
    mode: padded ? padded.mode : "zeros",
    dilation,
    groups,
    transposed,
    outputPadding: output_padding,
    bias: "bias" in step.operands,
  };
}

/** Put the network's numbers into a stack; null where some are not here, or not float32. */
function filled(network: Network, stack: Stack, input: string, steps: readonly Step[]): Stack | null {
  let complete = true;
  const take = <G extends Given>(given: G, name: string | undefined): G => {
    const tensor = network.tensor(name ?? "");
    const values = tensor && tensor.dtype === "float32" ? wholeOf(tensor) : null;
    if (!values) {
      complete = false;
      return given;
    }
    const same = values.every((value, place) => Object.is(value, given.values[place]));
    return same ? given : { ...given, preset: "own", values };
  };
  const made = {
    ...stack,
    input: take(stack.input, input),
    weights: stack.weights.map((given, n) => take(given, steps[n]!.operands["weight"])),
    biases: stack.biases.map((given, n) => given && take(given, steps[n]!.operands["bias"])),
  };
  // A bias is filled by the preset of its weight; its own numbers stay, as edits on top of it.
  return complete
    ? { ...made, biases: made.biases.map((given, n) => given && { ...given, preset: made.weights[n]!.preset }) }
    : null;
}
