import { expect, test } from "vitest";
import type { PageDocument } from "../src/document";
import { PlaygroundSource } from "../src/playground";
import { type State, createState } from "../src/state";
import { makeStack } from "../src/stack";
import { FIRST } from "./first";

const info = { title: "", start: "conv1[0,0,0,0]", budget: null, wanted: 0, leftOut: [], notes: [], messages: {} };

/** A page of the example; it is given, so that it is no playground yet. */
function page(): State {
  const given = new PlaygroundSource(makeStack(FIRST), false);
  return createState(given, info satisfies Partial<PageDocument>, "en", null);
}

const stack = makeStack(FIRST);

test("what an exercise interrupts is in its link", () => {
  const state = page();
  state.play(stack);
  state.playground.value!.edit("input[0,0,0,0]", 4);
  state.follow("conv2[0,1,0,0]");
  const before = state.snapshot();
  state.exercise({ level: 2, seed: 3 });
  const during = state.snapshot();
  expect(before.trail).toEqual(["conv1[0,0,0,0]"]);
  expect({ ...during, practice: null }).toEqual(before);
  expect(during.practice).toBe("2.3");

  const other = page();
  other.restore(during);
  expect(other.practice.value).toEqual({ level: 2, seed: 3 });
  expect(other.playground.value).toBe(null);
  other.exercise(null);
  expect([other.selected.value, other.trail.value]).toEqual(["conv2[0,1,0,0]", before.trail]);
  expect(other.playground.value!.stack.value.input.values[0]).toBe(4);
});

test("a link that is no exercise ends one, and one without a playground closes it", () => {
  const state = page();
  const first = state.snapshot();
  state.play(stack);
  state.exercise({ level: 1, seed: 0 });
  state.restore({ ...first, selected: "conv1[0,0,1,1]" });
  expect([state.practice.value, state.playground.value]).toEqual([null, null]);
  expect(state.selected.value).toBe("conv1[0,0,1,1]");
});

test("an exercise of an old link has an address of its own, which is not looked for elsewhere", () => {
  const state = page();
  state.restore({ ...state.snapshot(), selected: "conv1[0,1,9,9]", practice: "3.0" });
  state.exercise(null);
  expect(state.selected.value).toBe("conv1[0,0,0,0]");
});

test("a playground that is opened again is where it was left", () => {
  const state = page();
  state.play(stack);
  const play = state.playground.value!;
  play.edit("input[0,0,0,0]", 4);
  state.play(null);
  expect(state.playground.value).toBe(null);
  state.play(stack);
  expect(state.playground.value).toBe(play);
  play.undo();
  expect(play.stack.value).toBe(stack);
});
