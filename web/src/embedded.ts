/** Numbers that came with the page. What was left out to keep the file small will not come. */
import { signal } from "@preact/signals";
import type { Address } from "./address";
import { ReceiptColumns } from "./columns";
import { type PageDocument, type ReceiptDocument, decode } from "./document";
import { Network } from "./network";
import { MissingNumbers } from "./receipt";
import { NotHere, type Source, explain } from "./source";

export class EmbeddedSource implements Source {
  readonly revision = signal(0);
  readonly network: Network;
  private readonly made = new Map<string, ReceiptDocument>();

  private readonly columns: ReceiptColumns;

  constructor(page: Pick<PageDocument, "trace" | "boxes" | "readings" | "receipts">) {
    this.network = Network.from(page);
    this.columns = new ReceiptColumns(page.receipts);
    for (const receipt of page.trace.receipts) this.made.set(receipt.address, decoded(receipt));
  }

  load(): null {
    return null;
  }

  receipt(address: Address): ReceiptDocument {
    const found = this.columns.find(this.network, address.step, address.index);
    if (found) return found;
    try {
      return explain(this.network, address, this.made);
    } catch (error) {
      if (!(error instanceof MissingNumbers)) throw error;
      throw new NotHere("page.missing.numbers", { name: error.tensor });
    }
  }
}

/** Turn the texts that stand for NaN and infinities into numbers. No address or name is such a text. */
export function decoded(receipt: ReceiptDocument): ReceiptDocument {
  const entries = Object.entries(receipt).map(([key, value]) => [key, Array.isArray(value) ? value.map(decode) : decode(value)]);
  return Object.fromEntries(entries) as ReceiptDocument;
}
