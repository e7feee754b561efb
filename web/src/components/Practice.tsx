/** An exercise: one number is hidden, the reader works it out, hints come first, then the receipt. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { parseAddress } from "../address";
import { outputFormula } from "../geometry";
import { slips } from "../slips";
import { identify } from "../numbers";
import { type Exercise, LEVELS, type Practice as Which, exerciseOf, nextPractice } from "../practice";
import { receiptOf } from "../receipt";
import { axisOf } from "../settings";
import type { State } from "../state";
import { readTyped } from "../typed";
import { PracticePicture } from "./PracticePicture";
import { ReceiptView } from "./ReceiptView";
import { ShapePicture } from "./ShapePicture";
import { upTo } from "../places";

/** Hints there are of each kind. */
const HINTS = { output: 3, product: 1, shape: 2 } as const;

export function Practice({ state }: { state: State }) {
  const which = state.practice.value;
  return which && <Sheets key={`${which.level}.${which.seed}`} state={state} which={which} />;
}

function Sheets({ state, which }: { state: State; which: Which }) {
  const { say } = state;
  const exercise = useMemo(() => exerciseOf(which), [which]);
  const [hints, setHints] = useState(0);
  const [typed, setTyped] = useState<readonly string[]>(exercise.answers.map(() => ""));
  const [said, setSaid] = useState("");
  const [over, setOver] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const onward = useRef<HTMLButtonElement>(null);
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  useEffect(() => {
    if (over) onward.current?.focus();
  }, [over]);
  const check = (): void => {
    const values = typed.map(readTyped);
    if (values.some((value) => value === null)) return setSaid(say("page.practice.no_number"));
    const right = values.every((value, n) => value === exercise.answers[n]);
    if (right) setOver(true);
    setSaid(right ? say("page.practice.right") : say(`page.practice.wrong.${slips(exercise, values as number[])}`));
  };
  const most = HINTS[exercise.kind];
  const labels = exercise.kind === "shape" ? ["rows", "columns"] : ["answer"];
  return (
    <section class="practice" aria-label={say("page.practice.title")} data-keeps-focus>
      <div class="tools">
        <h1>{say("page.practice.title")}</h1>
        <div class="switches">
          <label>
            {say("page.practice.level")}{" "}
            <select
              value={String(which.level)}
              onChange={(event) => state.exercise({ ...which, level: Number(event.currentTarget.value) })}
            >
              {LEVELS.map((level) => (
                <option key={level} value={String(level)}>
                  {level}
                </option>
              ))}
            </select>
          </label>
          <button onClick={() => state.exercise(null)}>
            {say("page.practice.close")}
          </button>
        </div>
      </div>
      <p class="lead">{questionText(state, exercise)}</p>
      {exercise.kind === "shape" ? (
        <>
          {!over && <ShapePicture state={state} exercise={exercise} />}
          <ShapeHints state={state} exercise={exercise} hints={over ? most : hints} />
        </>
      ) : (
        !over && <PracticePicture state={state} exercise={exercise} hints={hints} />
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          check();
        }}
      >
        {labels.map((label, n) => (
          <label key={label}>
            {say(`page.practice.${label}`)}{" "}
            <input
              ref={n ? null : field}
              type="text"
              inputMode="decimal"
              autocomplete="off"
              size={6}
              readOnly={over}
              value={typed[n]}
              onInput={(event) => {
                const text = event.currentTarget.value;
                setTyped(typed.map((old, m) => (m === n ? text : old)));
                setSaid("");
              }}
            />
          </label>
        ))}
        {over ? (
          <button ref={onward} type="button" class="main" onClick={() => state.exercise(nextPractice(which))}>
            {say("page.practice.next")}
          </button>
        ) : (
          <>
            <button type="submit" class="main">
              {say("page.practice.check")}
            </button>
            {hints < most ? (
              <button type="button" onClick={() => setHints(hints + 1)}>
                {say("page.practice.hint")}
              </button>
            ) : (
              <button type="button" onClick={() => {
                setOver(true);
                setSaid(say("page.practice.shown", { answer: exercise.answers.map((one) => identify(one).text).join(" × ") }));
              }}>
                {say("page.practice.show")}
              </button>
            )}
          </>
        )}
      </form>
      <p role="status" class={over ? "right" : "said"}>{said}</p>
      <div role="status" class="hints">
        {upTo(Math.min(hints, most)).map((n) => (
          <p key={n} class="note">
            {say(`page.practice.hints.${exercise.kind}_${n + 1}`)}
          </p>
        ))}
      </div>
      {over && <ReceiptView state={state} />}
    </section>
  );
}

function questionText({ say, source }: State, exercise: Exercise): string {
  const { stack, address, kind } = exercise;
  const { settings } = stack;
  const layer = settings.layers[0]!;
  const at = parseAddress(address)!.index;
  const words = {
    row: at[2], column: at[3], channel: at[1], reads: settings.channels, makes: layer.channels,
    rows: settings.size[0], columns: settings.size[1], kernel: layer.kernel.join(" × "),
    bias: identify(stack.biases[0]?.values[at[1]!] ?? 0).text,
    settings: ["stride", "padding", "dilation"].map((name) =>
      say(`page.practice.setting.${name === "padding" && layer.transposed ? "crop" : name}`, { size: layer[name as "stride"][0] })).join(", "),
  };
  if (kind === "shape") return say(`page.practice.ask.shape${layer.transposed ? "_transposed" : ""}`, words);
  if (kind === "product") {
    const receipt = receiptOf(source.network, layer.name, at)!;
    return say("page.practice.ask.product", { ...words, channel: receipt.channels[Math.floor(exercise.product / (receipt.products.length / receipt.channels.length))] });
  }
  return [
    say("page.practice.ask.window"),
    ...(layer.padding.some((size) => size > 0) ? [say("page.practice.ask.padding")] : []),
    ...(layer.bias ? [say("page.practice.ask.bias", words)] : []),
    say("page.practice.ask.output", words),
  ].join(" ");
}

/** The formula of the size: with names, then with numbers. */
function ShapeHints({ state, exercise, hints }: { state: State; exercise: Exercise; hints: number }) {
  const { settings } = exercise.stack;
  const layer = settings.layers[0]!;
  return (
    <div class="formulas">
      {hints > 0 && <p>{state.say(`page.practice.formula${layer.transposed ? "_transposed" : ""}`)}</p>}
      {hints > 1 && ["rows", "columns"].map((name, axis) => (
        <p key={name}>
          {state.say(`page.practice.${name}`)} = {outputFormula(axisOf(layer, axis), settings.size[axis]!).replace(/ = −?\d+$/, "")}
        </p>
      ))}
    </div>
  );
}
