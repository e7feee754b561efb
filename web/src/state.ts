/** What the reader chose. Made once and passed to every component; nothing keeps a copy. */
import { type ReadonlySignal, type Signal, batch, effect, signal } from "@preact/signals";
import { parseAddress } from "./address";
import type { Language, PageDocument, ReceiptDocument, Theme } from "./document";
import { type Messages, say } from "./say";
import { NotHere, type Source } from "./source";

/** The receipt of the selected number, or why there is none (yet). */
export type Loaded =
  | { status: "here"; receipt: ReceiptDocument }
  | { status: "waiting"; address: string }
  | { status: "missing"; address: string; key: string; values: Record<string, unknown> };

export type Order = "share" | "number";

export interface State {
  readonly source: Source;
  readonly page: PageInfo;
  /** Address of the number whose receipt is shown. */
  readonly selected: ReadonlySignal<string>;
  /** Addresses that the reader came down from, first one first. */
  readonly trail: ReadonlySignal<readonly string[]>;
  readonly loaded: ReadonlySignal<Loaded>;
  /** `data-address` of the number under the pointer or the focus. */
  readonly pointed: Signal<string | null>;
  readonly lang: Signal<Language>;
  /** null: as the system has it. */
  readonly theme: Signal<Theme | null>;
  /** Order of the channels of a receipt, and which of them are shown. */
  readonly order: Signal<Order>;
  readonly from: Signal<number>;
  say(key: string, values?: Readonly<Record<string, unknown>>): string;
  /** Show a number, and forget the way that led here. */
  select(address: string): void;
  /** Go to a number from the present one; the trail leads back. */
  follow(address: string): void;
  /** Return to entry `n` of the trail. */
  back(n: number): void;
  /** All that a link has to hold. */
  snapshot(): Snapshot;
  restore(snapshot: Partial<Snapshot>): void;
}

export interface Snapshot {
  selected: string;
  trail: readonly string[];
  lang: Language;
  theme: Theme | null;
  order: Order;
}

export type PageInfo = Pick<PageDocument, "title" | "start" | "budget" | "wanted"> & {
  leftOut: readonly string[];
  notes: readonly string[];
  messages: Messages;
};

export function createState(source: Source, page: PageInfo, lang: Language, theme: Theme | null): State {
  const selected = signal(page.start);
  const trail = signal<readonly string[]>([]);
  const language = signal(lang);
  const chosenTheme = signal(theme);
  const order = signal<Order>("number");
  const from = signal(0);
  const pointed = signal<string | null>(null);
  const loaded = signal<Loaded>({ status: "waiting", address: page.start });

  effect(() => {
    void source.revision.value;
    const address = selected.value;
    const put = (now: Loaded): void => {
      if (selected.peek() === address) loaded.value = now;
    };
    try {
      const parsed = parseAddress(address);
      if (!parsed) throw new NotHere("page.missing.address", { address });
      const receipt = source.receipt(parsed);
      if (!(receipt instanceof Promise)) return put({ status: "here", receipt });
      // What is shown stays until the answer comes, unless it is of another number.
      if (addressOf(loaded.peek()) !== address) put({ status: "waiting", address });
      receipt.then(
        (receipt) => put({ status: "here", receipt }),
        (error: unknown) => put(missing(address, error)),
      );
    } catch (error) {
      put(missing(address, error));
    }
  });

  const go = (address: string, way: readonly string[]): void =>
    batch(() => {
      selected.value = address;
      trail.value = way;
      from.value = 0;
      pointed.value = null;
    });

  return {
    source,
    page,
    selected,
    trail,
    loaded,
    pointed,
    lang: language,
    theme: chosenTheme,
    order,
    from,
    say: (key, values) => say(page.messages, language.value, key, values),
    select: (address) => go(address, []),
    follow(address) {
      if (address !== selected.value) go(address, [...trail.value, selected.value]);
    },
    back: (n) => go(trail.value[n]!, trail.value.slice(0, n)),
    snapshot: () => ({
      selected: selected.value,
      trail: trail.value,
      lang: language.value,
      theme: chosenTheme.value,
      order: order.value,
    }),
    restore(snapshot) {
      batch(() => {
        if (snapshot.lang) language.value = snapshot.lang;
        if (snapshot.theme !== undefined) chosenTheme.value = snapshot.theme;
        if (snapshot.selected) go(snapshot.selected, snapshot.trail ?? []);
        if (snapshot.order) order.value = snapshot.order;
      });
    },
  };
}

function missing(address: string, error: unknown): Loaded {
  if (error instanceof NotHere) {
    return { status: "missing", address, key: error.key, values: error.values };
  }
  throw error;
}

const addressOf = (loaded: Loaded): string =>
  loaded.status === "here" ? loaded.receipt.address : loaded.address;
