/** What the reader sees, in the fragment of the address, so that a link shows the same number. */
import { effect } from "@preact/signals";
import { parseAddress } from "./address";
import type { Snapshot, State } from "./state";

const VERSION = "1";
/** What there is to choose from. */
const CHOICES = { lang: ["en", "ko"], theme: ["light", "dark"], order: ["share", "number"] };
/** Milliseconds without a change before the address is changed: browsers limit how often it may be. */
const PAUSE = 250;

/** Write a snapshot as a fragment, without `#`. */
export function linkText(snapshot: Partial<Snapshot>): string {
  const { selected, trail, lang, theme, order, from, playground, practice } = snapshot;
  const parts = [
    ["v", VERSION],
    ["at", selected && shortOf(selected)],
    ["way", trail?.map(shortOf).join(";")],
    ["lang", lang],
    ["theme", theme],
    ["order", order],
    ["from", from && String(from)],
    ["play", playground],
    ["practice", practice],
  ];
  return parts.flatMap(([name, value]) => (value ? [`${name}=${escape(value)}`] : [])).join("&");
}

/** Read a fragment; what makes no sense in it is left out. Null where it is no link of ours. */
export function readLink(fragment: string): Partial<Snapshot> | null {
  const parts = new Map<string, string>();
  for (const part of fragment.replace(/^#/, "").split("&")) {
    const cut = part.indexOf("=");
    if (cut > 0) parts.set(part.slice(0, cut), unescape(part.slice(cut + 1)));
  }
  if (parts.get("v") !== VERSION) return null;
  const found: Partial<Snapshot> = {};
  const address = (text: string): string[] => {
    const long = longOf(text);
    return parseAddress(long) ? [long] : [];
  };
  const [selected] = address(parts.get("at") ?? "");
  if (selected) found.selected = selected;
  found.trail = (parts.get("way") ?? "").split(";").flatMap(address);
  for (const [name, all] of Object.entries(CHOICES)) {
    const value = parts.get(name)!;
    if (all.includes(value)) Object.assign(found, { [name]: value });
  }
  if (parts.has("from")) found.from = Number(/^\d+$/.exec(parts.get("from")!));
  if (parts.has("play")) found.playground = parts.get("play")!;
  if (parts.has("practice")) found.practice = parts.get("practice")!;
  return found;
}

/** What differs from how the page begins. */
export function changed(now: Snapshot, first: Snapshot): Partial<Snapshot> {
  const same = (key: keyof Snapshot): boolean => JSON.stringify(now[key]) === JSON.stringify(first[key]);
  const different = Object.fromEntries(
    Object.entries(now).filter(([key]) => !same(key as keyof Snapshot)),
  ) as Partial<Snapshot>;
  return Object.keys(different).length ? { selected: now.selected, ...different } : {};
}

/** The link to what is shown; null where the page has no address of its own, as in a notebook. */
export function linkOf(state: State): string | null {
  const { protocol, href } = location;
  if (!/^(https?|file):$/.test(protocol)) return null;
  return `${href.split("#")[0]}#${linkText(state.snapshot())}`;
}

/** Follow the fragment, and keep it up to date. Returns what ends that. */
export function keepLink(state: State): () => void {
  const first = state.snapshot();
  let written = "";
  const read = (): void => {
    const fragment = location.hash;
    if (fragment.slice(1) === written) return;
    const found = readLink(fragment);
    const { lang, theme } = state.snapshot();
    if (found) state.restore({ ...first, lang, theme, ...found });
  };
  read();
  addEventListener("hashchange", read);
  let timer = 0;
  const write = (): void => {
    const text = linkText(changed(state.snapshot(), first));
    const fragment = text === `v=${VERSION}` ? "" : text;
    if (fragment === written) return;
    written = fragment;
    try {
      const { pathname, search } = location;
      history.replaceState(null, "", written ? `#${written}` : pathname + search);
    } catch {
      // A sandboxed frame may not change its address: then there is no link to keep.
    }
  };
  const stop = effect(() => {
    // Whatever a link holds; it is written, which takes longer, only after a pause.
    const { selected, trail, lang, theme, order, from, playground, practice } = state;
    for (const chosen of [selected, trail, lang, theme, order, from, practice]) void chosen.value;
    void playground.value?.stack.value;
    clearTimeout(timer);
    timer = setTimeout(write, PAUSE) as unknown as number;
  });
  return () => {
    stop();
    clearTimeout(timer);
    removeEventListener("hashchange", read);
  };
}

/** `conv1[0,1,0,0]` as `conv1:0,1,0,0`: brackets often end what mail programs take for a link. */
function shortOf(address: string): string {
  const at = parseAddress(address);
  return at ? `${at.step.replaceAll(";", "%3B")}:${at.index.join(",")}` : address;
}

/** The address that a link holds; whole addresses, as someone types them, are left as they are. */
const longOf = (short: string): string =>
  short.replace(/^(.*):([\d,]*)$/, (_, step: string, index) => `${step.replaceAll("%3B", ";")}[${index}]`);

const escape = (text: string): string =>
  encodeURIComponent(text).replace(/%(3A|2C|3B|3D|7E|21|2A)/g, (code) => decodeURIComponent(code));

function unescape(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
