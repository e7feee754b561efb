/** The widget's side of the conversation with a kernel, with a model that only listens. */
import { signal } from "@preact/signals";
import { expect, test, vi } from "vitest";
import type { LiveSource } from "../src/live";
import type { Source } from "../src/source";
import type { State } from "../src/state";
import { type Model, renderWidget } from "../src/widget";

const INPUT = { name: "a", origin: "input", dtype: "float32", shape: [3], data: null };

function kernel() {
  const values: Record<string, unknown> = {
    page: JSON.stringify({ trace: { receipts: [], inputs: [INPUT], parameters: [], steps: [], aliases: {} }, boxes: {}, readings: [] }),
    selected: "a[0]",
  };
  const listeners: [string, (...args: never[]) => void][] = [];
  const sent: { id: string; question: unknown }[] = [];
  const model: Model = {
    get: (key) => values[key],
    set: (key, value) => void (values[key] = value),
    save_changes: () => undefined,
    send: (content) => void sent.push(content as (typeof sent)[number]),
    on: (event, callback) => void listeners.push([event, callback]),
    off: (event, callback) => {
      listeners.splice(listeners.findIndex(([e, c]) => e === event && c === callback), 1);
    },
  };
  const fire = (event: string, ...args: unknown[]): void => {
    for (const [e, callback] of listeners) if (e === event) callback(...(args as never[]));
  };
  const selected = signal("a[0]");
  const shown = { source: null as unknown, removed: false };
  const close = renderWidget(model, null as unknown as Element, (_, __, source: Source) => {
    shown.source = source;
    const given = source;
    const state = {
      given,
      selected,
      theme: signal(null),
      get source() {
        return shown.source;
      },
      select: (address: string) => (selected.value = address),
    };
    return [state as unknown as State, () => (shown.removed = true)];
  });
  return { values, listeners, sent, fire, selected, shown, close };
}

test("selected is the same on both sides", () => {
  const { values, fire, selected } = kernel();
  selected.value = "a[1]";
  expect(values.selected).toBe("a[1]");
  values.selected = "a[2]";
  fire("change:selected");
  expect(selected.value).toBe("a[2]");
});

test("numbers of the playground are not told to Python", () => {
  const { values, selected, shown } = kernel();
  shown.source = "a playground";
  selected.value = "elsewhere[0]";
  expect(values.selected).toBe("a[0]");
});

test("a view that is closed stops listening", () => {
  const { values, listeners, selected, shown, close } = kernel();
  close();
  expect(listeners).toEqual([]);
  expect(shown.removed).toBe(true);
  selected.value = "a[1]";
  expect(values.selected).toBe("a[0]");
});

test("a kernel that has ended leaves no question waiting", async () => {
  const { sent, fire, shown } = kernel();
  const ask = (shown.source as LiveSource)["ask"];
  const before = ask({ ask: "receipt", address: "a[0]" });
  expect(sent).toHaveLength(1);
  fire("comm_live_update");
  await expect(before).rejects.toThrow("ended");
  await expect(ask({ ask: "receipt", address: "a[0]" })).rejects.toThrow("ended");
  expect(sent).toHaveLength(1);
});

test("a kernel that has ended is told at once, before anything is asked", () => {
  const { fire, shown } = kernel();
  const { lost } = shown.source as LiveSource;
  expect(lost.value).toBe(null);
  fire("comm_live_update");
  expect(lost.value).toBe("kernel");
});

test("a kernel that does not answer is told after a while, until it answers", async () => {
  vi.useFakeTimers();
  const { sent, fire, shown, close } = kernel();
  const source = shown.source as LiveSource;
  const refused = expect(source.load("a", { start: [0], shape: [3] })).rejects.toThrow("refused");
  expect(source.lost.value).toBe(null);
  vi.advanceTimersByTime(10_000);
  expect(source.lost.value).toBe("silent");
  const answer = { error: { kind: "OutOfRangeError", message: "no such number" } };
  fire("msg:custom", { id: sent[0]!.id, reply: JSON.stringify(answer) });
  await refused;
  expect(source.lost.value).toBe(null);
  close();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});
