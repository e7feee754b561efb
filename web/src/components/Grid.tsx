/** A grid of numbers: one tab stop, arrow keys move in it, Enter or a click follows a number. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Cell, Sheet } from "../equation";
import { want } from "../source";
import type { State } from "../state";
import type { CellScale } from "../text";
import { typedBy } from "./CellEditor";
import { drawCells } from "./cells";

export interface GridProps {
  state: State;
  /** `input`, `kernel`, `products` or `output`: decides the colour. */
  role: string;
  label: string;
  sheet: Sheet;
  scale: CellScale;
  /** Of a table whose columns hold different things: their headings, and how each is written. */
  columns?: readonly { head: string; scale: CellScale }[];
  /** `data-address`es that light up. */
  lit?: ReadonlySet<string>;
  /** Follow the number of a cell; without it, cells are looked at only. */
  onFollow?: ((cell: Cell) => void) | undefined;
}

export function Grid({ state, role, label, sheet, scale, columns, lit, onFollow }: GridProps) {
  const { rows } = sheet;
  const [active, setActive] = useState<readonly [number, number] | null>(null);
  /** In the playground: the cell that is edited, and what was typed already. */
  const [editing, setEditing] = useState<{ key: string; typed: string | null } | null>(null);
  void state.playground.value;
  const canEdit = (cell: Cell | undefined): boolean => state.playground.peek()?.canEdit(cell?.key ?? null) ?? false;
  const [row, column] = active && rows[active[0]]?.[active[1]] ? active : firstStop(rows);

  const move = (event: KeyboardEvent, table: HTMLTableElement): void => {
    const to = target(event, ...(place(event) ?? [row, column]), rows.length, rows[0]!.length);
    if (!to) return;
    event.preventDefault();
    setActive(to);
    table.tBodies[0]!.rows[to[0]]?.cells[to[1]]?.focus();
  };

  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLTableElement }): void => {
    // Keys can be faster than drawing: the cell that has the focus counts.
    const [r, c] = place(event) ?? [row, column];
    const cell = rows[r]?.[c];
    const typed = canEdit(cell) ? typedBy(event) : undefined;
    if (typed !== undefined) {
      event.preventDefault();
      setEditing({ key: cell!.key!, typed });
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (cell) onFollow?.(cell);
    } else {
      move(event, event.currentTarget);
    }
  };

  /** Whether all cells have one size that is known beforehand. */
  const even = !columns && !editing && role !== "share";
  const { of } = sheet;
  useEffect(() => {
    if (of) want(state.source, of.name, of.box);
  }, [of?.name, of?.box.start.join(), state.source]);

  const table = useRef<HTMLTableElement>(null);
  const setEdited = (focus: boolean): void => {
    setEditing(null);
    if (focus) table.current?.tBodies[0]!.rows[row]?.cells[column]?.focus();
  };

  // In the same frame as everything else.
  useLayoutEffect(() => {
    drawCells(table.current!.tBodies[0]!, state, sheet, (cell, r, c) => ({
      scale: columns?.[c]?.scale ?? scale,
      lit: cell.key !== null && (lit?.has(cell.key) ?? false),
      stop: r === row && c === column,
      follows: onFollow !== undefined,
      editable: canEdit(cell),
      editing: editing?.key === cell.key ? editing : null,
    }), setEdited);
  });

  const place = (event: Event): [number, number] | null => {
    const td = (event.target as Element).closest("td");
    return td ? [(td.parentElement as HTMLTableRowElement).sectionRowIndex, td.cellIndex] : null;
  };

  return (
    <table
      ref={table}
      role="grid"
      class={`grid ${role}${even ? " even" : ""}`}
      aria-label={label}
      style={{ "--chars": scale.width, "--columns": rows[0]!.length, "--rows": rows.length }}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        const at = place(event);
        const key = at && rows[at[0]]?.[at[1]]?.key;
        if (key && onFollow) state.expect(key);
      }}
      onClick={(event) => {
        const at = place(event);
        const cell = at && rows[at[0]]?.[at[1]];
        if (!cell) return;
        setActive(at);
        if (canEdit(cell) && !event.shiftKey) setEditing({ key: cell.key!, typed: null });
        else onFollow?.(cell);
      }}
      onFocusIn={(event) => {
        const at = place(event);
        if (at) setActive(at);
      }}
    >
      {columns && (
        <thead>
          <tr>
            {columns.map(({ head }) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
      )}
      <tbody key={[state.lang.value, rows.length, rows[0]!.length, sheet.slice].join()} role="rowgroup" />
    </table>
  );
}

/** Where the tab key lands: the selected cell, else the first of the window, else the first. */
function firstStop(rows: readonly (readonly Cell[])[]): readonly [number, number] {
  for (const wanted of ["selected", "window"] as const) {
    for (const [r, cells] of rows.entries()) {
      const c = cells.findIndex((cell) => cell[wanted] && cell.key !== null);
      if (c >= 0) return [r, c];
    }
  }
  return [0, 0];
}

/** Where a key leads from a cell; null where it leads nowhere. */
export function target(
  { key, ctrlKey }: KeyboardEvent,
  row: number,
  column: number,
  rows: number,
  columns: number,
): [number, number] | null {
  const moves: Record<string, [number, number]> = {
    ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1],
    ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column],
    Home: [ctrlKey ? 0 : row, 0],
    End: [ctrlKey ? rows - 1 : row, columns - 1],
  };
  const to = moves[key];
  return to ? [Math.min(Math.max(to[0], 0), rows - 1), Math.min(Math.max(to[1], 0), columns - 1)] : null;
}
