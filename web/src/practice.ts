/** Exercises: a small convolution of whole numbers, of which one number is hidden. No drawing. */
import { addressText } from "./address";
import { receiptOf } from "./receipt";
import { PlaygroundSource } from "./playground";
import { draw, generator } from "./presets";
import { type LayerSettings, type Settings, plainLayer, problemsOf, shapesOf } from "./settings";
import { type Stack, makeStack } from "./stack";

/** Which exercise: the same level and seed always give the same one. */
export interface Practice {
  level: number;
  seed: number;
}

export const LEVELS = [1, 2, 3] as const;
export const MOST_SEED = 999_999;

export const KINDS = ["output", "product", "shape"] as const;
export type Kind = (typeof KINDS)[number];

export interface Exercise {
  kind: Kind;
  /** The convolution, with all its numbers. */
  stack: Stack;
  /** The number that is asked for, or whose terms are; of a shape, the last number. */
  address: string;
  /** Which product is hidden, counted through the receipt; of other kinds -1. */
  product: number;
  /** What is to be typed in: one number, or rows and columns. */
  answers: readonly number[];
}

export const practiceText = ({ level, seed }: Practice): string => `${level}.${seed}`;

/** Read what `practiceText` wrote; null where the text is something else. */
export function readPractice(text: string): Practice | null {
  const match = /^([123])\.(\d{1,6})$/.exec(text);
  return match && { level: Number(match[1]), seed: Number(match[2]) };
}

/** The exercise after this one. Levels rise only when the reader says so. */
export const nextPractice = ({ level, seed }: Practice): Practice => ({ level, seed: (seed + 1) % (MOST_SEED + 1) });

/** Draw an exercise. The three kinds come in turns. */
export function exerciseOf({ level, seed }: Practice): Exercise {
  const next = generator(seed * 4 + level);
  const kind = KINDS[seed % KINDS.length]!;
  for (;;) {
    const settings = kind === "shape" ? shapeSettings(next, level) : settingsOf(next, level);
    if (problemsOf(settings).length) continue;
    const made = exercise(kind, settings, next);
    if (made) return made;
  }
}

function exercise(kind: Kind, settings: Settings, next: () => number): Exercise | null {
  const drawn = makeStack(settings, "random", ["random"], Math.floor(next() * 2 ** 31));
  // Pixels stay small, so that the products can be worked out in the head.
  const stack = { ...drawn, input: { ...drawn.input, values: drawn.input.values.map((value) => value % 6) } };
  const { channels, size } = shapesOf(settings)[1]!;
  const { network } = new PlaygroundSource(stack, false);
  const name = settings.layers[0]!.name;
  if (kind === "shape") {
    const last = [0, channels - 1, ...size.map((one) => one - 1)];
    return { kind, stack, address: addressText(name, last), product: -1, answers: size };
  }
  const index = [0, draw(next, 0, channels - 1), ...size.map((one) => draw(next, 0, one - 1))];
  const receipt = receiptOf(network, name, index)!;
  const address = addressText(name, index);
  // A sum of zeros teaches nothing.
  if (receipt.products.filter((one) => one !== 0).length < 2) return null;
  if (kind === "output") return { kind, stack, address, product: -1, answers: [Number(receipt.reported)] };
  const choices = receipt.products.flatMap((value, n) => (receipt.sources[n] && value !== 0 ? [n] : []));
  const product = choices[draw(next, 0, choices.length - 1)]!;
  return { kind, stack, address, product, answers: [Number(receipt.products[product])] };
}

/** A convolution whose numbers are worked out: small, and more of everything at higher levels. */
function settingsOf(next: () => number, level: number): Settings {
  const channels = level === 1 ? 1 : 2;
  const kernel = level === 3 ? draw(next, 2, 3) : 2;
  const side = kernel + draw(next, 1, 2);
  const layer: LayerSettings = {
    ...plainLayer("conv1", level === 1 ? 1 : 2, [kernel, kernel]),
    bias: level > 1 && next() < 0.5,
    padding: level > 1 && next() < 0.5 ? [1, 1] : [0, 0],
    stride: level === 3 ? [2, 2] : [1, 1],
    dilation: level === 3 && kernel === 2 && next() < 0.4 ? [2, 2] : [1, 1],
  };
  return { channels, size: [side, side], layers: [layer] };
}

/** A convolution whose shape is asked for. */
function shapeSettings(next: () => number, level: number): Settings {
  const kernel = level === 1 ? draw(next, 2, 4) : draw(next, 2, 5);
  const all = (value: number): number[] => [value, value];
  const layer: LayerSettings = {
    ...plainLayer("conv1", draw(next, 1, 4), all(kernel)),
    stride: all(level === 1 ? 1 : draw(next, 1, 3)),
    padding: all(level === 1 ? draw(next, 0, 1) : draw(next, 0, 2)),
    dilation: all(level === 3 ? draw(next, 1, 2) : 1),
    transposed: level === 3 && next() < 0.4,
  };
  return { channels: draw(next, 2, 4), size: [draw(next, 4, 9), draw(next, 5, 9)], layers: [layer] };
}
