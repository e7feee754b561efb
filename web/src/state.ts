/** What the reader chose. Made once and passed to every component; nothing keeps a copy. */
import { type ReadonlySignal, type Signal, batch, computed, effect, signal } from "@preact/signals";
import { addressText, parseAddress } from "./address";
import type { Language, PageDocument, ReceiptDocument, Theme } from "./document";
import { laidOut } from "./laid";
import type { Network } from "./network";
import { packStack, unpackStack } from "./packing";
import { PlaygroundSource } from "./playground";
import { type Practice, exerciseOf, practiceText, readPractice } from "./practice";
import { type Messages, say } from "./say";
import { NotHere, type Source, isInside, receiptHere } from "./source";
import type { Stack } from "./stack";

/** The receipt of the selected number, or why there is none (yet). */
export type Loaded =
  | { status: "here"; receipt: ReceiptDocument }
  | { status: "waiting"; address: string }
  | { status: "missing"; address: string; key: string; values: Record<string, unknown> };

export type Order = "share" | "number";

export interface State {
  /** Where the numbers on the screen come from. It changes: do not keep it. */
  readonly source: Source;
  /** The source that the page came with. */
  readonly given: Source;
  /** What the reader edits, while the playground is open. */
  readonly playground: ReadonlySignal<PlaygroundSource | null>;
  /** Which exercise is on, if any. */
  readonly practice: ReadonlySignal<Practice | null>;
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
  /** Get the receipt of a number ready that the pointer went down on, unless another side is asked for it. */
  expect(address: string): void;
  /** Show a number, and forget the way that led here. */
  select(address: string): void;
  /** Go to a number from the present one; the trail leads back. */
  follow(address: string): void;
  /** Return to entry `n` of the trail. */
  back(n: number): void;
  /** Open the playground with a stack of convolutions; null: back to what the page came with. */
  play(stack: Stack | null): void;
  /** Show an exercise; null: back to what was shown before. */
  exercise(practice: Practice | null): void;
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
  from: number;
  /** The stack of the playground, packed, and which exercise; null where they are closed. */
  playground: string | null;
  practice: string | null;
}

export type PageInfo = Pick<PageDocument, "title" | "start" | "budget" | "wanted"> & {
  leftOut: readonly string[];
  notes: readonly string[];
  messages: Messages;
};

export function createState(given: Source, page: PageInfo, lang: Language, theme: Theme | null): State {
  const shown = signal(given);
  const practice = signal<Practice | null>(null);
  /** What is shown again after the exercises. */
  let rest: { source: Source; address: string; trail: readonly string[] } | null = null;
  let closed: PlaygroundSource | null = null;
  const playground = computed(() => {
    const source = shown.value;
    return source instanceof PlaygroundSource && source.editable ? source : null;
  });
  const selected = signal(page.start);
  const trail = signal<readonly string[]>([]);
  const language = signal(lang);
  const chosenTheme = signal(theme);
  const order = signal<Order>("number");
  const from = signal(0);
  const pointed = signal<string | null>(null);
  const loaded = signal<Loaded>({ status: "waiting", address: page.start });

  /** The receipt that was got ready, and what it was made of. */
  let ready: (Loaded & { status: "here"; of: string; source: Source }) | null = null;

  const go = (address: string, way: readonly string[]): void =>
    batch(() => {
      selected.value = address;
      trail.value = way;
      from.value = 0;
      pointed.value = null;
    });

  effect(() => {
    const source = shown.value;
    const revision = source.revision.value;
    const address = selected.value;
    if (source instanceof PlaygroundSource) {
      const near = nearest(source.network, address);
      if (near !== address) return go(near, []);
    }
    const put = (now: Loaded): void => {
      if (selected.peek() === address) loaded.value = now;
    };
    const early = ready;
    ready = null;
    if (early?.of === address + revision && early.source === source) return put(early);
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

  const play = (stack: Stack | null): void =>
    batch(() => {
      practice.value = rest = null;
      closed = playground.peek() ?? closed;
      // What was edited before is there again.
      shown.value = !stack ? given : closed?.first === stack ? closed : new PlaygroundSource(stack);
      if (!stack && !isHere(given.network, selected.peek())) go(page.start, []);
    });
  const exercise = (next: Practice | null): void =>
    batch(() => {
      if (next) {
        rest ??= { source: shown.peek(), address: selected.peek(), trail: trail.peek() };
        const { stack, address } = exerciseOf(next);
        shown.value = new PlaygroundSource(stack, false);
        go(address, []);
      } else if (rest) {
        shown.value = rest.source;
        go(rest.address, rest.trail);
        rest = null;
      }
      practice.value = next;
    });

  return {
    get source() {
      return shown.value;
    },
    given,
    playground,
    practice,
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
    expect(address) {
      const source = shown.peek();
      const at = parseAddress(address);
      // Who asks nobody answers at once.
      const receipt = at && !source.lost ? (receiptHere(source, at) as ReceiptDocument | null) : null;
      if (receipt?.products.length) laidOut(source, receipt, order.peek(), 0);
      ready = receipt ? { status: "here", receipt, of: address + source.revision.peek(), source } : null;
    },
    select: (address) => go(address, []),
    follow(address) {
      if (address === selected.value) return;
      // From one number to another of the same step is no way down.
      const sideways = parseAddress(address)?.step === parseAddress(selected.value)?.step;
      go(address, sideways ? trail.value : [...trail.value, selected.value]);
    },
    back: (n) => go(trail.value[n]!, trail.value.slice(0, n)),
    play,
    exercise,
    snapshot() {
      // During an exercise: what is shown again after it.
      const source = rest ? rest.source : shown.value;
      const play = source instanceof PlaygroundSource && source.editable ? source : null;
      return {
        selected: rest ? rest.address : selected.value,
        trail: rest ? rest.trail : trail.value,
        lang: language.value,
        theme: chosenTheme.value,
        order: order.value,
        from: from.value,
        playground: play && packStack(play.stack.value),
        practice: practice.value && practiceText(practice.value),
      };
    },
    restore(snapshot) {
      batch(() => {
        if (snapshot.lang) language.value = snapshot.lang;
        if (snapshot.theme !== undefined) chosenTheme.value = snapshot.theme;
        if (snapshot.practice !== undefined) exercise(null);
        const stack = snapshot.playground ? unpackStack(snapshot.playground) : null;
        if (stack || (snapshot.playground === null && playground.peek())) play(stack);
        const drawn = snapshot.practice ? readPractice(snapshot.practice) : null;
        const { selected } = snapshot;
        if (selected && (!drawn || isHere(shown.peek().network, selected))) go(selected, snapshot.trail ?? []);
        if (drawn) exercise(drawn);
        if (snapshot.order) order.value = snapshot.order;
        from.value = snapshot.from ?? 0;
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

function isHere(network: Network, address: string): boolean {
  const at = parseAddress(address);
  const tensor = at && network.tensor(at.step);
  return tensor ? isInside(tensor, at.index) : false;
}

/** The same number, or the nearest that is left after a change of settings. */
function nearest(network: Network, address: string): string {
  if (isHere(network, address)) return address;
  const at = parseAddress(address);
  const tensor = (at && network.tensor(at.step)) ?? network.tensor([...network.steps.keys()].at(-1)!)!;
  const { shape } = tensor;
  const index = at && at.index.length === shape.length ? at.index : shape.map(() => 0);
  return addressText(tensor.name, index.map((place, axis) => Math.min(place, shape[axis]! - 1)));
}
