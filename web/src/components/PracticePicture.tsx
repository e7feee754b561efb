/**
 * What an exercise shows: a receipt, in which what is asked for is a question mark, and what would give
 * it away is left blank until the hints come to it.
 */
import { parseAddress } from "../address";
import { type Cell, type Equation as Layout, type Row, type Sheet, isPlane } from "../equation";
import type { Exercise } from "../practice";
import { receiptOf } from "../receipt";
import type { State } from "../state";
import { Equation } from "./Equation";

export interface PracticePictureProps {
  state: State;
  exercise: Exercise;
  /** Hints that were given. */
  hints: number;
}

/** Hints of an output after which its products, and then the sums of its channels, are there. */
const [PRODUCTS, SUMS] = [2, 3];
const BLANK: Cell = { key: null, value: undefined, blank: true };

export function PracticePicture({ state, exercise, hints }: PracticePictureProps) {
  const { step, index } = parseAddress(exercise.address)!;
  const receipt = receiptOf(state.source.network, step, index)!;
  const isProduct = exercise.kind === "product";
  const each = receipt.products.length / receipt.channels.length;
  const asked = { key: `${exercise.address}#hidden`, value: "?", selected: true };
  const rowOf = (row: Row): Row => ({
    ...row,
    products: isProduct
      ? changed(row.products!, (cell, n) => (row.place * each + n === exercise.product ? asked : cell))
      : hints < PRODUCTS ? null : row.products,
    sum: isProduct || hints < SUMS ? BLANK : row.sum,
  });
  const hide = (layout: Layout): Layout => {
    const { rows, output } = layout;
    const kept = isProduct ? rows.filter((row) => row.place === Math.floor(exercise.product / each)) : rows;
    return {
      ...layout,
      rows: kept.map(rowOf),
      // Around a product, nothing is known of the output; around an output, its neighbours are.
      output: output && !isPlane(output)
        ? changed(output, (cell) =>
            isProduct ? { ...BLANK, selected: cell.selected ?? false } : cell.selected ? asked : cell)
        : null,
    };
  };
  return <Equation state={state} receipt={receipt} mask={{ hide, total: !isProduct }} />;
}

function changed(sheet: Sheet, change: (cell: Cell, n: number) => Cell): Sheet {
  let n = 0;
  return { ...sheet, rows: sheet.rows.map((cells) => cells.map((cell) => change(cell, n++))) };
}
