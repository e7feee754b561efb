/** The layers from the input on: in each, what the selected number was made of or went into. */
import { useComputed } from "@preact/signals";
import { addressText, parseAddress } from "../address";
import { type Span, cone, reach } from "../cone";
import type { State } from "../state";
import type { Tensor } from "../tensor";

/** Most layers that are shown at once; of more, those around the selected number's. */
const MOST_LAYERS = 10;

export function Strip({ state }: { state: State }) {
  const { network } = state.source;
  const { say } = state;
  const spans = useComputed(() => {
    const { network } = state.source;
    const at = parseAddress(state.selected.value);
    if (!at || !network.tensor(at.step)) return { below: NONE, above: NONE };
    return { below: cone(network, at.step, at.index), above: reach(network, at.step, at.index) };
  });
  const here = parseAddress(state.selected.value)?.step;
  const tensors = [...network.tensors.values()].filter(
    ({ origin }) => origin === "step" || origin === "input",
  );
  const { shown, gaps } = around(tensors, here);
  const { below, above } = spans.value;
  return (
    <nav class="strip" aria-label={say("page.layers")}>
      <ol>
        {shown.map((tensor) => (
          <li key={tensor.name}>
            {gaps.has(tensor) && <span class="gap">{say("page.more", { count: gaps.get(tensor) })}</span>}
            <Layer
              state={state}
              tensor={tensor}
              read={below.get(tensor.name)}
              made={above.get(tensor.name)}
              here={tensor.name === here}
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
    </nav>
  );
}

const NONE = new Map<string, Span>();

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
  read: Span | undefined;
  /** What was made of it, here. */
  made: Span | undefined;
  here: boolean;
}

function Layer({ state, tensor, read, made, here }: LayerProps) {
  const { name, shape } = tensor;
  const span = read ?? made;
  const size = shape.slice(shape.length > 3 ? 1 : 0).join(" × ");
  const first = (): void => {
    const index = span ? span.map(([low, high]) => Math.max(0, Math.min(low, high))) : shape.map(() => 0);
    state.select(here ? state.selected.value : addressText(name, index));
  };
  return (
    <button type="button" class="layer" aria-current={here ? "step" : undefined} onClick={first}>
      <Field tensor={tensor} span={span} kind={read ? "read" : "made"} />
      <span class="layer-name">{name}</span>
      <span class="layer-shape">{size}</span>
      <span class="visually-hidden">{here ? "" : fieldText(state, tensor, read, made)}</span>
    </button>
  );
}

/** Say which part of a tensor the selected number was made of, or went into. */
function fieldText(state: State, tensor: Tensor, read: Span | undefined, made: Span | undefined): string {
  const span = read ?? made;
  if (!span || span.some(([low, high]) => high < low)) return state.say("page.field.none");
  const places = span.map(([low, high]) => (low === high ? `${low}` : `${low}–${high}`)).join(", ");
  return state.say(read ? "page.field.read" : "page.field.made", { name: tensor.name, places });
}

/** The plane of a tensor as a small picture, the field filled in. */
interface FieldProps {
  tensor: Tensor;
  span: Span | undefined;
  kind: "read" | "made";
}

function Field({ tensor, span, kind }: FieldProps) {
  const flat = tensor.shape.length < 3;
  const width = tensor.shape.at(-1) ?? 1;
  const height = flat ? 1 : tensor.shape.at(-2)!;
  const scale = 28 / Math.max(width, height, 1);
  const [w, h] = [Math.max(width * scale, 2), Math.max(height * scale, 2)];
  const [left, right] = span?.at(-1) ?? [0, -1];
  const [top, bottom] = flat ? [0, 0] : (span?.at(-2) ?? [0, -1]);
  return (
    <svg class="field" width="32" height="32" viewBox="-2 -2 32 32" aria-hidden="true">
      <rect class="whole" x={(28 - w) / 2} y={(28 - h) / 2} width={w} height={h} />
      {span && right >= left && bottom >= top && (
        <rect
          class={kind}
          x={(28 - w) / 2 + left * scale}
          y={(28 - h) / 2 + top * scale}
          width={Math.max((right - left + 1) * scale, 1.5)}
          height={Math.max((bottom - top + 1) * scale, 1.5)}
        />
      )}
    </svg>
  );
}
