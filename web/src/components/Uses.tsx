/** Where a number goes: everything that the next steps made of it lights up. */
import { parseAddress } from "../address";
import { type Law, lawOf, usesOfInput, usesOfWeight } from "../convolution";
import { type Cell, isPlane, planeOf } from "../equation";
import type { Network, Step } from "../network";
import type { State } from "../state";
import { CellScale, narrowEnough } from "../text";
import { Grid } from "./Grid";
import { PlaneMap } from "./PlaneMap";

/** Planes that are shown of one step, and uses that are looked at. */
const MOST_PLANES = 4;
const MOST_USES = 20_000;

export function Uses({ state, address }: { state: State; address: string }) {
  const { network, revision } = state.source;
  void revision.value;
  const at = parseAddress(address);
  const tensor = at && network.tensor(at.step);
  if (!at || !tensor) return null;
  const readers = network.readers(tensor.name);
  if (!readers.length) return <p class="note">{state.say("page.uses.none")}</p>;
  return (
    <div class="uses">
      {readers.map(({ step, role }) => (
        <UsesIn
          key={`${step.name} ${role}`}
          state={state}
          step={step}
          outputs={outputsOf(network, step, role, at.index)}
        />
      ))}
    </div>
  );
}

/** Positions in a step's output that an operand number went into; null where that is not known. */
function outputsOf(
  network: Network,
  step: Step,
  role: string,
  index: readonly number[],
): number[][] | null {
  const law = lawOf(network, step);
  if (law && role === "input") return usesOfInput(law, index).map((use) => use.output);
  if (law && role === "weight") {
    return usesOfWeight(law, index, MOST_USES).map((use) => use.output);
  }
  const [output, operand] = [network.tensor(step.name), network.tensor(step.operands[role]!)];
  const same = output?.shape.join() === operand?.shape.join();
  return same && !law && step.status === "gates" ? [[...index]] : null;
}

interface UsesInProps {
  state: State;
  step: Step;
  outputs: number[][] | null;
}

function UsesIn({ state, step, outputs }: UsesInProps) {
  const { say } = state;
  const { network } = state.source;
  const tensor = network.tensor(step.name)!;
  if (!outputs) return <p class="note">{say("page.uses.unknown", { name: step.name })}</p>;
  const law = lawOf(network, step);
  const planes = new Map<string, number[][]>();
  const depth = law?.axes.length ? law.leading + 1 : Math.max(tensor.shape.length - 2, 0);
  for (const output of outputs) {
    const key = output.slice(0, depth).join();
    planes.set(key, [...(planes.get(key) ?? []), output]);
  }
  const shown = [...planes.values()].slice(0, MOST_PLANES);
  const follow = (cell: Cell): void => {
    if (cell.key) state.follow(cell.key);
  };
  const key = planes.size > shown.length ? "some" : "all";
  return (
    <section class="used" aria-label={say("page.uses.in", { name: step.name })}>
      <h2>{say("page.uses.in", { name: step.name })}</h2>
      <p>{say(`page.uses.${key}`, { count: outputs.length, shown: shown.length, of: planes.size })}</p>
      <div class="planes">
        {shown.map((places) => (
          <UsedPlane key={places[0]!.join()} state={state} step={step} law={law} places={places} onFollow={follow} />
        ))}
      </div>
    </section>
  );
}

interface UsedPlaneProps {
  state: State;
  step: Step;
  law: Law | null;
  places: number[][];
  onFollow: (cell: Cell) => void;
}

function UsedPlane({ state, step, law, places, onFollow }: UsedPlaneProps) {
  const tensor = state.source.network.tensor(step.name)!;
  const drawn = planeOf(tensor, places[0]!, law, narrowEnough(true));
  const label = law?.axes.length
    ? state.say("page.output_channel", { n: places[0]![law.leading] })
    : state.say("page.output", { name: step.name });
  const lit = new Set(places.map((place) => `${step.name}[${place.join(",")}]`));
  return (
    <figure>
      {isPlane(drawn) ? (
        <PlaneMap state={state} plane={{ ...drawn, mark: hull(places) }} role="output" label={label} />
      ) : (
        <Grid
          state={state}
          role="output"
          label={label}
          sheet={{ ...drawn, rows: drawn.rows.map((row) => row.map((cell) => ({ ...cell, selected: false }))) }}
          scale={new CellScale(drawn.rows.flat().map((cell) => cell.value), true)}
          lit={lit}
          onFollow={onFollow}
        />
      )}
      <figcaption>{label}</figcaption>
    </figure>
  );
}

/** First and last row and column of places in one plane. */
function hull(places: readonly number[][]): [number, number, number, number] {
  const rows = places.map((place) => place.at(-2) ?? 0);
  const columns = places.map((place) => place.at(-1) ?? 0);
  return [Math.min(...rows), Math.max(...rows), Math.min(...columns), Math.max(...columns)];
}
