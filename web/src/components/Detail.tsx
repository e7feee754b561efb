/**
 * One line about the number under the pointer or the focus, with all its digits. It says what the
 * number's accessible name says, so that it is for the eye only, and lets the pointer through.
 */
import type { ReceiptDocument } from "../document";
import { parseAddress } from "../address";
import { identify } from "../numbers";
import { receiptHere } from "../source";
import type { State } from "../state";
import { isNarrow, termText } from "../text";

export function Detail({ state }: { state: State }) {
  return <p class="detail" aria-hidden="true">{detailText(state)}</p>;
}

function detailText(state: State): string | null {
  const pointed = state.pointed.value;
  const loaded = state.loaded.value;
  if (!pointed) return null;
  const receipt = loaded.status === "here" ? loaded.receipt : null;
  const [address, part] = pointed.split("#") as [string, string?];
  const at = parseAddress(part ? address : pointed);
  if (part) {
    const of = receipt?.address === address ? receipt : at && receiptHere(state.source, at);
    return of && !(of instanceof Promise) ? partText(state, of, part) : null;
  }
  const value = at && state.source.network.tensor(at.step)?.at(at.index);
  if (value === undefined || value === null) return pointed;
  return `${pointed} = ${identify(value, receipt ? isNarrow(receipt) : true).text}`;
}

function partText(state: State, receipt: ReceiptDocument, part: string): string | null {
  const match = /^(\w+)(?:\[([\d,]+)\])?$/.exec(part);
  if (!match) return null;
  const place = (match[2] ?? "").split(",").map(Number);
  const n = place.reduce((total, p, axis) => total * (receipt.shape[axis] ?? 1) + p, 0);
  switch (match[1]) {
    case "product":
    case "factor":
      return termText(state, receipt, n);
    case "channel":
      return `${state.say("page.part.channel")} = ${identify(receipt.channelSums[place[0]!]!, false).text}`;
    case "bias":
      return receipt.bias === null ? null : `${receipt.biasAddress ?? state.say("page.bias")} = ${identify(receipt.bias, isNarrow(receipt)).text}`;
    default:
      return null;
  }
}
