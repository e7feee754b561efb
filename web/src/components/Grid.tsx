/** A grid of numbers: one tab stop, arrow keys move in it, Enter or a click follows a number. */
import type { VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Cell, Sheet } from "../equation";
import { want } from "../source";
import type { State } from "../state";
import type { CellScale } from "../text";
import { CellEditor, typedBy } from "./CellEditor";

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
  const { rows, slice } = sheet;
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

  const { of } = sheet;
  useEffect(() => {
    if (of) want(state.source, of.name, of.box);
  }, [of?.name, of?.box.start.join(), state.source]);

  const table = useRef<HTMLTableElement>(null);
  const setEdited = (focus: boolean): void => {
    setEditing(null);
    if (focus) table.current?.tBodies[0]!.rows[row]?.cells[column]?.focus();
  };

  const place = (event: Event): [number, number] | null => {
    const td = (event.target as Element).closest("td");
    return td ? [(td.parentElement as HTMLTableRowElement).sectionRowIndex, td.cellIndex] : null;
  };

  return (
    <table
      ref={table}
      role="grid"
      class={`grid ${role}`}
      aria-label={label}
      style={{ "--chars": scale.width }}
      onKeyDown={onKeyDown}
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
      <tbody>
        {rows.map((cells, r) => (
          <tr key={r} class={r && r % slice === 0 ? "slice" : undefined}>
            {cells.map((cell, c) =>
              gridCell({
                number: c,
                state,
                cell,
                scale: columns?.[c]?.scale ?? scale,
                lit: cell.key !== null && (lit?.has(cell.key) ?? false),
                stop: r === row && c === column,
                follows: onFollow !== undefined,
                editable: canEdit(cell),
                editing: editing !== null && editing.key === cell.key ? editing : null,
                onEdited: setEdited,
              }),
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface CellProps {
  number: number;
  state: State;
  cell: Cell;
  scale: CellScale;
  lit: boolean;
  stop: boolean;
  follows: boolean;
  editable: boolean;
  editing: { typed: string | null } | null;
  onEdited: (focus: boolean) => void;
}

/**
 * A grid as it was drawn last, while it would show the same: Preact then leaves its cells alone. From
 * one output to the next, the kernels stay; from one pointed number to the next, nearly everything.
 */
export function useKept(grid: VNode<GridProps>): VNode<GridProps> {
  const kept = useRef(grid);
  if (!isSame(kept.current.props, grid.props)) kept.current = grid;
  return kept.current;
}

function isSame(a: GridProps, b: GridProps): boolean {
  if (a.state !== b.state || a.role !== b.role || a.label !== b.label) return false;
  if (!a.onFollow !== !b.onFollow || !a.scale.same(b.scale)) return false;
  if (a.sheet.slice !== b.sheet.slice || a.sheet.rows.length !== b.sheet.rows.length) return false;
  const isLit = ({ lit }: GridProps, { key }: Cell): boolean => key !== null && (lit?.has(key) ?? false);
  return a.sheet.rows.every((row, r) => {
    const others = b.sheet.rows[r]!;
    return (
      row.length === others.length &&
      row.every((cell, c) => {
        const other = others[c]!;
        return (
          cell.key === other.key &&
          Object.is(cell.value, other.value) &&
          cell.window === other.window &&
          cell.selected === other.selected &&
          cell.shade === other.shade &&
          isLit(a, cell) === isLit(b, other)
        );
      })
    );
  });
}

/** One cell. No component of its own: a view has hundreds, and each component costs. */
function gridCell(props: CellProps) {
  const { number, state, cell, scale, lit, stop, follows, editable, editing, onEdited } = props;
  const classes = [
    cell.window && "window",
    cell.selected && "selected",
    lit && "lit",
    follows && cell.key && "follows",
    editable && "editable",
    editing && "editing",
  ];
  const tabIndex = stop ? 0 : -1;
  if (cell.value === null || cell.blank) {
    classes.push(cell.blank ? "blank" : "padding");
    return (
      <td
        key={number}
        role="gridcell"
        class={join(classes)}
        tabIndex={tabIndex}
        aria-label={state.say(cell.blank ? "page.practice.blank" : "page.padding")}
        aria-selected={cell.selected ? true : undefined}
      />
    );
  }
  if (cell.value === undefined) {
    classes.push("absent");
    const label = state.say("page.absent", { address: cell.key });
    return (
      <td
        key={number}
        role="gridcell"
        class={join(classes)}
        tabIndex={tabIndex}
        data-address={cell.key ?? undefined}
        aria-label={label}
      />
    );
  }
  const shown = scale.show(cell.value);
  const pad = scale.pad(cell.value);
  if (shown.rounded) classes.push("rounded");
  return (
    <td
      key={number}
      role="gridcell"
      class={join(classes)}
      tabIndex={tabIndex}
      data-address={cell.key ?? undefined}
      aria-label={nameOf(state, cell, scale)}
      aria-selected={cell.selected ? true : undefined}
      style={styleOf(pad, cell.shade)}
    >
      {editing ? (
        <CellEditor state={state} address={cell.key!} value={cell.value} typed={editing.typed} onDone={onEdited} />
      ) : (
        <>
          {cell.before && <span class="before">{cell.before}</span>}
          {shown.text}
        </>
      )}
    </td>
  );
}

function styleOf(pad: number, shade: number | undefined): Record<string, string | number> | undefined {
  if (!pad && shade === undefined) return undefined;
  return {
    ...(pad ? { "--pad": pad } : {}),
    ...(shade === undefined
      ? {}
      : { "--shade": `${Math.round(Math.abs(shade) * 45)}%`, "--hue": `var(--${shade < 0 ? "negative" : "positive"})` }),
  };
}

/** Accessible name of a cell: its address, all its digits, and what is shown of them. */
function nameOf(state: State, cell: Cell, scale: CellScale): string {
  const [address, part] = (cell.key ?? "").split("#") as [string, string?];
  const kind = part && /^\w+/.exec(part)![0];
  return scale.name(state, kind ? state.say(`page.part.${kind}`) : address, cell.value!);
}

const join = (classes: readonly (string | false | null | undefined)[]): string | undefined =>
  classes.filter(Boolean).join(" ") || undefined;

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

function target(
  event: KeyboardEvent,
  row: number,
  column: number,
  rows: number,
  columns: number,
): [number, number] | null {
  const clamp = (r: number, c: number): [number, number] => [
    Math.min(Math.max(r, 0), rows - 1),
    Math.min(Math.max(c, 0), columns - 1),
  ];
  switch (event.key) {
    case "ArrowLeft":
      return clamp(row, column - 1);
    case "ArrowRight":
      return clamp(row, column + 1);
    case "ArrowUp":
      return clamp(row - 1, column);
    case "ArrowDown":
      return clamp(row + 1, column);
    case "Home":
      return event.ctrlKey ? [0, 0] : [row, 0];
    case "End":
      return event.ctrlKey ? [rows - 1, columns - 1] : [row, columns - 1];
    default:
      return null;
  }
}

