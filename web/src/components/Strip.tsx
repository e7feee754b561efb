/** The layers from the input on: in each, what the selected number was made of or went into. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { addressText, parseAddress } from "../address";
import { type Field as Found, cone, reach, spanOf } from "../cone";
import { channelAxis } from "../naming";
import { runsOf } from "../places";
import type { Reached } from "../source";
import type { State } from "../state";
import type { Tensor } from "../tensor";

/** Most layers that are shown at once; of more, those around the selected number's. */
const MOST_LAYERS = 10;

export function Strip({ state }: { state: State }) {
  const { network } = state.source;
  const { say } = state;
  const selected = state.selected.value;
  const spans = useMemo(() => {
    const at = parseAddress(selected);
    const name = at && network.tensor(at.step)?.name;
    if (!at || !name) return { below: NONE, above: NONE };
    return { below: cone(network, name, at.index), above: reach(network, name, at.index) };
  }, [network, selected]);
  const here = network.tensor(parseAddress(selected)?.step ?? "")?.name;
  const tensors = [...network.tensors.values()].filter(
    ({ origin }) => origin === "step" || origin === "input",
  );
  const { shown, gaps } = around(tensors, here);
  const [asked, setAsked] = useState<(Reached & { of: string }) | null>(null);
  const told = asked?.of === selected ? asked : spans;
  const fieldIn = (side: keyof Reached, name: string): Found | undefined => {
    const own = spans[side].get(name);
    return own === null ? told[side].get(name) : own;
  };
  useEffect(() => {
    const { below, above } = spans;
    const names = shown.flatMap(({ name }) => (below.get(name) === null || above.get(name) === null ? [name] : []));
    const at = parseAddress(selected);
    if (names.length && at) {
      void state.source.reach?.(at, names).then(
        (found) => setAsked({ ...found, of: selected }),
        () => undefined, // It stays unknown; the next receipt says why nobody answers.
      );
    }
  }, [selected, state.source]);
  // Where there is little room, many layers stand in one line; the one that is shown is in sight.
  const line = useRef<HTMLOListElement>(null);
  useEffect(() => {
    line.current!.scrollLeft = line.current!.querySelector<HTMLElement>("[aria-current]")?.offsetLeft! - 150;
  }, [here]);
  /** The layer under the pointer or the focus: the line below says in words what its picture shows. */
  const [looked, setLooked] = useState<string | null>(null);
  const said = tensors.find(({ name }) => name === looked && name !== here) ?? farthest(tensors, here, spans);
  return (
    <nav class="strip" aria-label={say("page.layers")}>
      <ol ref={line} class={gaps.size ? "line" : ""}>
        {shown.map((tensor) => (
          <li key={tensor.name}>
            {gaps.has(tensor) && <span class="gap">{say("page.more", { count: gaps.get(tensor) })}</span>}
            <Layer
              state={state}
              tensor={tensor}
              read={fieldIn("below", tensor.name)}
              made={fieldIn("above", tensor.name)}
              here={tensor.name === here}
              onLook={(on) => {
                setLooked((now) => (on ? tensor.name : now === tensor.name ? null : now));
              }}
            />
          </li>
        ))}
      </ol>
      {gaps.size > 0 && (
        <label class="all">
          {say("page.all_layers")}{" "}
          <select
            value={here ?? ""}
            onChange={(event) => {
              const tensor = network.tensor(event.currentTarget.value);
              if (tensor) state.select(addressText(tensor.name, tensor.shape.map(() => 0)));
            }}
          >
            {tensors.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      {said && (
        <p class="legend" aria-hidden="true">
          <span class={`swatch ${spans.below.has(said.name) ? "read" : "made"}`} />{" "}
          {fieldText(state, said, fieldIn("below", said.name), fieldIn("above", said.name))}
        </p>
      )}
    </nav>
  );
}

const NONE = new Map<string, Found>();

/** The layer that says most: the input that the number was made of, else the last one made of it. */
function farthest(
  tensors: readonly Tensor[],
  here: string | undefined,
  { below, above }: Reached,
): Tensor | undefined {
  const others = tensors.filter(({ name }) => name !== here);
  return others.find(({ name }) => below.has(name)) ?? others.findLast(({ name }) => above.has(name));
}

/** Choose the first layer, the last, and those around one; say how many were left out before each. */
function around(
  tensors: readonly Tensor[],
  here: string | undefined,
): { shown: Tensor[]; gaps: Map<Tensor, number> } {
  const gaps = new Map<Tensor, number>();
  if (tensors.length <= MOST_LAYERS) return { shown: [...tensors], gaps };
  const at = Math.max(tensors.findIndex(({ name }) => name === here), 0);
  const room = MOST_LAYERS - 2;
  const first = Math.min(Math.max(at - room / 2, 1), tensors.length - 1 - room);
  const shown = [tensors[0]!, ...tensors.slice(first, first + room), tensors.at(-1)!];
  const left = [first - 1, tensors.length - 1 - first - room] as const;
  if (left[0]) gaps.set(shown[1]!, left[0]);
  if (left[1]) gaps.set(shown.at(-1)!, left[1]);
  return { shown, gaps };
}

interface LayerProps {
  state: State;
  tensor: Tensor;
  /** What the selected number was made of, here. */
  read: Found | undefined;
  /** What was made of it, here. */
  made: Found | undefined;
  here: boolean;
  onLook: (on: boolean) => void;
}

function Layer({ state, tensor, read, made, here, onLook }: LayerProps) {
  const { name, shape } = tensor;
  const field = read === undefined ? made : read;
  const size = shape.slice(channelAxis(state.source.network, name) > 0 ? 1 : 0).join(" × ");
  const first = (): void => {
    const index = spanOf(field)?.map(([low]) => low) ?? shape.map(() => 0);
    state.select(here ? state.selected.value : addressText(name, index));
  };
  return (
    <button
      class="layer"
      aria-current={here ? "step" : undefined}
      onClick={first}
      onPointerEnter={() => onLook(true)}
      onPointerLeave={() => onLook(false)}
      onFocus={() => onLook(true)}
      onBlur={() => onLook(false)}
    >
      <Field tensor={tensor} field={field} kind={read === undefined ? "made" : "read"} />
      <span class="layer-name">{brief(name)}</span>
      <span class="layer-shape">{size}</span>
      <span class="visually-hidden">{here ? "" : fieldText(state, tensor, read, made)}</span>
    </button>
  );
}

/** The end of a long path: `…1.conv2`. */
const brief = (name: string): string => (name.length > 30 ? name.replace(/^.*?\.(?=.{1,24}$)/, "…") : name);

/** Say which part of a tensor the selected number was made of, or went into. */
function fieldText(state: State, tensor: Tensor, read: Found | undefined, made: Found | undefined): string {
  const { name, shape } = tensor;
  const field = read === undefined ? made : read;
  if (field === undefined) return state.say("page.field.none", { name });
  if (field === null) return state.say("page.field.unknown", { name });
  const key = `page.field.${read === undefined ? "made" : "read"}`;
  const [box, another] = field;
  const every = box!.every((places, axis) => places.length === shape[axis]);
  if (every && !another) return state.say(`${key}_all`, { name });
  const places = spanOf(field)!.map((ends, axis) => {
    const runs = another ? [ends] : runsOf(box![axis]!);
    const most = runs.length > MOST_RUNS ? [ends] : runs;
    const text = most.map(([low, high]) => (low === high ? `${low}` : `${low}–\u2060${high}`)).join(", ");
    return most.length > 1 ? `{${text}}` : text;
  });
  return state.say(key, { name, places: places.join(", ") });
}

/** Runs of positions on one axis that are still told apart. */
const MOST_RUNS = 8;

/** The plane of a tensor as a small picture, the field filled in. */
interface FieldProps {
  tensor: Tensor;
  field: Found | undefined;
  kind: "read" | "made";
}

function Field({ tensor, field, kind }: FieldProps) {
  const flat = tensor.shape.length < 3;
  const width = tensor.shape.at(-1) ?? 1;
  const height = flat ? 1 : tensor.shape.at(-2)!;
  const scale = 28 / Math.max(width, height, 1);
  const [w, h] = [Math.max(width * scale, 2), Math.max(height * scale, 2)];
  const [x, y] = [(28 - w) / 2, (28 - h) / 2];
  const box = ([left, right]: readonly [number, number], [top, bottom]: readonly [number, number]): string => {
    const [wide, high] = [Math.max((right - left + 1) * scale, 1.5), Math.max((bottom - top + 1) * scale, 1.5)];
    return `M${x + left * scale} ${y + top * scale}h${wide}v${high}h${-wide}z`;
  };
  const filled = (field ?? []).flatMap((places) => {
    const columns = places.length ? runsOf(places.at(-1)!) : [[0, 0] as const];
    const rows = flat ? [[0, 0] as const] : runsOf(places.at(-2)!);
    return rows.flatMap((row) => columns.map((column) => box(column, row)));
  });
  return (
    <svg class="field" width="32" height="32" viewBox="-2 -2 32 32" aria-hidden="true">
      <rect class={field === null ? "whole unknown" : "whole"} x={x} y={y} width={w} height={h} />
      {filled.length > 0 && <path class={kind} d={filled.join("")} />}
    </svg>
  );
}
