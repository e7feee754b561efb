/** Moves the window over the output: step by step, with the arrow keys, or by itself. */
import { useEffect, useState } from "preact/hooks";
import { addressText, parseAddress } from "../address";
import type { State } from "../state";
import { target } from "./Grid";

/** Outputs a second. */
const SPEEDS = [0.5, 1, 2, 4, 8];

export function Player({ state }: { state: State }) {
  const { say } = state;
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState(1);
  const at = parseAddress(state.selected.value);
  const tensor = at && state.source.network.tensor(at.step);
  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => {
      const next = neighbour(state, 1);
      if (next === null) setPlaying(false);
      else state.select(next);
    }, 1000 / speed);
    return () => clearInterval(timer);
  }, [playing, speed]);
  if (!at || !tensor || !canPlay(state)) return null;

  const count = tensor.shape.reduce((total, size) => total * size, 1);
  const place = tensor.shape.reduce((total, size, axis) => total * size + at.index[axis]!, 0);
  const go = (address: string | null): void => {
    setPlaying(false);
    if (address !== null) state.select(address);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if ((event.target as Element).tagName === "SELECT") return;
    // Positions of one axis stand in one row.
    const axes = tensor.shape.length > 3 ? 2 : 1;
    const [row, column] = [0, ...at.index.slice(-axes)].slice(-2);
    const [rows, columns] = [1, ...tensor.shape.slice(-axes)].slice(-2);
    const to = target(event, row!, column!, rows!, columns!);
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    go(addressText(tensor.name, [...at.index.slice(0, -axes), ...to.slice(-axes)]));
  };
  return (
    <div class="player" role="group" aria-label={say("page.player.title")} data-keeps-focus onKeyDown={onKeyDown}>
      <button disabled={place === 0} onClick={() => go(neighbour(state, -1))}>
        <span aria-hidden="true">◂</span> {say("page.player.back")}
      </button>
      <button
        aria-pressed={playing}
        onClick={() => {
          // At the end it begins again.
          if (!playing && place === count - 1) state.select(addressText(tensor.name, tensor.shape.map(() => 0)));
          setPlaying(!playing);
        }}
      >
        <span aria-hidden="true">{playing ? "❚❚" : "▶"}</span> {say(playing ? "page.player.pause" : "page.player.play")}
      </button>
      <button disabled={place === count - 1} onClick={() => go(neighbour(state, 1))}>
        {say("page.player.next")} <span aria-hidden="true">▸</span>
      </button>
      <label>
        {say("page.player.speed")}{" "}
        <select value={String(speed)} onChange={(event) => setSpeed(Number(event.currentTarget.value))}>
          {SPEEDS.map((one) => (
            <option key={one} value={String(one)}>
              {say("page.player.per_second", { count: one })}
            </option>
          ))}
        </select>
      </label>
      <p class="hint">{say("page.player.hint", { place: place + 1, count })}</p>
    </div>
  );
}

/** Whether the number on the screen is one of those that a step made, so that there are others beside it. */
export function canPlay(state: State): boolean {
  const at = parseAddress(state.selected.value);
  const tensor = at && state.source.network.tensor(at.step);
  return tensor?.origin === "step" && tensor.shape.length > 0;
}

/** The number after or before the present one, row by row and channel by channel; null at the end. */
function neighbour(state: State, by: 1 | -1): string | null {
  const at = parseAddress(state.selected.peek());
  const shape = at && state.source.network.tensor(at.step)?.shape;
  if (!at || !shape) return null;
  const index = [...at.index];
  for (let axis = index.length - 1; axis >= 0; axis -= 1) {
    index[axis]! += by;
    if (index[axis]! >= 0 && index[axis]! < shape[axis]!) return addressText(at.step, index);
    index[axis] = by > 0 ? 0 : shape[axis]! - 1;
  }
  return null;
}
