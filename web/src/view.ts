/** Zoom and pan of a map of cells. No drawing: positions in, positions out. */
import { upTo } from "./places";

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

/** Numbers of a tile, and tiles that are asked for at once. */
const TILE = 1 << 18;
const MOST_TILES = 16;

/** Rows and columns of a part of a map. */
export interface Tile {
  top: number;
  left: number;
  rows: number;
  columns: number;
}

/** The tiles of a map that are seen, at most so many, those nearest to a cell first. */
export function tilesSeen(
  view: View,
  rows: number,
  columns: number,
  size: Size,
  near: readonly [row: number, column: number],
): Tile[] {
  const high = Math.min(rows, Math.floor(Math.sqrt(TILE)));
  const wide = Math.min(columns, Math.floor(TILE / high));
  const along = (start: number, room: number, count: number, tile: number): number[] => {
    const first = Math.floor(Math.max(-start / view.cell, 0) / tile);
    const last = Math.ceil(Math.min((room - start) / view.cell, count) / tile);
    return upTo(Math.max(last - first, 0)).map((n) => (first + n) * tile);
  };
  const far = ({ top, left }: Tile): number =>
    Math.hypot(top + high / 2 - near[0], left + wide / 2 - near[1]);
  return along(view.y, size.height, rows, high)
    .flatMap((top) =>
      along(view.x, size.width, columns, wide).map((left) => ({
        top,
        left,
        rows: Math.min(high, rows - top),
        columns: Math.min(wide, columns - left),
      })),
    )
    .sort((a, b) => far(a) - far(b))
    .slice(0, MOST_TILES);
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
