/** A receipt laid out as an equation, and how its columns are written: worked out once for a view. */
import { parseAddress } from "./address";
import type { ReceiptDocument } from "./document";
import { type Cell, type Equation, type Row, equationOf, isPlane } from "./equation";
import { DIGITS } from "./numbers";
import type { Source } from "./source";
import type { Order } from "./state";
import { CellScale, isNarrow, narrowEnough } from "./text";

/** Cells that a view may draw: with rows, headings and the rest it stays below 1,500 elements. */
const MOST_CELLS = 900;

interface Laid {
  layout: Equation;
  scales: Scales;
}

/** What was laid out last, and of what: when the pointer goes down, for the click that comes. */
const kept = new WeakMap<Source, Laid & { step: string; of: readonly unknown[] }>();

export function laidOut(source: Source, receipt: ReceiptDocument, order: Order, from: number): Laid {
  const of = [receipt, source.revision.value, order, from];
  const old = kept.get(source);
  if (old?.of.every((one, n) => one === of[n])) return old;
  const narrow = narrowEnough(isNarrow(receipt));
  const layout = equationOf(source.network, receipt, { order, from, cells: MOST_CELLS, narrow });
  const scales = scalesOf(layout);
  const { step } = parseAddress(receipt.address)!;
  // From one number of a step to the next, nothing moves: columns become wider only.
  if (old?.step === step) {
    for (const name of Object.keys(scales) as (keyof Scales)[]) scales[name].keep(old.scales[name]);
  }
  const laid = { layout, scales, step, of };
  kept.set(source, laid);
  return laid;
}

/** How the columns of an equation are written. */
export interface Scales {
  input: CellScale;
  kernel: CellScale;
  products: CellScale;
  sums: CellScale;
  bias: CellScale;
  output: CellScale;
}

function scalesOf({ rows, receipt, rest, output }: Equation): Scales {
  const narrow = isNarrow(receipt);
  const of = (cells: (Cell["value"])[], narrowly = narrow) => new CellScale(cells, narrowly);
  // With as many digits as the total, so that they can be added up.
  const bias = new CellScale([receipt.bias], narrow, DIGITS);
  const sums = new CellScale([...rows.map((row) => row.sum.value), rest], false, DIGITS, bias.right);
  const values = (sheet: Row["input"] | Row["values"]) =>
    sheet && !isPlane(sheet) ? sheet.rows.flat().map((cell) => cell.value) : [];
  return {
    input: of(rows.flatMap((row) => [...values(row.input), ...values(row.values)])),
    kernel: of(rows.flatMap((row) => values(row.kernel))),
    products: of(rows.flatMap((row) => values(row.products)), false),
    sums,
    bias: new CellScale([receipt.bias], narrow, DIGITS, sums.right),
    output: of(values(output)),
  };
}
