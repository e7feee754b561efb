/** The page in a notebook: anywidget gives it a model, which talks to the kernel. */
import { effect } from "@preact/signals";
import type { PageDocument, Theme } from "./document";
import { type Ask, LiveSource } from "./live";
import type { Source } from "./source";
import type { State } from "./state";

/** The part of anywidget's model that is used. https://anywidget.dev/en/afm/ */
export interface Model {
  get(key: string): unknown;
  set(key: string, value: unknown): void;
  save_changes(): void;
  send(content: unknown): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
}

/** A page that is shown: its state, and what takes it away again. */
export type Mounted = [state: State, remove: () => void];

type Mount = (el: Element, page: PageDocument, source: Source) => Mounted;

interface Reply {
  id: string;
  reply: string;
}

/** Milliseconds after which a question without an answer is told. */
const PATIENCE = 5000;

/** Show the page of a widget, and keep `selected` the same on both sides. */
export function renderWidget(model: Model, el: Element, mount: Mount): () => void {
  const page = JSON.parse(model.get("page") as string) as PageDocument;
  // Two views of one widget hear the same replies: each knows its own by the name in front.
  const view = crypto.randomUUID();
  const waiting = new Map<string, [(reply: unknown) => void, (reason: Error) => void]>();
  let asked = 0;
  let ended = false;
  let silence: ReturnType<typeof setTimeout> | undefined;
  const watch = (): void => {
    clearTimeout(silence);
    if (waiting.size) silence = setTimeout(() => (source.lost.value = "silent"), PATIENCE);
  };
  const ask: Ask = (request) =>
    new Promise((resolve, reject) => {
      if (ended) return reject(new Error("the kernel has ended"));
      const id = `${view}:${(asked += 1)}`;
      waiting.set(id, [resolve, reject]);
      watch();
      model.send({ id, question: request });
    });
  const source = new LiveSource(page, ask, "kernel");
  const hear = ({ id, reply }: Reply): void => {
    waiting.get(id)?.[0](JSON.parse(reply));
    waiting.delete(id);
    watch();
  };
  // Jupyter says this once, when the kernel ends or starts anew; the model then stays without one.
  const lose = (): void => {
    ended = true;
    source.lost.value = "kernel";
    for (const [, reject] of waiting.values()) reject(new Error("the kernel has ended"));
    waiting.clear();
    watch();
  };
  model.on("msg:custom", hear);
  model.on("comm_live_update", lose);

  const [state, remove] = mount(el, page, source);
  const follow = (): void => {
    const address = model.get("selected") as string;
    if (address !== state.selected.peek()) state.select(address);
  };
  follow();
  model.on("change:selected", follow);
  const stop = effect(() => {
    const address = state.selected.value;
    // Numbers of the playground are not numbers of the trace.
    if (state.source !== state.given || model.get("selected") === address) return;
    model.set("selected", address);
    model.save_changes();
  });
  const unfollow = page.theme ? undefined : followTheme(state);
  return () => {
    stop();
    unfollow?.();
    clearTimeout(silence);
    model.off("comm_live_update", lose);
    model.off("change:selected", follow);
    model.off("msg:custom", hear);
    remove();
  };
}

/** The theme of the notebook around the widget; null where it does not say. */
export function themeAround(body: HTMLElement): Theme | null {
  const { jpThemeLight, theme } = body.dataset; // JupyterLab says it by the first, marimo by the other
  if (jpThemeLight) return jpThemeLight === "false" ? "dark" : "light";
  return theme === "dark" || theme === "light" ? theme : null;
}

/** Take the notebook's theme, also when it changes, until the reader chooses another. */
function followTheme(state: State): (() => void) | undefined {
  const body = globalThis.document?.body;
  if (!body) return undefined;
  let taken: Theme | null = state.theme.peek();
  const take = (): void => {
    if (state.theme.peek() === taken) state.theme.value = taken = themeAround(body);
  };
  take();
  const observer = new MutationObserver(take);
  observer.observe(body, { attributeFilter: ["data-jp-theme-light", "data-theme"] });
  return () => observer.disconnect();
}
