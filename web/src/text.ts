/** Texts that several components show: numbers in cells, names of positions. */
import { parseAddress } from "./address";
import type { Num, ReceiptDocument } from "./document";
import { DIGITS, Scale, type Shown, identify } from "./numbers";
import type { Network } from "./network";
import { lawOf } from "./convolution";
import type { State } from "./state";

/** Significant digits of rounded numbers in cells; all digits are shown on focus. */
export const CELL_DIGITS = 3;

/** Whether numbers may be float32, so that fewer digits identify them. */
export const isNarrow = (receipt: ReceiptDocument): boolean =>
  !(receipt.arithmetic ?? "").startsWith("float64");

/** A point is about half as wide as a digit, a minus sign about a third wider. */
const [POINT, SIGN] = [0.5, 0.35];

/** How a column of cells is written: one scale, and as many decimals as the longest has. */
export class CellScale {
  private readonly scale: Scale;
  /** Room before the decimal point, in widths of a digit. */
  private left: number;
  private readonly shown = new Map<Num, Shown>();

  constructor(
    values: readonly (Num | null | undefined)[],
    readonly narrow: boolean,
    digits = CELL_DIGITS,
    /** Characters from the decimal point on of the longest number; at least those of another scale of the column. */
    public right = 0,
  ) {
    const here = values.filter((value): value is Num => value !== null && value !== undefined);
    this.scale = Scale.of(here, digits, narrow);
    this.right = Math.max(right, ...here.map((value) => decimals(this.show(value).text)));
    this.left = Math.max(0, ...here.map((value) => wholeWidth(this.show(value).text)));
  }

  /** Width of a column, in widths of a digit, with decimal points below each other. */
  get width(): number {
    return this.left + this.right - (this.right ? POINT : 0);
  }

  /** Leave at least as much room as another scale, so that a column keeps its width and its decimal point. */
  keep(other: CellScale): void {
    this.left = Math.max(this.left, other.left);
    this.right = Math.max(this.right, other.right);
  }

  show(value: Num): Shown {
    let shown = this.shown.get(value);
    if (!shown) this.shown.set(value, (shown = this.scale.show(value)));
    return shown;
  }

  /** Blanks as wide as a point and digits that stand after a number, so that decimal points stand below each other. */
  room(value: Num): string {
    const pad = this.pad(value);
    return "\u2008".repeat(pad % 1 && 1) + "\u2007".repeat(pad);
  }

  /** Widths of digits to leave free on the right, so that decimal points stand below each other. */
  pad(value: Num): number {
    const own = decimals(this.show(value).text);
    return this.right - own - (own || !this.right ? 0 : POINT);
  }

  /** Whether another scale writes every number alike. */
  same(other: CellScale): boolean {
    const [a, b] = [this.scale, other.scale];
    return (
      this.right === other.right &&
      this.width === other.width &&
      this.narrow === other.narrow &&
      a.digits === b.digits &&
      a.narrow === b.narrow &&
      a.decimals === b.decimals
    );
  }

  /** Whether one of its numbers is shown rounded. */
  get rounds(): boolean {
    return [...this.shown.values()].some(({ rounded }) => rounded);
  }

  /** Characters of the longest text. */
  get longest(): number {
    return Math.max(0, ...[...this.shown.values()].map(({ text }) => text.length));
  }

  /** Accessible name of a number: all its digits, and what is shown where it is shown rounded. */
  name(state: State, name: string, value: Num): string {
    const { text, rounded } = this.show(value);
    const full = `${name} = ${this.full(value)}`;
    return rounded ? state.say("page.shown_as", { full, text }) : full;
  }

  /** The number with all its digits. */
  full(value: Num): string {
    return identify(value, this.narrow).text;
  }
}

/** Characters from the decimal point on. */
function decimals(text: string): number {
  const at = text.search(/[.e]/);
  return at < 0 ? 0 : text.length - at;
}

/** Width of what stands before the decimal point, in widths of a digit. */
const wholeWidth = (text: string): number => text.length - decimals(text) + (text.startsWith("−") ? SIGN : 0);

/** Characters of one row of a grid that is still drawn as cells. */
const MOST_CHARACTERS = 40;

/** Whether numbers in so many columns are narrow enough to be drawn as cells. */
export const narrowEnough =
  (floats: boolean) =>
  (columns: number, values: readonly (Num | null | undefined)[]): boolean =>
    columns * (new CellScale(values, floats).longest + 1.5) <= MOST_CHARACTERS;

/** Write a number that stands alone, with its mark. */
export function alone(value: Num, narrow: boolean, digits: number | null = DIGITS): Shown {
  return Scale.of([value], digits, narrow).show(value);
}

/** One term in full: the addresses and the numbers that are multiplied, and their product. */
export function termText(state: State, receipt: ReceiptDocument, n: number): string {
  const { inputs, weights, products, sources, weightAddresses } = receipt;
  const [left, right] = [inputs, weights].map((values) => identify(values[n]!, isNarrow(receipt)).text);
  const names = `${sources[n] ?? ""} × ${weightAddresses[n] ?? state.say("page.heading.factor")}`;
  return `${names}:  ${left} × ${right} = ${identify(products[n]!, false).text}`;
}

/** Say where a number of a step lies: `sample 0, output channel 0, row 0, column 0`. */
export function placeText(state: State, network: Network, address: string): string {
  const parsed = parseAddress(address);
  const step = parsed && network.step(parsed.step);
  const law = step ? lawOf(network, step) : null;
  if (!parsed || !law || !law.axes.length) return "";
  const names = [
    ...(law.leading ? ["sample"] : []),
    "output_channel",
    ...(law.axes.length > 1 ? ["depth", "row", "column"].slice(-law.axes.length) : ["place"]),
  ];
  return names.map((name, n) => state.say(`axis.${name}`, { n: parsed.index[n] })).join(", ");
}
