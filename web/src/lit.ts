/** What lights up while a number is pointed at. */
import { parseAddress } from "./address";
import { lawOf } from "./convolution";
import type { ReceiptDocument } from "./document";
import { partKey } from "./equation";
import type { Network } from "./network";
import { unravel } from "./tensor";
import { outputsOf } from "./uses";

/** What lights up while a number is pointed at: the numbers that it is multiplied with, and so on. */
export function litBy(network: Network, receipt: ReceiptDocument, pointed: string | null): ReadonlySet<string> {
  if (!pointed) return NOTHING;
  const lit = new Set<string>();
  const part = pointed.startsWith(`${receipt.address}#product`) ? places(pointed) : null;
  receipt.products.forEach((_, n) => {
    const place = unravel(receipt.shape, n).join(",");
    const own = [receipt.sources[n], receipt.weightAddresses[n]];
    if (part === place || own.includes(pointed)) {
      for (const key of own) if (key) lit.add(key);
      lit.add(partKey(receipt.address, `product[${place}]`));
      lit.add(partKey(receipt.address, `factor[${place}]`));
    }
  });
  for (const output of usedIn(network, receipt, pointed)) lit.add(output);
  return lit.size ? lit : NOTHING;
}

/** Always the same set, so that nothing is drawn again from one unlit number to the next. */
const NOTHING: ReadonlySet<string> = new Set();

/** Outputs in the plane on the screen that a number of the present layer went into. */
function usedIn(network: Network, receipt: ReceiptDocument, pointed: string): string[] {
  const at = parseAddress(pointed);
  const { step: name, index } = parseAddress(receipt.address)!;
  const step = network.step(name);
  const law = step && lawOf(network, step);
  if (!at || !law) return [];
  const role = at.step === law.input.name ? "input" : at.step === law.weight.name ? "weight" : null;
  const plane = index.slice(0, law.leading + 1).join();
  const outputs = (role && outputsOf(network, step, role, at.index)) ?? [];
  return outputs
    .filter((output) => output.slice(0, law.leading + 1).join() === plane)
    .map((output) => `${name}[${output.join(",")}]`);
}

const places = (key: string): string => key.slice(key.lastIndexOf("[") + 1, -1);
