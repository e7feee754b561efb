/** Shows the document that the page carries. In a notebook, `render` is called instead. */
import { render as draw } from "preact";
import "./styles/index.css";
import { App } from "./components/App";
import type { Language, PageDocument, Theme } from "./document";
import { stackOf } from "./adopt";
import { EmbeddedSource } from "./embedded";
import { keepLink } from "./link";
import { LiveSource, askServer } from "./live";
import type { Source } from "./source";
import { createState } from "./state";
import { type Model, type Mounted, renderWidget } from "./widget";

/** Show a document in an element. Returns the state, and what takes the page away again. */
export function mount(
  el: Element,
  page: PageDocument,
  source: Source = new EmbeddedSource(page),
): Mounted {
  const info = {
    title: page.title,
    start: page.start,
    budget: page.budget,
    wanted: page.wanted,
    leftOut: source instanceof EmbeddedSource ? page.trace.leftOut : [],
    notes: page.trace.notes,
    messages: page.messages,
  };
  const state = createState(source, info, page.lang as Language, page.theme as Theme | null);
  draw(<App state={state} />, el);
  return [state, () => draw(null, el)];
}

const carried = globalThis.document?.getElementById("convtrace-document");
const place = globalThis.document?.getElementById("convtrace");

/** Show the document that the page carries, in place of the text that stood there so far. */
function begin(carried: Element, place: HTMLElement): void {
  const page = JSON.parse(carried.textContent ?? "") as PageDocument;
  const address = place.dataset["ask"];
  place.replaceChildren();
  const [state] = mount(place, page, address ? new LiveSource(page, askServer(address), "server") : undefined);
  if (place.dataset["playground"] !== undefined) state.play(stackOf(state.source.network));
  keepLink(state);
  performance.mark("convtrace"); // the benchmarks look for it
}

if (carried && place) {
  const start = (): void => begin(carried, place);
  // The first receipt stands there as text. It is painted before the program starts its work, unless
  // nobody looks, or a link asks for something else.
  const painted = place.firstElementChild && document.visibilityState === "visible" && !location.hash;
  if (painted) requestAnimationFrame(() => setTimeout(start));
  else start();
}

export default {
  render: ({ model, el }: { model: Model; el: Element }): (() => void) => renderWidget(model, el, mount),
};
