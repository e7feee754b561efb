/** The page in a notebook: anywidget gives it a model, which talks to the kernel. */
import { effect } from "@preact/signals";
import type { PageDocument } from "./document";
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

type Mount = (el: Element, page: PageDocument, source: Source) => { state: State; remove: () => void };

interface Reply {
  id: string;
  reply: string;
}

/** Show the page of a widget, and keep `selected` the same on both sides. */
export function renderWidget(model: Model, el: Element, mount: Mount): () => void {
  const page = JSON.parse(model.get("page") as string) as PageDocument;
  // Two views of one widget hear the same replies: each knows its own by the name in front.
  const view = crypto.randomUUID();
  const waiting = new Map<string, (reply: unknown) => void>();
  let asked = 0;
  const ask: Ask = (request) =>
    new Promise((resolve) => {
      const id = `${view}:${(asked += 1)}`;
      waiting.set(id, resolve);
      model.send({ id, question: request });
    });
  const hear = ({ id, reply }: Reply): void => {
    waiting.get(id)?.(JSON.parse(reply));
    waiting.delete(id);
  };
  model.on("msg:custom", hear);

  const { state, remove } = mount(el, page, new LiveSource(page, ask));
  const follow = (): void => {
    const address = model.get("selected") as string;
    if (address !== state.selected.peek()) state.select(address);
  };
  follow();
  model.on("change:selected", follow);
  const stop = effect(() => {
    const address = state.selected.value;
    if (model.get("selected") === address) return;
    model.set("selected", address);
    model.save_changes();
  });
  return () => {
    stop();
    model.off("change:selected", follow);
    model.off("msg:custom", hear);
    remove();
  };
}
