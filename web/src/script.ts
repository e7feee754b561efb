/** The PyTorch script of what is on the screen, and receipts as text, LaTeX and JSON. No drawing. */
import { parseAddress } from "./address";
import type { Num, ReceiptDocument } from "./document";
import { identify, marked, productSign, show, sumSign } from "./numbers";
import { INPUTS } from "./presets";
import { type LayerSettings, shapesOf } from "./settings";
import { type Given, type Stack, untouched } from "./stack";
import { unravel } from "./tensor";
import { upTo } from "./places";

const MINUS = /−/g;

/** Write a script that computes one number of a stack, and prints it. */
export function stackScript(stack: Stack, address: string): string {
  const { settings } = stack;
  const shapes = shapesOf(settings);
  const names = uniqueNames(settings.layers.map((layer) => layer.name));
  const lines = ["import torch", "from torch import nn", "", "torch.set_grad_enabled(False)", ""];
  lines.push(...inputLines(stack), "");
  settings.layers.forEach((layer, n) => lines.push(`${names[n]} = ${layerCall(layer, shapes[n]!.channels, settings.size.length)}`));
  settings.layers.forEach((_, n) => {
    lines.push("", ...fillLines(`${names[n]}.weight`, stack.weights[n]!));
    const bias = stack.biases[n];
    if (bias) lines.push(...fillLines(`${names[n]}.bias`, bias));
  });
  lines.push("");
  let below = "input";
  settings.layers.forEach((_, n) => {
    lines.push(`out${n + 1} = ${names[n]}(${below})`);
    below = `out${n + 1}`;
  });
  lines.push("", `print(${shownName(stack, names, address)})`);
  return `${lines.join("\n")}\n`;
}

/** The expression that has the number which is shown. */
function shownName(stack: Stack, names: readonly string[], address: string): string {
  const at = parseAddress(address);
  const index = at?.index.join(", ") ?? "";
  const layers = stack.settings.layers;
  for (const [n, { name }] of layers.entries()) {
    if (at?.step === name) return `out${n + 1}[${index}]`;
    if (at?.step === `${name}.weight`) return `${names[n]}.weight[${index}]`;
    if (at?.step === `${name}.bias`) return `${names[n]}.bias[${index}]`;
    if (at?.step === `${name}.pad`) {
      const below = n ? `out${n}` : "input";
      const pads = [...layers[n]!.padding].reverse().flatMap((size) => [size, size]);
      return `nn.functional.pad(${below}, [${pads.join(", ")}], "${layers[n]!.mode}")[${index}]`;
    }
  }
  return at?.step === "input" ? `input[${index}]` : `out${layers.length}`;
}

function inputLines(stack: Stack): string[] {
  const { input } = stack;
  const before = untouched(stack, "input");
  const edits = edited(input.values, before);
  const shape = input.shape.join(", ");
  if (input.preset === INPUTS[0] && edits.length <= 20) {
    const lines = [`input = torch.arange(${input.values.length}, dtype=torch.float32).reshape(${shape})`];
    return [...lines, ...edits.map((place) => `input[${unravel(input.shape, place).join(", ")}] = ${python(input.values[place]!)}`)];
  }
  return [`input = torch.tensor(${nested(input.values, input.shape)}, dtype=torch.float32)`];
}

function edited(values: Float32Array, before: Float32Array): number[] {
  const found: number[] = [];
  values.forEach((value, place) => {
    if (!Object.is(value, before[place])) found.push(place);
  });
  return found;
}

/** Fill a weight or a bias: one line for each constant kernel, else one for all numbers. */
function fillLines(name: string, given: Given): string[] {
  const { values, shape } = given;
  const each = shape.slice(2).reduce((total, size) => total * size, 1);
  const kernels = values.length / each;
  const constant = shape.length > 2 && values.every((value, n) => value === values[n - (n % each)]);
  if (constant && values.every((value) => value === values[0])) return [`${name}[:] = ${python(values[0]!)}`];
  if (constant && kernels <= 16) {
    return upTo(kernels).map((n) =>
      `${name}[${Math.floor(n / shape[1]!)}, ${n % shape[1]!}] = ${python(values[n * each]!)}`);
  }
  return [`${name}[:] = torch.tensor(${nested(values, shape)})`];
}

/** Write numbers as nested lists, one row a line. */
function nested(values: ArrayLike<Num>, shape: readonly number[], at = 0, deep = 1): string {
  const [size, ...rest] = shape as [number, ...number[]];
  if (!rest.length) return `[${upTo(size).map((n) => pythonNumber(values[at + n]!)).join(", ")}]`;
  const step = rest.reduce((total, one) => total * one, 1);
  const parts = upTo(size).map((n) => nested(values, rest, at + n * step, deep + 1));
  return `[${parts.join(`,\n${" ".repeat(deep)}`)}]`;
}

/** Write a number for Python, as short as identifies the float32. */
function python(value: number): string {
  if (!isFinite(value)) return `float("${isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf"}")`;
  if (Object.is(value, -0)) return "-0.0";
  const text = identify(value, true).text.replace(MINUS, "-");
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function layerCall(layer: LayerSettings, channelsIn: number, axes: number): string {
  const words = [String(channelsIn), String(layer.channels), `kernel_size=${sizes(layer.kernel)}`];
  const add = (name: string, values: readonly number[], usual: number): void => {
    if (values.some((value) => value !== usual)) words.push(`${name}=${sizes(values)}`);
  };
  add("stride", layer.stride, 1);
  add("padding", layer.padding, 0);
  if (layer.transposed) add("output_padding", layer.outputPadding, 0);
  add("dilation", layer.dilation, 1);
  add("groups", [layer.groups], 1);
  if (layer.mode !== "zeros" && layer.padding.some((size) => size > 0)) words.push(`padding_mode="${layer.mode}"`);
  if (!layer.bias) words.push("bias=False");
  return `nn.Conv${layer.transposed ? "Transpose" : ""}${axes}d(${words.join(", ")})`;
}

const sizes = (values: readonly number[]): string =>
  values.every((value) => value === values[0]) ? String(values[0]) : `(${values.join(", ")})`;

/** Names that Python takes: `features.0` becomes `features_0`. */
function uniqueNames(names: readonly string[]): string[] {
  const taken = new Set(["input", "torch", "nn"]);
  return names.map((name) => {
    let plain = name.replace(/\W/g, "_").replace(/^(?=\d|$)/, "layer_");
    while (taken.has(plain) || /^out\d+$/.test(plain)) plain += "_";
    taken.add(plain);
    return plain;
  });
}

/** Write a script that adds up one receipt, where the whole network is too much for one. */
export function receiptScript(receipt: ReceiptDocument): string {
  const [channels, ...kernel] = receipt.shape;
  const shape = [channels!, ...kernel];
  const tensor = (values: readonly Num[]): string =>
    `torch.tensor(${nested(values, shape)}, dtype=torch.float64)`;
  const sum = kernel.length ? `.sum(dim=${JSON.stringify(kernel.map((_, n) => n + 1))})` : "";
  return [
    "import torch",
    "",
    `# ${receipt.address}: what its window reads, and the numbers that this is multiplied with.`,
    `inputs = ${tensor(receipt.inputs)}`,
    `weights = ${tensor(receipt.weights)}`,
    `bias = ${receipt.bias === null ? "0.0" : pythonNumber(receipt.bias)}`,
    "",
    `channel_sums = (inputs * weights)${sum}`,
    "print(channel_sums)",
    "print(channel_sums.sum() + bias)",
    "",
  ].join("\n");
}

const pythonNumber = (value: Num): string => (typeof value === "string" ? value : python(value));

/** Products of one receipt that are written out; the others are summed up. */
const MOST_TERMS = 128;

interface Line {
  channel: number;
  factors: readonly string[];
  sign: string;
  sum: string;
}

/** Every channel's products and their sum, and what the channels that are left out sum to. */
function linesOf(receipt: ReceiptDocument, times: string): { lines: Line[]; left: number; rest: number } {
  const each = receipt.products.length / Math.max(receipt.shape[0] ?? 1, 1);
  const shown = Math.max(1, Math.floor(MOST_TERMS / each));
  const count = receipt.channelSums.length;
  const lines = receipt.channelSums.slice(0, shown).map((sum, n) => {
    const products = receipt.products.slice(n * each, (n + 1) * each);
    const parts = products.map((product, m) => {
      const [left, right] = [show(receipt.inputs[n * each + m]!), show(receipt.weights[n * each + m]!)];
      return { text: marked(left) + times + marked(right), equal: productSign(left, right, show(product, null, false)) === "=" };
    });
    const total = show(sum, undefined, false);
    const exact = parts.every((part) => part.equal) && sumSign(products.map((one) => show(one, null, false)), total) === "=";
    return { channel: receipt.channels[n] ?? n, factors: parts.map((part) => part.text), sign: exact ? "=" : "≈", sum: marked(total) };
  });
  const rest = receipt.channelSums.slice(shown).reduce<number>((total, one) => total + Number(one), 0);
  return { lines, left: Math.max(count - shown, 0), rest };
}

/** Words of the catalogue that a receipt as text needs. */
export type Say = (key: string, values?: Record<string, unknown>) => string;

/** Write a receipt as text: a line a channel, the bias, the total, and the verdict. */
export function receiptText(receipt: ReceiptDocument, say: Say): string {
  const value = show(receipt.reported);
  const lines = [`${receipt.address} ${value.rounded ? "≈" : "="} ${value.text}`];
  if (receipt.products.length) {
    const { lines: rows, left, rest } = linesOf(receipt, "×");
    const many = receipt.channels.length > 0;
    for (const row of rows) {
      const label = many ? `${say("page.channel", { n: row.channel })}   ` : "";
      lines.push(`  ${label}${row.factors.join(" + ").replaceAll("+ −", "− ")} ${row.sign} ${row.sum.replace("≈", "")}`);
    }
    if (left) lines.push(`  ${say("page.code.rest", { count: left, sum: marked(show(rest)) })}`);
    if (receipt.bias !== null) lines.push(`  ${say("page.bias")}   ${marked(show(receipt.bias))}`);
  }
  if (receipt.verdict !== null) {
    const exact = say("verdict.sum", { exact: marked(show(receipt.exact)) });
    lines.push(`  ${exact} · ${say(returnedKey(receipt), { value: identify(receipt.reported).text, reporter: receipt.reporter })} · ${say(`verdict.${receipt.verdict}`)}`);
  }
  return `${lines.join("\n")}\n`;
}

/** The message that says who returned a number. */
export function returnedKey({ reporter }: ReceiptDocument): string {
  if (reporter === "page") return "page.playground.returned";
  return `verdict.returned.${["torch", "onnxruntime", "observed"].includes(reporter) ? reporter : "other"}`;
}

/** Write a receipt as LaTeX, for amsmath. */
export function receiptLatex(receipt: ReceiptDocument): string {
  const { lines, left, rest } = linesOf(receipt, " \\cdot ");
  const tex = (text: string): string => text.replaceAll("−", "-").replaceAll("≈", "").replaceAll("∞", "\\infty ").replace(/e(-?\d+)/g, " \\cdot 10^{$1}");
  const rows = lines.map((row) =>
    `c = ${row.channel}:\\quad& ${row.factors.map(tex).join(" + ").replaceAll("+ -", "- ")} ${row.sign === "=" ? "=" : "\\approx"} ${tex(row.sum)}`);
  if (left) rows.push(`\\text{${left} more}:\\quad& ${tex(marked(show(rest)))}`);
  const summands = [...lines.map((row) => row.sum), ...(left ? [marked(show(rest))] : []), ...(receipt.bias === null ? [] : [marked(show(receipt.bias))])];
  const total = show(receipt.exact);
  const sign = total.rounded || summands.some((one) => one.startsWith("≈")) ? "\\approx" : "=";
  const name = `\\text{${receipt.address.replace(/[\\{}_#$%&~^]/g, (one) => (/[\\~^]/.test(one) ? " " : `\\${one}`))}}`;
  rows.push(`${name} &= ${summands.map(tex).join(" + ").replaceAll("+ -", "- ")} ${sign} ${tex(total.text)}`);
  return `% \\usepackage{amsmath}\n\\begin{align*}\n${rows.join(" \\\\\n")}\n\\end{align*}\n`;
}

/** Write a receipt as the JSON document that Python writes. */
export function receiptJson(receipt: ReceiptDocument): string {
  const plain = (value: unknown): unknown =>
    typeof value === "number" && !isFinite(value)
      ? isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity"
      : value;
  return `${JSON.stringify(receipt, (_, value: unknown) => plain(value), 1)}\n`;
}
