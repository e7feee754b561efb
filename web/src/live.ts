/** Numbers that a server or a notebook's kernel is asked for as the reader goes. */
import { signal } from "@preact/signals";
import { type Address, addressText } from "./address";
import type { Field } from "./cone";
import type { Split } from "./contributions";
import type { BoxDocument, PageDocument, ReceiptDocument } from "./document";
import { decoded } from "./embedded";
import { Network } from "./network";
import { upTo } from "./places";
import { MissingNumbers } from "./receipt";
import { type Lost, NotHere, type Source, explain, type Reached } from "./source";
import { type Box, unpack } from "./tensor";

export type Request =
  | { ask: "box"; name: string; start: readonly number[]; shape: readonly number[] }
  | { ask: "receipt"; address: string }
  | { ask: "split"; address: string }
  | { ask: "reach"; address: string; names: readonly string[] };

/** Boxes of positions by name: on each axis, first and last of those that follow each other. */
type FieldsReply = Record<string, number[][][][] | null>;

/** A number split over pixels and biases: a box for each input; null where a step has no split. */
interface SplitReply {
  inputs: Record<string, BoxDocument> | null;
  pixels: number;
  biases: number;
}

/** What the other side says when it cannot answer. */
export interface Refusal {
  error: { kind: string; message: string };
}

/** Sends a request and returns the reply, decoded from JSON. All that is known of the other side. */
export type Ask = (request: Request) => Promise<unknown>;

/** Receipts that are remembered; the oldest is forgotten first. */
const MOST_RECEIPTS = 500;

export class LiveSource implements Source {
  readonly revision = signal(0);
  readonly network: Network;
  readonly lost = signal<Lost | null>(null);
  private readonly made = new Map<string, ReceiptDocument>();
  private readonly underway = new Map<string, Promise<void>>();
  private readonly explained = new Map<string, Promise<ReceiptDocument>>();

  constructor(
    page: Pick<PageDocument, "trace" | "boxes" | "readings">,
    private readonly ask: Ask,
    private readonly other: "server" | "kernel",
  ) {
    this.network = Network.from(page);
    for (const receipt of page.trace.receipts) this.made.set(receipt.address, decoded(receipt));
  }

  load(name: string, box: Box): Promise<void> | null {
    const tensor = this.network.tensor(name);
    if (!tensor || tensor.has(box)) return null;
    const key = `${tensor.name} ${box.start.join()} ${box.shape.join()}`;
    const already = this.underway.get(key);
    if (already) return already;
    const { start, shape } = box;
    const asked = this.answer<BoxDocument>({ ask: "box", name: tensor.name, start, shape })
      .then((reply) => {
        tensor.boxes.push({ start: reply.start, shape: reply.shape, values: unpack(reply) });
        this.revision.value += 1;
      })
      .finally(() => this.underway.delete(key));
    this.underway.set(key, asked);
    return asked;
  }

  receipt(address: Address): ReceiptDocument | Promise<ReceiptDocument> {
    try {
      return explain(this.network, address, this.made);
    } catch (error) {
      const here = error instanceof NotHere && error.key !== "page.missing.receipt";
      if (here || !(error instanceof MissingNumbers || error instanceof NotHere)) throw error;
    }
    const text = addressText(address.step, address.index);
    const already = this.explained.get(text);
    if (already) return already;
    const asked = this.answer<ReceiptDocument>({ ask: "receipt", address: text })
      .then((reply) => {
        const receipt = decoded(reply);
        if (this.made.size >= MOST_RECEIPTS) this.made.delete(this.made.keys().next().value!);
        this.made.set(receipt.address, receipt);
        return receipt;
      })
      .finally(() => this.explained.delete(text));
    this.explained.set(text, asked);
    return asked;
  }

  async split(address: Address): Promise<Split | null> {
    const text = addressText(address.step, address.index);
    const { inputs, pixels, biases } = await this.answer<SplitReply>({ ask: "split", address: text });
    if (!inputs) return null;
    const read = Object.entries(inputs).map(([name, box]) => [name, Float64Array.from(unpack(box))] as const);
    return { inputs: new Map(read), pixels, biases };
  }

  async reach(address: Address, names: readonly string[]): Promise<Reached> {
    const text = addressText(address.step, address.index);
    const reply = await this.answer<Record<keyof Reached, FieldsReply>>({ ask: "reach", address: text, names });
    return { below: fieldsOf(reply.below), above: fieldsOf(reply.above) };
  }

  private async answer<Reply extends object>(request: Request): Promise<Reply> {
    let reply: Reply | Refusal;
    try {
      reply = (await this.ask(request)) as Reply | Refusal;
      this.lost.value = null;
    } catch {
      this.lost.value = this.other;
      throw new NotHere("page.missing.connection", {});
    }
    if ("error" in reply) throw new NotHere("page.missing.refused", { message: reply.error.message });
    return reply;
  }
}

function fieldsOf(reply: FieldsReply): ReadonlyMap<string, Field> {
  const places = (runs: number[][]) => runs.flatMap(([low, high]) => upTo(high! - low! + 1).map((n) => low! + n));
  return new Map(Object.entries(reply).map(([name, boxes]) => [name, boxes && boxes.map((box) => box.map(places))]));
}

/** Ask a server over HTTP, at an address that carries its token. */
export function askServer(address: string): Ask {
  return async (request) => {
    const response = await fetch(address, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
    });
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return response.json();
  };
}
