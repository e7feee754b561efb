/** The field in which a number of a map is edited: beside its cell, which is too small to hold it. */
import type { State } from "../state";
import type { Size, View } from "../view";
import { CellEditor } from "./CellEditor";

/** Which cell of a map is edited, and what was typed already. */
export interface Edited {
  cell: [row: number, column: number];
  typed: string | null;
}

export interface MapEditorProps {
  state: State;
  edited: Edited;
  address: string;
  view: View;
  size: Size;
  onDone: (focus: boolean) => void;
}

/** Height and width that the field takes, in pixels. */
const [HIGH, WIDE] = [40, 96];

export function MapEditor({ state, edited, address, view, size, onDone }: MapEditorProps) {
  const value = state.playground.value?.valueOf(address);
  if (value === undefined) return null;
  const [row, column] = edited.cell;
  const [top, left] = [view.y + row * view.cell, view.x + column * view.cell];
  // Below the cell, or above it where there is no room.
  const below = top + view.cell + 4;
  const place = {
    top: `${below + HIGH > size.height ? Math.max(top - HIGH, 0) : below}px`,
    left: `${Math.max(Math.min(left, size.width - WIDE), 0)}px`,
  };
  return (
    <div class="map-editor" style={place} data-address={address}>
      <CellEditor key={address} state={state} address={address} value={value} typed={edited.typed} onDone={onDone} />
    </div>
  );
}

/** Keys that a map has another use for: zoom. */
export const ZOOMS: ReadonlySet<string> = new Set(["0", "-", "+", "="]);
