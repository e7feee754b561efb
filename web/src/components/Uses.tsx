/** Where a number goes: everything that the next steps made of it, and how. */
import { useEffect, useState } from "preact/hooks";
import { addressText, parseAddress } from "../address";
import { lawOf } from "../convolution";
import type { Num } from "../document";
import { type Cell, isPlane, planeOf } from "../equation";
import { planeName } from "../naming";
import type { Step } from "../network";
import { ABOUT, productSign } from "../numbers";
import type { State } from "../state";
import { CellScale, narrowEnough } from "../text";
import { usedBy, usesOf } from "../uses";
import { Grid } from "./Grid";
import { Pager } from "./Pager";
import { PlaneMap } from "./PlaneMap";

/** Planes that are shown of one step, and of all together, so that the page stays small. */
const MOST_PLANES = 4;
const ALL_PLANES = 8;
/** Uses that are listed at once. */
const MOST_ROWS = 8;

export function Uses({ state, address }: { state: State; address: string }) {
  const { network } = state.source;
  const at = parseAddress(address);
  const tensor = at && network.tensor(at.step);
  if (!at || !tensor) return null;
  const readers = network.readers(tensor.name);
  if (!readers.length) return <p class="note">{state.say("page.uses.none")}</p>;
  const most = Math.min(Math.max(Math.floor(ALL_PLANES / readers.length), 1), MOST_PLANES);
  return (
    <div class="uses">
      {readers.map(({ step, role }) => (
        <UsesIn key={`${step.name} ${role}`} state={state} name={tensor.name} index={at.index} step={step} role={role} most={most} />
      ))}
    </div>
  );
}

interface UsesInProps {
  state: State;
  /** The number: of which tensor, and where. */
  name: string;
  index: readonly number[];
  step: Step;
  role: string;
  /** Planes that are shown. */
  most: number;
}

function UsesIn({ state, name: operand, index, step, role, most }: UsesInProps) {
  const { say, source } = state;
  void source.revision.value;
  const { name } = step;
  const found = usedBy(source, step, role, index);
  useArrivals(found?.waiting ?? []);
  if (!found) return <p class="note">{say("page.uses.unknown", { name })}</p>;
  const { outputs, missing, waiting } = found;
  const rank = source.network.tensor(name)!.shape.length;
  const law = lawOf(source.network, step);
  const rows = law ? rank - Math.min(law.axes.length, 2) : Math.max(rank - 2, 0);
  const planes = new Map<string, (readonly number[])[]>();
  for (const output of outputs) {
    const key = output.slice(0, rows).join();
    if (!planes.get(key)?.push(output)) planes.set(key, [output]);
  }
  const shown = [...planes.values()].slice(0, most);
  const count = outputs.length;
  return (
    <section class="used" aria-label={say("page.uses.in", { name })}>
      <h2>{say("page.uses.in", { name })}</h2>
      <p>
        {count > 0 && say(count > 1 ? "page.uses.all" : "page.uses.one", { name, count })}{" "}
        {planes.size > shown.length && say("page.uses.some", { shown: shown.length, of: planes.size })}
        {!count && !missing && !waiting.length && say("page.uses.nothing", { name })}
      </p>
      <div class="planes">
        {shown.map((places) => (
          <UsedPlane key={places[0]!.join()} state={state} step={step} places={places} />
        ))}
      </div>
      {count > 0 && <UseTable state={state} address={addressText(operand, index)} step={step} role={role} outputs={outputs} />}
      <Left state={state} waiting={waiting.length} missing={missing} />
    </section>
  );
}

/** Draw again when what was asked for is here. */
function useArrivals(waiting: readonly Promise<unknown>[]): void {
  const [, setArrived] = useState(0);
  useEffect(() => {
    let here = waiting.length > 0;
    void Promise.allSettled(waiting).then(() => here && setArrived((n) => n + 1));
    return () => (here = false);
  });
}

/** Say what is not shown, or not yet. */
function Left({ state, waiting, missing }: { state: State; waiting: number; missing: number }) {
  return (
    <>
      {waiting > 0 && <p class="note">{state.say("page.waiting")}</p>}
      {missing > 0 && <p class="note">{state.say("page.uses.missing", { count: missing })}</p>}
    </>
  );
}

interface UsedPlaneProps {
  state: State;
  step: Step;
  places: readonly (readonly number[])[];
}

/** One plane of the output, with the numbers marked that used the number. */
function UsedPlane({ state, step, places }: UsedPlaneProps) {
  const { network } = state.source;
  const tensor = network.tensor(step.name)!;
  const drawn = planeOf(tensor, places[0]!, lawOf(network, step), narrowEnough(true));
  const lit = new Set(places.map((place) => addressText(step.name, place)));
  const frame = hull(places);
  const inside = (frame[1] - frame[0] + 1) * (frame[3] - frame[2] + 1);
  const map = isPlane(drawn);
  const label = planeName(state, step.name, places[0]!, map ? drawn.at.length : tensor.shape.length - 2);
  const marked = map ? (inside > lit.size ? "some_framed" : "framed") : "yellow";
  return (
    <figure>
      {map ? (
        <PlaneMap state={state} plane={{ ...drawn, mark: frame }} role="output" label={label} />
      ) : (
        <Grid
          state={state}
          role="output"
          label={label}
          sheet={{ ...drawn, rows: drawn.rows.map((row) => row.map((cell) => ({ ...cell, selected: false }))) }}
          scale={new CellScale(drawn.rows.flat().map((cell) => cell.value), true)}
          lit={lit}
          onFollow={(cell) => cell.key && state.follow(cell.key)}
        />
      )}
      <figcaption>
        {label}
        <br />
        <span class={`swatch ${marked}`} /> {state.say(`page.uses.${marked}`, { count: lit.size })}
      </figcaption>
    </figure>
  );
}

interface UseTableProps {
  state: State;
  address: string;
  step: Step;
  role: string;
  outputs: readonly (readonly number[])[];
}

/** Each use as an equation: number × factor = product, and what it went into. */
function UseTable({ state, address, step, role, outputs }: UseTableProps) {
  const { say, source } = state;
  const [from, setFrom] = useState(0);
  const first = from < outputs.length ? from : 0;
  const seen = outputs.slice(first, first + MOST_ROWS);
  const last = first + seen.length;
  const { uses, missing, waiting } = usesOf(source, step, seen, address);
  useArrivals(waiting);
  const at = parseAddress(address)!;
  const value = source.network.tensor(at.step)!.at(at.index);
  const made = uses.map(({ output }) => source.network.tensor(step.name)!.at(output));
  const scales = [
    new CellScale([value], true),
    new CellScale(uses.map(({ factor }) => factor.value), true),
    new CellScale(uses.map(({ product }) => product.value), false),
    new CellScale(made, true),
  ] as const;
  const rows = uses.map(({ output, factor, product }, n): Cell[] => {
    const key = addressText(step.name, output);
    return [
      { key: address, value },
      { ...factor, before: "×" },
      { ...product, before: sign(scales, [value, factor.value, product.value]) },
      { key, value: made[n], before: `→ ${key} ${scales[3].show(made[n] ?? 0).rounded ? ABOUT : "="}` },
    ];
  });
  const by = !lawOf(source.network, step) || role === "bias" ? "factor" : role === "input" ? "weight" : "input";
  const heads = ["number", by, "product", "into"].map((part) => say(`page.uses.heading.${part}`));
  return (
    <div class="use-table">
      {rows.length > 0 && (
        <Grid
          state={state}
          role="used-in"
          label={say("page.uses.table", { name: step.name })}
          sheet={{ rows, slice: rows.length }}
          scale={scales[0]}
          columns={heads.map((head, n) => ({ head, scale: scales[n]! }))}
          onFollow={(cell) => {
            // A product, or a factor that is stored nowhere, leads to the receipt that it stands in.
            if (cell.key) state.follow(cell.key.replace(/#.*/, ""));
          }}
        />
      )}
      <Left state={state} waiting={waiting.length} missing={missing} />
      {outputs.length > seen.length && (
        <Pager
          state={state}
          text={say("page.uses.rows", { first: first + 1, last, count: outputs.length })}
          previous={first ? () => setFrom(first - MOST_ROWS) : null}
          next={last < outputs.length ? () => setFrom(last) : null}
        />
      )}
    </div>
  );
}

/** `=` where the product is that of the factors as they are shown. */
function sign(scales: readonly CellScale[], values: readonly (Num | undefined)[]): string {
  if (values.some((value) => value === undefined)) return "=";
  const [left, right, made] = values.map((value, n) => scales[n]!.show(value!));
  return productSign(left!, right!, made!);
}

/** First and last row and column of places in one plane. */
function hull(places: readonly (readonly number[])[]): [number, number, number, number] {
  const rows = places.map((place) => place.at(-2) ?? 0);
  const columns = places.map((place) => place.at(-1) ?? 0);
  return [Math.min(...rows), Math.max(...rows), Math.min(...columns), Math.max(...columns)];
}
