/** The playground: all settings of a stack of convolutions, and what it begins with. */
import { type Signal, signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { outputFormula } from "../geometry";
import { INPUTS, KERNELS, KERNEL_SIZE, imageNumbers } from "../presets";
import type { PlaygroundSource } from "../playground";
import {
  LIMITS,
  type LayerSettings,
  MOST_LAYERS,
  type NumberField as NumberName,
  PADDING_MODES,
  type Problem,
  type Settings,
  axisOf,
  paddedSize,
  plainLayer,
  shapesOf,
  withAxes,
} from "../settings";
import { withInput, withInputNumbers, withKernels, withSeed } from "../stack";
import type { State } from "../state";
import { ChoiceField, NumberField, TickField, type Unread, useName } from "./Field";

/** Numbers of a layer that are always there, and those that open with the rest. */
const NUMBERS: readonly NumberName[] = ["channels", "kernel", "stride", "padding"];
const RARE: readonly NumberName[] = ["dilation", "groups"];

export function Playground({ state }: { state: State }) {
  const play = state.playground.value;
  return play && <Panel state={state} play={play} />;
}

function Panel({ state, play }: { state: State; play: PlaygroundSource }) {
  const { say } = state;
  const section = useRef<HTMLElement>(null);
  const stack = play.stack.value;
  const settings = play.draft.value ?? stack.settings;
  const problems = play.problems.value;
  const explains = useName();
  const [unread] = useState(() => signal<Unread | null>(null));
  // Where there is little room, the numbers come first: they are what one edits most.
  const [open, setOpen] = useState(() => globalThis.matchMedia("(min-width: 40rem)").matches);
  useUndoKeys(section, play);
  const set = (next: Settings, tag: string | null = null): void => play.set(next, tag);
  const setLayer = (n: number, change: Partial<LayerSettings>, tag: string): void =>
    set({ ...settings, layers: settings.layers.map((layer, m) => (m === n ? { ...layer, ...change } : layer)) }, tag);
  const problem = (layer: number, field: string): string | undefined =>
    problems.some((one) => one.layer === layer && one.field === field) ? explains : undefined;
  const input = say("page.playground.input");
  const axes = settings.size.length;
  return (
    <section ref={section} class="playground" aria-label={say("page.playground.title")}>
      <div class="tools">
        <h2>{say("page.playground.title")}</h2>
        <div class="switches">
          <button aria-expanded={open} onClick={() => setOpen(!open)}>
            {say("page.playground.settings")}
          </button>
          {open && (
            <>
              <button disabled={settings.layers.length >= MOST_LAYERS} onClick={() => set(withLayer(settings))}>
                {say("page.playground.add")}
              </button>
              <button
                disabled={settings.layers.length < 2}
                onClick={() => set({ ...settings, layers: settings.layers.slice(0, -1) })}
              >
                {say("page.playground.remove")}
              </button>
              {[stack.input, ...stack.weights].some((given) => given.preset === "random") && (
                <button onClick={() => play.put(withSeed(stack, stack.seed + 1))}>
                  {say("page.playground.draw")}
                </button>
              )}
            </>
          )}
          <button disabled={!play.history.canUndo.value && !play.draft.value} onClick={() => play.undo()}>
            {say("page.playground.undo")}
          </button>
          <button disabled={!play.history.canRedo.value} onClick={() => play.redo()}>
            {say("page.playground.redo")}
          </button>
          <button onClick={() => state.play(null)}>
            {say("page.playground.close")}
          </button>
        </div>
      </div>
      <p class="hint">{say("page.playground.hint")}</p>
      {open && (
        <>
          <div class="setting" role="group" aria-label={input}>
            <div class="of">{input}</div>
            <div class="fields">
              <ChoiceField
                label={say("page.playground.axes")}
                of={input}
                value={String(axes)}
                options={[["1", say("page.playground.one_d")], ["2", say("page.playground.two_d")]]}
                onChange={(count) => set(withAxes(settings, Number(count)))}
              />
              <NumberField
                state={state}
                label={say("page.playground.channels_in")}
                of={input}
                values={[settings.channels]}
                limits={LIMITS.input}
                explains={explains}
                unread={unread}
                problem={problem(-1, "input")}
                onChange={([channels]) => set({ ...settings, channels: channels! }, "input")}
              />
              {settings.size.map((size, axis) => (
                <NumberField
                  key={`${axes} ${axis}`}
                  state={state}
                  label={say(`page.playground.${axes === 1 ? "positions" : axis ? "columns" : "rows"}`)}
                  of={input}
                  values={[size]}
                  limits={LIMITS.size}
                  explains={explains}
                  unread={unread}
                  problem={problem(-1, "size")}
                  onChange={([value]) =>
                    set({ ...settings, size: settings.size.map((old, n) => (n === axis ? value! : old)) }, `size ${axis}`)}
                />
              ))}
              <ChoiceField
                label={say("page.playground.numbers")}
                of={input}
                value={stack.input.preset}
                options={shownPresets(INPUTS, stack.input.preset).map((name) => [name, say(`page.playground.inputs.${name}`)])}
                onChange={(preset) => play.put(withInput(stack, preset))}
              />
              <ImageField state={state} play={play} />
            </div>
          </div>
          {settings.layers.map((_, n) => (
            <Layer
              key={n}
              state={state}
              play={play}
              settings={settings}
              n={n}
              problems={problems}
              explains={explains}
              unread={unread}
              onChange={(change, field) => setLayer(n, change, `${n} ${field}`)}
            />
          ))}
        </>
      )}
      <div id={explains} class="problems" role="status">
        {problems.map((one, n) => (
          <ProblemText key={n} state={state} settings={settings} problem={one} />
        ))}
        {unread.value && (
          <p class="problem">
            {say(`page.playground.problem.${unread.value.axes > 1 ? "whole_axes" : "whole"}`, { ...unread.value })}
          </p>
        )}
        {(problems.length > 0 || unread.value) && <p class="hint">{say("page.playground.still")}</p>}
      </div>
    </section>
  );
}

interface LayerProps {
  state: State;
  play: PlaygroundSource;
  settings: Settings;
  n: number;
  problems: readonly Problem[];
  /** Id of the sentences that say what is impossible. */
  explains: string;
  unread: Signal<Unread | null>;
  onChange: (change: Partial<LayerSettings>, field: string) => void;
}

function Layer({ state, play, settings, n, problems, explains, unread, onChange }: LayerProps) {
  const { say } = state;
  const layer = settings.layers[n]!;
  const [more, setMore] = useState(isRare(layer));
  const { name, transposed } = layer;
  const axes = layer.kernel.length;
  const preset = play.stack.value.weights[n]?.preset;
  const problem = (field: string): string | undefined =>
    problems.some((one) => one.layer === n && one.field === field) ? explains : undefined;
  const number = (field: NumberName) => (
    <NumberField
      key={`${axes} ${field}`}
      state={state}
      label={say(`page.playground.${field}`)}
      of={name}
      values={[layer[field]].flat()}
      limits={LIMITS[field]}
      explains={explains}
      unread={unread}
      problem={problem(field)}
      onChange={(values) => onChange({ [field]: Array.isArray(layer[field]) ? values : values[0]! }, field)}
    />
  );
  return (
    <div class="setting" role="group" aria-label={name}>
      <div class="of">{name}</div>
      <div class="fields">
        {NUMBERS.map(number)}
        <ChoiceField
          label={say("page.playground.kernels")}
          of={name}
          value={preset ?? "snippet"}
          options={shownPresets(KERNELS, preset).map((one) => [one, say(`page.playground.presets.${one}`, { size: sizeText(one, axes) })])}
          onChange={(chosen) => play.put(withKernels(play.stack.peek(), n, chosen))}
        />
        <TickField
          label={say("page.playground.bias")}
          of={name}
          value={layer.bias}
          onChange={(bias) => onChange({ bias }, "bias")}
        />
        <button class="more" aria-expanded={more} aria-label={`${name} ${say("page.playground.rare")}`} onClick={() => setMore(!more)}>
          {say("page.playground.rare")}
        </button>
      </div>
      {more && (
        <div class="fields">
          {RARE.map(number)}
          <ChoiceField
            label={say("page.playground.mode")}
            of={name}
            value={layer.mode}
            options={PADDING_MODES.map((mode) => [mode, say(`page.playground.modes.${mode}`)])}
            onChange={(mode) => onChange({ mode }, "mode")}
          />
          <TickField
            label={say("page.playground.transposed")}
            of={name}
            value={transposed}
            onChange={(on) => onChange(on ? { transposed: on } : { transposed: on, outputPadding: layer.outputPadding.map(() => 0) }, "transposed")}
          />
          {transposed && number("outputPadding")}
        </div>
      )}
      {more && !problems.length && <Shape state={state} settings={settings} n={n} />}
    </div>
  );
}

/** Whether a layer has settings that are not among the first. */
const isRare = ({ dilation, groups, mode, transposed }: LayerSettings): boolean =>
  dilation.some((size) => size > 1) || groups > 1 || mode !== "zeros" || transposed;

/** Numbers of one's own are no choice to make: they are there, or not. */
const shownPresets = <Name extends string>(all: readonly Name[], now: Name | undefined): Name[] =>
  all.filter((name) => name !== "own" || now === "own");

/** One more layer, like the last one but reading what it makes. */
function withLayer(settings: Settings): Settings {
  const last = settings.layers.at(-1)!;
  const names = new Set(settings.layers.map((layer) => layer.name));
  let number = settings.layers.length + 1;
  while (names.has(`conv${number}`)) number += 1;
  const layer = { ...plainLayer(`conv${number}`, last.channels, last.kernel), bias: last.bias };
  return { ...settings, layers: [...settings.layers, layer] };
}

function sizeText(preset: (typeof KERNELS)[number], axes: number): string {
  const size = KERNEL_SIZE[preset] ?? 0;
  return Array.from({ length: axes }, () => size).join(" × ");
}

/** The size of the output along each axis, worked out. */
function Shape({ state, settings, n }: { state: State; settings: Settings; n: number }) {
  const layer = settings.layers[n]!;
  const shapes = shapesOf(settings);
  const padded = paddedSize(layer, shapes[n]!.size);
  const axes = padded.length === 1 ? ["positions"] : ["rows", "columns"];
  return (
    <p class="shape">
      {axes.map((axis, place) => (
        <span key={axis}>
          {state.say(`page.playground.${axis}`)}: {outputFormula(axisOf(layer, place), padded[place]!)}{" "}
        </span>
      ))}
    </p>
  );
}

function ProblemText({ state, settings, problem }: { state: State; settings: Settings; problem: Problem }) {
  const { say } = state;
  const name = settings.layers[problem.layer]?.name ?? say("page.playground.input");
  const field = problem.field === "input" ? "channels_in" : problem.field;
  const label = `${name} ${say(`page.playground.${field}`)}`;
  return <p class="problem">{say(`page.playground.problem.${problem.key}`, { ...problem.values, label })}</p>;
}

/** An image of the reader's own. It is read here, and sent nowhere. */
function ImageField({ state, play }: { state: State; play: PlaygroundSource }) {
  const { say } = state;
  const field = useRef<HTMLInputElement>(null);
  const failed = useRef<HTMLParagraphElement>(null);
  const read = async (file: File): Promise<void> => {
    failed.current!.textContent = "";
    try {
      const image = await createImageBitmap(file);
      const stack = play.stack.peek();
      const { channels, size } = stack.settings;
      const [rows, columns] = size.length > 1 ? [size[0]!, size[1]!] : [1, size[0]!];
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [columns, rows];
      const pen = canvas.getContext("2d", { willReadFrequently: true })!;
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, columns, rows);
      pen.imageSmoothingQuality = "high";
      pen.drawImage(image, 0, 0, columns, rows);
      play.put(withInputNumbers(stack, imageNumbers(pen.getImageData(0, 0, columns, rows).data, channels)));
    } catch {
      failed.current!.textContent = say("page.playground.image.failed", { name: file.name });
    }
    field.current!.value = "";
  };
  return (
    <div class="field-box image">
      <button onClick={() => field.current!.click()}>
        {say("page.playground.image.choose")}
      </button>
      <input
        ref={field}
        type="file"
        accept="image/*"
        hidden
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) void read(file);
        }}
      />
      <p ref={failed} role="status" class="problem" />
    </div>
  );
}

/** Ctrl+Z and Ctrl+Shift+Z (or Ctrl+Y) anywhere on the page, but not in a number that is being typed. */
function useUndoKeys(section: { current: HTMLElement | null }, play: PlaygroundSource): void {
  useEffect(() => {
    const root = section.current!.closest<HTMLElement>(".convtrace")!;
    const owner = root.ownerDocument;
    const onKey = (event: KeyboardEvent): void => {
      const key = event.key.toLowerCase();
      if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key)) return;
      const target = event.composedPath()[0] as Element;
      if (target.closest?.(".editor") || (target !== owner.body && !root.contains(target))) return;
      event.preventDefault();
      if (key === "y" || event.shiftKey) play.redo();
      else play.undo();
    };
    owner.addEventListener("keydown", onKey);
    return () => owner.removeEventListener("keydown", onKey);
  }, [play]);
}
