/**
 * The cells of a grid, drawn by hand: a view has hundreds, and from one number to the next little more
 * than their texts changes.
 */
import { render } from "preact";
import type { Cell, Sheet } from "../equation";
import type { State } from "../state";
import type { CellScale } from "../text";
import { CellEditor } from "./CellEditor";

/** How a cell is drawn. */
export interface Look {
  scale: CellScale;
  lit: boolean;
  /** Whether the tab key lands on it. */
  stop: boolean;
  follows: boolean;
  editable: boolean;
  /** While it is edited: what was typed already. */
  editing: { typed: string | null } | null;
}

/** What is written in a cell: before the number, the number, and room up to the end of the column. */
type Texts = readonly [before: string, text: string, room: string];

/** A cell as it was drawn last. */
interface Drawn extends Partial<Look> {
  td: HTMLElement;
  cell: Cell;
  attributes: Readonly<Record<string, string | null>>;
  texts: Texts | null;
}

type Editing = (focus: boolean) => void;

const drawn = new WeakMap<Element, Drawn[][]>();

/** Make a table's body show a sheet: always one of the same size, in the same language. */
export function drawCells(
  body: HTMLTableSectionElement,
  state: State,
  { rows, slice }: Sheet,
  lookOf: (cell: Cell, row: number, column: number) => Look,
  onEdited: Editing,
): void {
  const old = drawn.get(body) ?? rows.map((cells, r) => {
    const row = child(body, "tr", "row");
    if (r && r % slice === 0) row.className = "slice";
    return cells.map((cell) => ({ td: child(row, "td", "gridcell"), cell, attributes: {}, texts: NOTHING }));
  });
  drawn.set(body, old);
  rows.forEach((cells, r) => {
    cells.forEach((cell, c) => draw(old[r]![c]!, state, cell, lookOf(cell, r, c), onEdited));
  });
}

function child(parent: Element, name: string, role: string): HTMLElement {
  const made = parent.ownerDocument.createElement(name);
  made.setAttribute("role", role);
  return parent.appendChild(made);
}

function draw(old: Drawn, state: State, cell: Cell, look: Look, onEdited: Editing): void {
  const { td, cell: before, texts } = old;
  const { scale, editing } = look;
  const { key, value, shade } = cell;
  const here = typeof value === "number" || typeof value === "string";
  const shown = here && !cell.blank ? scale.show(value) : null;
  const same = old.scale?.same(scale) && before.key === key && Object.is(before.value, value) &&
    before.blank === cell.blank && before.before === cell.before;
  const classes =
    (cell.window ? "window " : "") +
    (cell.selected ? "selected " : "") +
    (look.lit ? "lit " : "") +
    (look.follows && key ? "follows " : "") +
    (look.editable ? "editable " : "") +
    (editing ? "editing " : "") +
    (cell.blank ? "blank" : value === null ? "padding" : value === undefined ? "absent" : shown!.rounded ? "rounded" : "");
  if (same && classes === old.attributes["class"] && look.stop === old.stop && shade === before.shade && !editing && texts) return;
  const attributes = {
    class: classes,
    tabindex: look.stop ? "0" : "-1",
    "data-address": cell.blank || value === null ? null : key,
    "aria-label": same ? old.attributes["aria-label"]! : nameOf(state, cell, scale),
    "aria-selected": cell.selected ? "true" : null,
  };
  let name: keyof typeof attributes;
  for (name in attributes) {
    const text = attributes[name];
    if (text === (old.attributes[name] ?? null)) continue;
    if (text === null) td.removeAttribute(name);
    else td.setAttribute(name, text);
  }
  if (shade !== undefined) {
    td.style.setProperty("--shade", `${Math.round(Math.abs(shade) * 45)}%`);
    td.style.setProperty("--hue", `var(--${shade < 0 ? "negative" : "positive"})`);
  }
  let written: Texts | null = null;
  if (editing) {
    if (texts) td.replaceChildren();
    render(<CellEditor state={state} address={key!} value={value!} typed={editing.typed} onDone={onEdited} />, td);
  } else {
    if (!texts) render(null, td);
    written = [cell.before ?? "", shown?.text ?? "", shown ? scale.room(value!) : ""];
    write(td, written, texts ?? NOTHING);
  }
  Object.assign(old, look, { cell, attributes, texts: written });
}

const NOTHING: Texts = ["", "", ""];

function write(td: HTMLElement, [before, text, room]: Texts, old: Texts): void {
  if (before !== old[0] || !text !== !old[1] || !room !== !old[2]) {
    td.replaceChildren(...piece(td, "span", before), text, ...piece(td, "i", room));
    return;
  }
  if (text !== old[1]) (td.childNodes[before ? 1 : 0] as Text).data = text;
  if (room !== old[2]) (td.lastChild!.firstChild as Text).data = room;
}

function piece(td: HTMLElement, name: "span" | "i", text: string): HTMLElement[] {
  if (!text) return [];
  const made = td.ownerDocument.createElement(name);
  if (name === "span") {
    // Written by the style sheet: the text of a cell is its number, as its name says it.
    made.className = "before";
    made.dataset.text = text;
  } else made.textContent = text;
  return [made];
}

/** Accessible name of a cell: its address, all its digits, and what is shown of them. */
function nameOf(state: State, cell: Cell, scale: CellScale): string {
  if (cell.blank) return state.say("page.practice.blank");
  if (cell.value === null) return state.say("page.padding");
  if (cell.value === undefined) return state.say("page.absent", { address: cell.key });
  const [address, part] = (cell.key ?? "").split("#") as [string, string?];
  const kind = part && /^\w+/.exec(part)![0];
  return scale.name(state, kind ? state.say(`page.part.${kind}`) : address, cell.value);
}
