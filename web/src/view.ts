/** Zoom and pan of a map of cells. No drawing: positions in, positions out. */

/** What of a map is seen: CSS pixels of one cell, and where its first cell begins. */
export interface View {
  cell: number;
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

/** Pixels of a cell from which on its number is written into it. */
export const NUMBER_CELL = 44;
const LARGEST_CELL = 96;

/** Show a whole map of `columns` × `rows` cells. */
export function fit(rows: number, columns: number, size: Size): View {
  const cell = Math.min(size.width / columns, size.height / rows);
  return centred({ cell, x: 0, y: 0 }, rows, columns, size);
}

/** Zoom by a factor around a point, between the whole map and the largest cell. */
export function zoom(
  view: View,
  factor: number,
  at: { x: number; y: number },
  rows: number,
  columns: number,
  size: Size,
): View {
  const least = fit(rows, columns, size).cell;
  const cell = Math.min(Math.max(view.cell * factor, least), Math.max(LARGEST_CELL, least));
  const ratio = cell / view.cell;
  const moved = { cell, x: at.x - (at.x - view.x) * ratio, y: at.y - (at.y - view.y) * ratio };
  return centred(moved, rows, columns, size);
}

export function pan(view: View, dx: number, dy: number, rows: number, columns: number, size: Size): View {
  return centred({ ...view, x: view.x + dx, y: view.y + dy }, rows, columns, size);
}

/** The cell under a point; null beside the map. */
export function cellAt(
  view: View,
  at: { x: number; y: number },
  rows: number,
  columns: number,
): [row: number, column: number] | null {
  const column = Math.floor((at.x - view.x) / view.cell);
  const row = Math.floor((at.y - view.y) / view.cell);
  return row >= 0 && column >= 0 && row < rows && column < columns ? [row, column] : null;
}

/** Move a map as little as it takes to see one cell whole. */
export function reveal(view: View, row: number, column: number, rows: number, columns: number, size: Size): View {
  const into = (start: number, place: number, room: number): number => {
    const low = start + place * view.cell;
    if (low < 0) return start - low;
    return low + view.cell > room ? start - (low + view.cell - room) : start;
  };
  return centred(
    { cell: view.cell, x: into(view.x, column, size.width), y: into(view.y, row, size.height) },
    rows,
    columns,
    size,
  );
}

/** Keep a map inside its frame; one that is smaller than the frame stands in the middle. */
function centred(view: View, rows: number, columns: number, size: Size): View {
  const into = (start: number, length: number, room: number): number =>
    length <= room ? (room - length) / 2 : Math.min(0, Math.max(start, room - length));
  return {
    cell: view.cell,
    x: into(view.x, columns * view.cell, size.width),
    y: into(view.y, rows * view.cell, size.height),
  };
}
