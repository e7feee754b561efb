/** The share of the result: one number split over the pixels, as a map, and over the biases. */
import { useEffect, useMemo, useState } from "preact/hooks";
import { type Address, addressText, parseAddress } from "../address";
import { cone, spanOf } from "../cone";
import { type Split, contributions } from "../contributions";
import type { Num, ReceiptDocument } from "../document";
import { type Cell, isPlane, partKey, planeOf } from "../equation";
import { sum } from "../exact";
import { channelAxis, planeName } from "../naming";
import { ABOUT, about, identify, marked, resolve, sumSign } from "../numbers";
import { upTo } from "../places";
import { returnedKey } from "../script";
import { receiptHere, want } from "../source";
import type { State } from "../state";
import { Tensor, sizeOf, unravel } from "../tensor";
import { CellScale, alone, isNarrow, narrowEnough } from "../text";
import { Grid } from "./Grid";
import { PlaneMap } from "./PlaneMap";

/** Channels of the input that are shown. */
const MOST_CHANNELS = 4;
/** Columns up to which pixels are seen by themselves; in a larger map, a frame shows which ones there can be. */
const SMALL = 32;
/** Longer side of a map, in CSS pixels. */
const SIDE = 260;

export function Shares({ state, receipt }: { state: State; receipt: ReceiptDocument }) {
  const { say } = state;
  const split = useSplit(state, receipt);
  if (split === undefined) return <p class="note">{say("page.waiting")}</p>;
  if (!split) return <p class="note">{say("page.shares.none")}</p>;
  return (
    <div class="shares">
      <p>{say("page.shares.what")}</p>
      <Total state={state} receipt={receipt} split={split} />
      {[...split.inputs].map(([name, values], n) => (
        <InputShares key={name} state={state} receipt={receipt} name={name} part={n ? `share${n + 1}` : "share"} values={values} />
      ))}
    </div>
  );
}

/** The split of a number: worked out here, or asked for; undefined while that is underway. */
function useSplit(state: State, receipt: ReceiptDocument): Split | null | undefined {
  const { source } = state;
  const revision = source.revision.value;
  const [asked, setAsked] = useState<{ of: ReceiptDocument; split: Split | null } | null>(null);
  const address = parseAddress(receipt.address)!;
  useEffect(() => {
    let here = true;
    const put = (split: Split | null): void => {
      if (here) setAsked({ of: receipt, split });
    };
    source.split?.(address).then(put, () => put(null));
    return () => (here = false);
  }, [source, receipt]);
  const own = useMemo(() => (source.split ? null : splitOf(state, address)), [source, receipt, revision]);
  if (!source.split) return own;
  return asked?.of === receipt ? asked.split : undefined;
}

function splitOf({ source }: State, address: Address): Split | null {
  return contributions(source.network, address, (address) => {
    const found = receiptHere(source, address);
    return found instanceof Promise ? null : found;
  });
}

/** Pixels + biases = their sum, and what was returned where that differs. */
function Total({ state, receipt, split }: { state: State; receipt: ReceiptDocument; split: Split }) {
  const { say } = state;
  const { reported } = receipt;
  const narrow = isNarrow(receipt);
  const total = sum([split.pixels, split.biases]);
  const parts = [alone(split.pixels, false), alone(split.biases, false)];
  const off = typeof reported === "number" ? reported - total : NaN;
  const differs = isFinite(off) && off !== 0;
  const [made, returned] = differs
    ? resolve([total, Number(reported)], off, narrow)
    : [alone(total, narrow), alone(reported, narrow)];
  let full = "";
  const amount = (part: string, value: Num, text: string) => {
    const key = partKey(receipt.address, part);
    const label = `${say(`page.part.${part}`)} = ${identify(value, false).text}`;
    if (state.pointed.value === key) full = label;
    return (
      <span class="amount" role="note" tabIndex={0} data-address={key} aria-label={label}>
        {text}
      </span>
    );
  };
  return (
    <>
      <p class="split">
        {say("page.part.pixels")} {amount("pixels", split.pixels, marked(parts[0]!))} + {say("page.part.biases")}{" "}
        {amount("biases", split.biases, marked(parts[1]!))} {sumSign(parts, made!)}{" "}
        {amount("split", total, made!.text)}
      </p>
      {full && (
        <p class="detail" aria-hidden="true">
          {full}
        </p>
      )}
      {differs && (
        <p class="note" data-address={receipt.address}>
          {returnedText(state, receipt, marked(returned!))} · {say("page.shares.differs", { residual: about(Math.abs(off)) })}
        </p>
      )}
    </>
  );
}

const returnedText = ({ say }: State, receipt: ReceiptDocument, value: string): string =>
  say(returnedKey(receipt), { value, reporter: receipt.reporter });

interface InputSharesProps {
  state: State;
  receipt: ReceiptDocument;
  name: string;
  /** What the shares are called in addresses. */
  part: string;
  values: Float64Array;
}

function InputShares({ state, receipt, name, part, values }: InputSharesProps) {
  const { say } = state;
  const { network } = state.source;
  const { shape } = network.tensor(name)!;
  const share = useMemo(() => {
    const tensor = new Tensor(partKey(receipt.address, part), "share", "float64", shape);
    tensor.boxes.push({ start: shape.map(() => 0), shape, values });
    return tensor;
  }, [values]);
  const { step, index } = parseAddress(receipt.address)!;
  const sample = index[0] ?? 0;
  const span = useMemo(() => spanOf(cone(network, step, index).get(name)), [values]);
  const axis = channelAxis(network, name);
  const channels = axis < 0 ? 1 : shape[axis]!;
  const pixelOf = (key: string): number[] | null => {
    const text = key.startsWith(`${share.name}[`) ? parseAddress(`x${key.slice(share.name.length)}`) : null;
    return text && text.index;
  };
  const follow = (key: string): void => {
    const index = pixelOf(key);
    if (index) state.follow(addressText(name, index));
  };
  const inner = sizeOf(shape.slice(axis + 1));
  const channelOf = (n: number): number => (axis < 0 ? 0 : Math.floor(n / inner) % channels);
  const parts = new Array<number>(channels).fill(0);
  values.forEach((value, n) => (parts[channelOf(n)]! += Math.abs(value)));
  const shown = upTo(channels).sort((a, b) => parts[b]! - parts[a]!).slice(0, MOST_CHANNELS).sort((a, b) => a - b);
  const rest = sum([...values].filter((_, n) => !shown.includes(channelOf(n))));
  const top = values.reduce((most, value, n) => (Math.abs(value) > Math.abs(values[most]!) ? n : most), 0);
  const largest = Math.abs(values[top] ?? 0);
  const pointed = pixelOf(state.pointed.value ?? "");
  const looked = pointed ?? unravel(shape, top);
  const pixel = network.tensor(name)!.at(looked);
  // A large network's pixels come when they are asked for.
  useEffect(() => want(state.source, name, { start: looked, shape: looked.map(() => 1) }), [looked.join()]);
  return (
    <div class="planes">
      {shown.map((channel) => {
        const index = shape.map((size, n) => (n === axis ? channel : n === 0 && axis > 0 ? Math.min(sample, size - 1) : 0));
        const drawn = planeOf(share, index, null, narrowEnough(false));
        const plane = planeName(state, name, index, isPlane(drawn) ? drawn.at.length : shape.length - 2);
        const label = say("page.shares.caption", { name: plane });
        return (
          <figure key={channel}>
            {isPlane(drawn) ? (
              <PlaneMap
                state={state}
                plane={{ ...drawn, mark: span && drawn.columns > SMALL ? [...(drawn.rows > 1 ? span.at(-2)! : ([0, 0] as const)), ...span.at(-1)!] : null }}
                role="input"
                label={label}
                side={SIDE}
                largest={largest}
                plus
                onFollow={follow}
              />
            ) : (
              <Grid
                state={state}
                role="share"
                label={label}
                sheet={{
                  slice: drawn.slice,
                  rows: drawn.rows.map((row) =>
                    row.map((cell): Cell => ({
                      key: cell.key,
                      value: cell.value,
                      before: Number(cell.value) > 0 ? "+" : "",
                      shade: largest ? Number(cell.value) / largest : 0,
                    })),
                  ),
                }}
                scale={new CellScale(drawn.rows.flat().map((cell) => cell.value), false)}
                onFollow={(cell) => cell.key && follow(cell.key)}
              />
            )}
            <figcaption>{label}</figcaption>
          </figure>
        );
      })}
      <div class="scale-and-number">
        {largest > 0 && <Legend largest={largest} address={addressText(share.name, unravel(shape, top))} />}
        <p>{say("page.shares.colours")}</p>
        <p class="looked" data-address={addressText(share.name, looked)}>
          {say(pointed ? "page.shares.pointed" : "page.shares.largest", {
            address: addressText(name, looked),
            value: identify(pixel ?? "…").text,
            share: signed(share.at(looked)!),
          })}
        </p>
        {channels > shown.length && (
          <p data-address={partKey(receipt.address, `${part}-rest`)}>
            {say("page.shares.rest", { shown: shown.length, of: channels, rest: signed(rest) })}
          </p>
        )}
      </div>
    </div>
  );
}

/** The colours of a map, and the numbers that they stand for. */
function Legend({ largest, address }: { largest: number; address: string }) {
  const end = alone(largest, false, 3);
  const about = end.rounded ? ABOUT : "";
  return (
    <div class="map-scale">
      <div class="bar" aria-hidden="true" />
      <span data-address={address}>{`${about}−${end.text}`}</span>
      <span>0</span>
      <span data-address={address}>{`${about}+${end.text}`}</span>
    </div>
  );
}

/** A contribution with its sign, also where it is positive. */
function signed(value: Num): string {
  const shown = alone(value, false);
  return (shown.rounded ? ABOUT : "") + (Number(value) > 0 ? "+" : "") + shown.text;
}
