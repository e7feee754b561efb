/** The receipt of the selected number: what it is, the equation, the certificate, where it goes. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { parseAddress } from "../address";
import type { ReceiptDocument } from "../document";
import { ABOUT, sumSign } from "../numbers";
import type { State } from "../state";
import { alone, isNarrow, placeText } from "../text";
import { Certificate } from "./Certificate";
import { Equation } from "./Equation";
import { Given } from "./Given";
import { Shares } from "./Shares";
import { Uses } from "./Uses";

export function ReceiptView({ state }: { state: State }) {
  const loaded = state.loaded.value;
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(true);
  const address = state.selected.value;
  useEffect(() => {
    // Whoever followed a number goes on from the heading of what came.
    // Who moves the window, or answers a question, stays there.
    const root = heading.current?.getRootNode() as Document | ShadowRoot | undefined;
    const kept = root?.activeElement?.closest("[data-keeps-focus]");
    if (!first.current && !kept) heading.current?.focus({ preventScroll: true });
    first.current = false;
  }, [address]);
  if (loaded.status !== "here") {
    return (
      <section class="receipt" aria-busy={loaded.status === "waiting"}>
        <h1 ref={heading} tabIndex={-1}>
          <span class="address">{address}</span>
        </h1>
        <p>{loaded.status === "waiting" ? state.say("page.waiting") : state.say(loaded.key, loaded.values)}</p>
      </section>
    );
  }
  const { receipt } = loaded;
  const value = alone(receipt.reported, isNarrow(receipt));
  return (
    <section class="receipt">
      <h1 ref={heading} tabIndex={-1}>
        <span class="address">{receipt.address}</span> {value.rounded ? "≈" : "="}{" "}
        <span class="value">{value.text}</span>
      </h1>
      <About state={state} receipt={receipt} />
      {receipt.products.length > 0 ? (
        <Equation state={state} receipt={receipt} />
      ) : (
        <>
          <Certificate state={state} receipt={receipt} />
          <Given state={state} address={receipt.address} />
        </>
      )}
      {receipt.products.length > 0 && (
        <div class="questions">
          <Question title={state.say("page.shares.title")}>
            {() => <Shares state={state} receipt={receipt} />}
          </Question>
          <Question title={state.say("page.uses.onward")}>
            {() => <Uses state={state} address={receipt.address} />}
          </Question>
        </div>
      )}
    </section>
  );
}

/** A question that is answered, and worked out, once the reader asks. */
function Question({ title, children }: { title: string; children: () => ComponentChildren }) {
  const [open, setOpen] = useState(false);
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{title}</summary>
      {open && children()}
    </details>
  );
}

/** In plain words: where the number lies, and how it came about. */
function About({ state, receipt }: { state: State; receipt: ReceiptDocument }) {
  const { network } = state.source;
  const { step } = parseAddress(receipt.address)!;
  const place = placeText(state, network, receipt.address);
  const where = place
    ? state.say("receipt.where", { place, step: isNaN(+step) ? step : `“${step}”` })
    : network.step(step)
      ? state.say("receipt.where_step", { step, kind: receipt.kind })
      : "";
  const how = howText(state, receipt);
  const lead = leadText(state, receipt);
  return (
    <div class="about">
      {where && <p>{where}</p>}
      {lead && <p class="lead">{lead}</p>}
      <p>
        {how} {receipt.products.length > 0 && state.say("page.hint")}
      </p>
    </div>
  );
}

/** Most channels whose sums are written out as one equation. */
const MOST_SUMMANDS = 6;

/** The receipt in one line: `24 = 2 + 22`. */
function leadText({ say }: State, receipt: ReceiptDocument): string {
  const count = receipt.channels.length;
  if (receipt.kind !== "convolution" || count < 2) return "";
  const summands = [...receipt.channelSums, ...(receipt.bias === null ? [] : [receipt.bias])];
  const key = `page.lead.${receipt.bias === null ? "plain" : "bias"}`;
  if (summands.length > MOST_SUMMANDS) return say(`${key}_many`, { count });
  const narrow = isNarrow(receipt);
  const parts = summands.map((value) => alone(value, false));
  const total = alone(receipt.exact, narrow);
  const sign = isFinite(total.value as number) && parts.some((part) => part.rounded) ? ABOUT : sumSign(parts, total);
  const right = parts.map(({ text }, n) => (n && text.startsWith("−") ? ` − ${text.slice(1)}` : `${n ? " + " : ""}${text}`));
  return say(key, { count, equation: `${right.join("")} ${sign} ${total.text}` });
}

function howText({ say }: State, receipt: ReceiptDocument): string {
  const channels = receipt.channels.length;
  if (!channels) return "";
  const each = receipt.products.length / channels;
  if (receipt.kind === "convolution") {
    const key = (channels > 1 ? "many" : "one") + (each === 1 ? "_single" : "");
    const words = {
      terms: each,
      count: channels,
      first: receipt.channels[0],
      last: receipt.channels.at(-1),
    };
    const product = say("receipt.how.product");
    return channels > 1 ? product : `${say(`receipt.how.${key}`, words)} ${product}`;
  }
  const known = ["linear", "mul", "relu"];
  const kind = known.includes(receipt.kind)
    ? receipt.kind
    : receipt.status === "selects"
      ? "selects"
      : receipt.products.length === 1
        ? receipt.status === "gates" ? "gates" : "one"
        : "other";
  return say(`receipt.kind.${kind}`, { terms: receipt.products.length });
}
