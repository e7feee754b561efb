/** A stack as a short text for a link, and back. Garbage gives null, never an error. */
import { shortest } from "./numbers";
import { INPUTS, type InputPreset, KERNELS, type KernelPreset } from "./presets";
import { type LayerSettings, MOST_LAYERS, PADDING_MODES, type Settings, problemsOf } from "./settings";
import { type Given, type Stack, givensOf, makeStack, untouched } from "./stack";

/**
 * The text: `2x3x3` (channels and sizes of the input), then a part for each layer, then what the
 * tensors hold, all joined by `~`. A layer: `conv1.2.k2.s1…`, only what is unusual. A tensor: a preset,
 * or `preset*place=value*…` with edits, or `preset!type.base64` with all its numbers.
 */
const PART = "~";
const FLAGS = { k: "kernel", s: "stride", p: "padding", d: "dilation", o: "outputPadding" } as const;
const USUAL = { k: -1, s: 1, p: 0, d: 1, o: 0 } as const;
/** Edits that are written one by one; more are written as a whole tensor. */
const MOST_EDITS = 200;

export function packStack(stack: Stack): string {
  const { settings, seed } = stack;
  const parts = [
    [settings.channels, ...settings.size].join("x"),
    String(seed),
    ...settings.layers.map(packLayer),
    ...givensOf(stack).map(([name, given]) => packGiven(given, untouched(stack, name))),
  ];
  return parts.join(PART);
}

export function unpackStack(text: string): Stack | null {
  try {
    return unpack(text);
  } catch {
    return null;
  }
}

function unpack(text: string): Stack | null {
  const [head, seedText, ...parts] = text.split(PART);
  const [channels, ...size] = head!.split("x").map(Number) as [number, ...number[]];
  const seed = Number(seedText);
  if (!Number.isInteger(seed) || size.length < 1 || size.length > 2) return null;
  const layers: LayerSettings[] = [];
  while (parts[0]?.includes(":")) layers.push(unpackLayer(parts.shift()!, size.length));
  const settings: Settings = { channels, size, layers };
  if (!layers.length || layers.length > MOST_LAYERS || problemsOf(settings).length) return null;
  if (new Set(layers.map((layer) => layer.name)).size < layers.length) return null;
  const presetOf = (part: string | undefined): string => /^\w+/.exec(part ?? "")?.[0] ?? "";
  const kernels: KernelPreset[] = [];
  const known = <P extends string>(all: readonly P[], name: string, usual: P): P => all.find((one) => one === name) ?? usual;
  const input: InputPreset = known(INPUTS, presetOf(parts[0]), "counting");
  // A weight, then its bias, for each layer.
  let at = 1;
  for (const layer of layers) {
    kernels.push(known(KERNELS, presetOf(parts[at]), "snippet"));
    at += layer.bias ? 2 : 1;
  }
  const stack = makeStack(settings, input, kernels, seed);
  givensOf(stack).forEach(([, given], n) => fill(given, parts[n] ?? ""));
  return stack;
}

function packLayer(layer: LayerSettings): string {
  const name = encodeURIComponent(layer.name).replaceAll("~", "%7E");
  const words = [String(layer.channels)];
  for (const [flag, field] of Object.entries(FLAGS)) {
    const values = layer[field];
    const usual = USUAL[flag as keyof typeof USUAL];
    if (values.every((value) => value === usual)) continue;
    words.push(flag + (new Set(values).size === 1 ? values[0] : values.join("x")));
  }
  if (layer.mode !== "zeros") words.push(`m${PADDING_MODES.indexOf(layer.mode)}`);
  if (layer.groups !== 1) words.push(`g${layer.groups}`);
  if (layer.transposed) words.push("t");
  if (layer.bias) words.push("b");
  return `${name}:${words.join(".")}`;
}

function unpackLayer(text: string, axes: number): LayerSettings {
  const cut = text.lastIndexOf(":");
  const [channels, ...words] = text.slice(cut + 1).split(".");
  const found = new Map(words.map((word) => [word[0]!, word.slice(1)]));
  const list = (flag: keyof typeof USUAL): number[] => {
    const values = (found.get(flag) ?? String(USUAL[flag])).split("x").map(Number);
    return Array.from({ length: axes }, (_, axis) => values[axis] ?? values[0]!);
  };
  return {
    name: decodeURIComponent(text.slice(0, cut)),
    channels: Number(channels),
    kernel: list("k"),
    stride: list("s"),
    padding: list("p"),
    dilation: list("d"),
    outputPadding: list("o"),
    mode: PADDING_MODES[Number(found.get("m") ?? 0)] ?? "zeros",
    groups: Number(found.get("g") ?? 1),
    transposed: found.has("t"),
    bias: found.has("b"),
  };
}

function packGiven(given: Given, before: Float32Array): string {
  const edits: string[] = [];
  given.values.forEach((value, place) => {
    if (!Object.is(value, before[place])) edits.push(`${place.toString(36)}=${numberText(value)}`);
  });
  if (edits.length <= MOST_EDITS && edits.length <= given.values.length / 4) {
    return [given.preset, ...edits].join("*");
  }
  const type = given.values.every((value) => Number.isInteger(value) && value >= 0 && value <= 255 && !Object.is(value, -0)) ? "u" : "f";
  const bytes = type === "u" ? Uint8Array.from(given.values) : new Uint8Array(given.values.slice().buffer);
  return `${given.preset}!${type}${base64(bytes)}`;
}

function fill(given: Given, text: string): void {
  const packed = /^\w+!([uf])([\w-]*)$/.exec(text);
  if (packed) {
    const bytes = bytesOf(packed[2]!);
    const values = packed[1] === "u" ? Float32Array.from(bytes) : new Float32Array(bytes.buffer);
    if (values.length === given.values.length) given.values.set(values);
    return;
  }
  for (const edit of text.split("*").slice(1)) {
    const [place, value] = edit.split("=") as [string, string | undefined];
    const at = parseInt(place, 36);
    const number = readNumber(value ?? "");
    if (at >= 0 && at < given.values.length && number !== null) given.values[at] = number;
  }
}

function numberText(value: number): string {
  if (!isFinite(value)) return isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0";
  return String(shortest(value, true));
}

function readNumber(text: string): number | null {
  const special: Record<string, number> = { nan: NaN, inf: Infinity, "-inf": -Infinity };
  if (text in special) return special[text]!;
  return text.trim() && isFinite(Number(text)) ? Number(text) : null;
}

/** Base64 of characters that need no escape in a link. */
function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
}
