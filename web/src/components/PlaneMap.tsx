/**
 * A plane that is too large for cells, on a canvas.
 *
 * Keyboard: arrows move a cursor, Enter follows the number under it, + − 0 zoom. Pointer: a click follows
 * a number, dragging pans, the wheel zooms once the map has the focus, two fingers pinch.
 */
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { addressText } from "../address";
import type { Plane } from "../equation";
import { identify } from "../numbers";
import { type Painted, paint, paletteOf, prepare } from "../paint";
import { want } from "../source";
import type { State } from "../state";
import { type View, cellAt, fit, pan, reveal, tilesSeen, zoom } from "../view";
import { typedBy } from "./CellEditor";
import { target } from "./Grid";
import { type Edited, MapEditor, ZOOMS } from "./MapEditor";

export interface PlaneMapProps {
  state: State;
  plane: Plane;
  role: string;
  label: string;
  /** Longer side in CSS pixels. */
  side?: number;
  /** Size of a number that has the full colour, where other maps share the scale. */
  largest?: number;
  /** Whether positive numbers have a sign, too. */
  plus?: boolean;
  /** Follows a number by its `data-address`; without it, the reader goes there. */
  onFollow?: (key: string) => void;
}

/** Of a plane of another size, all is seen at first. */
export const PlaneMap = (props: PlaneMapProps) => <SizedMap key={[props.plane.rows, props.plane.columns].join()} {...props} />;

function SizedMap({ state, plane, role, label, side = 220, largest, plus = false, onFollow }: PlaneMapProps) {
  const { tensor, at, rows, columns, mark } = plane;
  const { source, say } = state;
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = sizeOf(rows, columns, side);
  const [view, setView] = useState<View>(() => fit(rows, columns, size));
  const [cursor, setCursor] = useState<[number, number] | null>(null);
  const [edited, setEdited] = useState<Edited | null>(null);
  const painted = useRef<Painted | null>(null);
  const fingers = useRef(new Map<number, { x: number; y: number }>());
  const dragged = useRef(0);
  void source.revision.value;
  const arrived = tensor.boxes.length;
  const theme = state.theme.value;
  const place = at.join();

  const flat = at.length + 2 > tensor.shape.length;
  useEffect(() => {
    const near = [mark ? mark[0] : 0, mark ? mark[2] : 0] as const;
    for (const tile of tilesSeen(view, rows, columns, size, near)) {
      const start = flat ? [tile.left] : [tile.top, tile.left];
      const shape = flat ? [tile.columns] : [tile.rows, tile.columns];
      want(source, tensor.name, { start: [...at, ...start], shape: [...at.map(() => 1), ...shape] });
    }
  }, [source, tensor, place, view]);

  const draw = (): void => {
    const element = canvas.current;
    if (!element || !painted.current) return;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (element.width !== width || element.height !== height) {
      element.width = width;
      element.height = height;
    }
    const context = element.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint(context, painted.current, view, size, plus);
  };

  useLayoutEffect(() => {
    painted.current = null;
  }, [tensor, place]);

  // Colours and numbers, anew when one of them changed: after the receipt was painted.
  useEffect(() => {
    painted.current = prepare(tensor.plane(at, rows, columns), rows, columns, paletteOf(canvas.current!), largest);
    draw();
  }, [tensor, place, arrived, theme, largest]);

  // What is seen of them, in the same frame as everything else.
  useLayoutEffect(draw, [view, size.width, size.height]);

  // A system that turns dark does not tell the state; neither does paper, which is always light.
  useEffect(() => {
    const queries = ["(prefers-color-scheme: dark)", "print"].map((text) => matchMedia(text));
    const again = (): void => {
      if (canvas.current && painted.current) {
        painted.current = prepare(painted.current.values, rows, columns, paletteOf(canvas.current), largest);
        setView((old) => ({ ...old }));
      }
    };
    for (const query of queries) query.addEventListener("change", again);
    return () => queries.forEach((query) => query.removeEventListener("change", again));
  }, [rows, columns, largest, theme]);

  const indexOf = ([row, column]: readonly [number, number]): number[] =>
    flat ? [...at, column] : [...at, row, column];
  const addressOf = (cell: readonly [number, number]): string => addressText(tensor.name, indexOf(cell));
  const follow = (cell: readonly [number, number]): void =>
    (onFollow ?? state.follow)(addressOf(cell));
  /** In the playground, a number that was given is edited where it stands. */
  const canEdit = (cell: readonly [number, number]): boolean =>
    !onFollow && (state.playground.peek()?.canEdit(addressOf(cell)) ?? false);
  const nameOf = (cell: readonly [number, number]): string => {
    const value = tensor.at(indexOf(cell));
    const address = addressOf(cell);
    return value === undefined || Number.isNaN(Number(value)) ? address : `${address} = ${identify(value).text}`;
  };
  const point = (cell: [number, number] | null): void => {
    state.pointed.value = cell ? addressOf(cell) : null;
  };
  const middle = { x: size.width / 2, y: size.height / 2 };
  const zoomBy = (factor: number, around = middle): void =>
    setView((old) => zoom(old, factor, around, rows, columns, size));
  const zooms = useMemo(
    () => (
      <div class="zoom">
        <button aria-label={say("page.map.in")} onClick={() => zoomBy(1.5)}>
          +
        </button>
        <button aria-label={say("page.map.out")} onClick={() => zoomBy(1 / 1.5)}>
          −
        </button>
      </div>
    ),
    [state.lang.value],
  );
  const local = (event: MouseEvent): { x: number; y: number } => {
    const box = canvas.current!.getBoundingClientRect();
    // A click knows whole pixels only; what comes before it is to name the same cell.
    return { x: Math.floor(event.clientX) - box.left, y: Math.floor(event.clientY) - box.top };
  };

  const here: [number, number] = cursor ?? [mark ? Math.max(mark[0], 0) : 0, mark ? Math.max(mark[2], 0) : 0];

  const shown = edited?.cell ?? cursor;
  const frame = { width: `${size.width}px`, height: `${size.height}px` };

  const onKeyDown = (event: KeyboardEvent): void => {
    const [row, column] = here;
    const typed = canEdit([row, column]) && !ZOOMS.has(event.key) ? typedBy(event) : undefined;
    if (typed !== undefined) {
      event.preventDefault();
      setEdited({ cell: [row, column], typed });
      return;
    }
    const cell = target(event, row, column, rows, columns);
    if (cell) {
      setCursor(cell);
      setView((old) => reveal(old, cell[0], cell[1], rows, columns, size));
      point(cell);
    } else if (event.key === "Enter" || event.key === " ") {
      follow([row, column]);
    } else if (event.key === "+" || event.key === "=") {
      zoomBy(1.5, cursor ? centreOf(view, cursor) : middle);
    } else if (event.key === "-") {
      zoomBy(1 / 1.5);
    } else if (event.key === "0") {
      setView(fit(rows, columns, size));
    } else {
      return;
    }
    event.preventDefault();
  };

  const onPointerMove = (event: PointerEvent): void => {
    const now = local(event);
    const before = fingers.current.get(event.pointerId);
    if (!before) {
      point(cellAt(view, now, rows, columns));
      return;
    }
    fingers.current.set(event.pointerId, now);
    if (fingers.current.size === 2) {
      const other = [...fingers.current.entries()].find(([id]) => id !== event.pointerId)![1];
      const apart = (a: { x: number; y: number }): number => Math.hypot(a.x - other.x, a.y - other.y);
      zoomBy(apart(now) / Math.max(apart(before), 1), other);
    } else {
      setView((old) => pan(old, now.x - before.x, now.y - before.y, rows, columns, size));
    }
    dragged.current += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
  };

  return (
    <div class={`plane ${role}`} role="group" aria-label={label}>
      <canvas
        ref={canvas}
        style={frame}
        tabIndex={0}
        role="button"
        data-address={addressOf(here)}
        aria-label={`${label}. ${nameOf(here)}. ${say(canEdit(here) ? "page.map.edit" : "page.map.keys")}`}
        onKeyDown={onKeyDown}
        onFocus={() => {
          setCursor((now) => now ?? here);
          point(here);
        }}
        onBlur={() => setCursor(null)}
        onPointerDown={(event) => {
          if (view.cell > fit(rows, columns, size).cell || fingers.current.size) {
            canvas.current!.setPointerCapture(event.pointerId);
          }
          const at = local(event);
          const cell = cellAt(view, at, rows, columns);
          fingers.current.set(event.pointerId, at);
          dragged.current = 0;
          if (cell && !onFollow) state.expect(addressOf(cell));
        }}
        onPointerMove={onPointerMove}
        onPointerUp={(event) => fingers.current.delete(event.pointerId)}
        onPointerCancel={(event) => fingers.current.delete(event.pointerId)}
        onPointerLeave={(event) => fingers.current.delete(event.pointerId)}
        onClick={(event) => {
          // Enter on the canvas is not a click.
          const cell = cellAt(view, local(event), rows, columns);
          if (!cell || dragged.current >= 6) return;
          if (canEdit(cell) && !event.shiftKey) setEdited({ cell, typed: null });
          else follow(cell);
        }}
        onWheel={(event) => {
          if (document.activeElement !== canvas.current && !event.ctrlKey) return;
          event.preventDefault();
          zoomBy(Math.exp(-event.deltaY / 300), local(event));
        }}
      />
      <div class="marks" style={frame}>
        {mark && outline(view, mark, role === "output" ? "" : "window")}
        {shown && outline(view, [shown[0], shown[0], shown[1], shown[1]], "")}
      </div>
      {edited && (
        <MapEditor
          state={state}
          edited={edited}
          address={addressOf(edited.cell)}
          view={view}
          size={size}
          onDone={(focus) => {
            setEdited(null);
            if (!focus) return;
            setCursor(edited.cell);
            canvas.current?.focus();
          }}
        />
      )}
      <span class="visually-hidden" aria-live="polite">
        {cursor && nameOf(cursor)}
      </span>
      {zooms}
    </div>
  );
}

/** An outline around cells. It moves over the map, which need not be painted again. */
function outline(view: View, [top, bottom, left, right]: NonNullable<Plane["mark"]>, kind: string) {
  const length = (low: number, high: number): string => `${Math.max((high - low + 1) * view.cell, 4)}px`;
  if (bottom < top || right < left) return null;
  const at = [view.x + left * view.cell, view.y + top * view.cell];
  return (
    <i
      class={kind}
      style={{ width: length(left, right), height: length(top, bottom), transform: `translate(${at.join("px,")}px)` }}
    />
  );
}

function centreOf(view: View, [row, column]: readonly [number, number]): { x: number; y: number } {
  return { x: view.x + (column + 0.5) * view.cell, y: view.y + (row + 0.5) * view.cell };
}

function sizeOf(rows: number, columns: number, side: number): { width: number; height: number } {
  const cell = side / Math.max(rows, columns);
  return { width: Math.round(columns * cell), height: Math.max(Math.round(rows * cell), 28) };
}
