/** Numbers that a server or a notebook's kernel is asked for as the reader goes. */
import { signal } from "@preact/signals";
import { type Address, addressText } from "./address";
import type { BoxDocument, PageDocument, ReceiptDocument } from "./document";
import { decoded } from "./embedded";
import { Network } from "./network";
import { MissingNumbers } from "./receipt";
import { NotHere, type Source, explain } from "./source";
import { type Box, unpack } from "./tensor";

export type Request =
  | { ask: "box"; name: string; start: readonly number[]; shape: readonly number[] }
  | { ask: "receipt"; address: string };

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
  private readonly made = new Map<string, ReceiptDocument>();
  private readonly underway = new Map<string, Promise<void>>();

  constructor(
    page: Pick<PageDocument, "trace" | "boxes">,
    private readonly ask: Ask,
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
    return this.answer<ReceiptDocument>({ ask: "receipt", address: text }).then((reply) => {
      const receipt = decoded(reply);
      if (this.made.size >= MOST_RECEIPTS) this.made.delete(this.made.keys().next().value!);
      this.made.set(receipt.address, receipt);
      return receipt;
    });
  }

  private async answer<Reply extends object>(request: Request): Promise<Reply> {
    let reply: Reply | Refusal;
    try {
      reply = (await this.ask(request)) as Reply | Refusal;
    } catch {
      throw new NotHere("page.missing.connection", {});
    }
    if ("error" in reply) throw new NotHere("page.missing.refused", { message: reply.error.message });
    return reply;
  }
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
