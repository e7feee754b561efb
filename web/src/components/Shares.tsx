/** The share of the result: one number split over the pixels, as a map, and over the biases. */
import { useMemo } from "preact/hooks";
import { type Address, addressText, parseAddress } from "../address";
import { type Split, contributions } from "../contributions";
import type { ReceiptDocument } from "../document";
import { type Cell, isPlane, partKey, planeOf } from "../equation";
import { marked, sumSign } from "../numbers";
import type { State } from "../state";
import { Tensor } from "../tensor";
import { CellScale, alone, isNarrow, narrowEnough } from "../text";
import { Grid } from "./Grid";
import { PlaneMap } from "./PlaneMap";

/** Channels of the input that are shown. */
const MOST_CHANNELS = 4;

export function Shares({ state, receipt }: { state: State; receipt: ReceiptDocument }) {
  const { say, source } = state;
  const revision = source.revision.value;
  const split = useMemo(() => splitOf(state, receipt), [receipt, revision]);
  if (!split) return <p class="note">{say("page.shares.none")}</p>;
  const narrow = isNarrow(receipt);
  const parts = [alone(split.pixels, false), alone(split.biases, false)];
  const total = alone(receipt.reported, narrow);
  return (
    <div class="shares">
      <p>
        {say("page.shares.sum", {
          pixels: marked(parts[0]!),
          biases: marked(parts[1]!),
          total: `${sumSign(parts, total)} ${total.text}`,
        })}
      </p>
      {[...split.inputs].map(([name, values]) => (
        <InputShares key={name} state={state} receipt={receipt} name={name} values={values} />
      ))}
      <p class="note">{say("page.shares.colours")}</p>
    </div>
  );
}

function splitOf(state: State, receipt: ReceiptDocument): Split | null {
  const { source } = state;
  const explain = (address: Address): ReceiptDocument | null => {
    try {
      const found = source.receipt(address);
      return found instanceof Promise ? null : found;
    } catch {
      return null;
    }
  };
  return contributions(source.network, parseAddress(receipt.address)!, explain);
}

interface InputSharesProps {
  state: State;
  receipt: ReceiptDocument;
  name: string;
  values: Float64Array;
}

function InputShares({ state, receipt, name, values }: InputSharesProps) {
  const input = state.source.network.tensor(name)!;
  const { shape } = input;
  const share = new Tensor(partKey(receipt.address, "share"), "share", "float64", shape);
  share.boxes.push({ start: shape.map(() => 0), shape, values });
  const sample = parseAddress(receipt.address)!.index[0] ?? 0;
  const channels = shape.length > 2 ? shape.at(-3)! : 1;
  const follow = (key: string): void => {
    const at = parseAddress(key.slice(receipt.address.length + 1));
    if (at) state.follow(addressText(name, at.index));
  };
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return (
    <div class="planes">
      {Array.from({ length: Math.min(channels, MOST_CHANNELS) }, (_, channel) => {
        const index = shape.map((_, axis) =>
          axis === shape.length - 3 ? channel : axis === 0 && shape.length > 3 ? Math.min(sample, shape[0]! - 1) : 0,
        );
        const drawn = planeOf(share, index, null, narrowEnough(false));
        const label = `${name}: ${state.say("page.channel", { n: channel })}`;
        if (isPlane(drawn)) {
          return (
            <figure key={channel}>
              <PlaneMap state={state} plane={{ ...drawn, mark: null }} role="input" label={label} onFollow={follow} />
              <figcaption>{label}</figcaption>
            </figure>
          );
        }
        const cells = drawn.rows.map((row) => row.map((cell): Cell => ({
          ...cell,
          selected: false,
          shade: largest ? Number(cell.value) / largest : 0,
        })));
        return (
          <figure key={channel}>
            <Grid
              state={state}
              role="share"
              label={label}
              sheet={{ ...drawn, rows: cells }}
              scale={new CellScale(cells.flat().map((cell) => cell.value), false)}
              onFollow={(cell) => cell.key && follow(cell.key)}
            />
            <figcaption>{label}</figcaption>
          </figure>
        );
      })}
    </div>
  );
}
