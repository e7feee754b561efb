/** A number that was given and not computed: where it stands, and everything that used it. */
import { addressText, parseAddress } from "../address";
import { type Cell, isPlane, planeOf } from "../equation";
import { channelAxis, planeName } from "../naming";
import type { State } from "../state";
import { CellScale, narrowEnough } from "../text";
import { Grid } from "./Grid";
import { Pager } from "./Pager";
import { PlaneMap } from "./PlaneMap";
import { Uses } from "./Uses";

export function Given({ state, address }: { state: State; address: string }) {
  const { network } = state.source;
  const at = parseAddress(address)!;
  const tensor = network.tensor(at.step);
  if (!tensor) return null;
  const drawn = planeOf(tensor, at.index, null, narrowEnough(true));
  const role = tensor.origin === "input" || tensor.origin === "step" ? "input" : "kernel";
  const follow = (cell: Cell): void => {
    if (cell.key) state.follow(cell.key);
  };
  const rows = isPlane(drawn) ? drawn.at.length : tensor.shape.length - 2;
  const label = planeName(state, tensor.name, at.index, rows);
  const axis = channelAxis(network, tensor.name);
  return (
    <div class="given">
      <figure>
        {isPlane(drawn) ? (
          <PlaneMap state={state} plane={drawn} role={role} label={label} />
        ) : (
          <Grid
            state={state}
            role={role}
            label={label}
            sheet={drawn}
            scale={new CellScale(drawn.rows.flat().map((cell) => cell.value), true)}
            onFollow={follow}
          />
        )}
        <figcaption>{label}</figcaption>
        {axis >= 0 && axis < rows && tensor.shape[axis]! > 1 && (
          <Channels state={state} name={tensor.name} index={at.index} axis={axis} count={tensor.shape[axis]!} />
        )}
      </figure>
      <Uses state={state} address={address} />
    </div>
  );
}

interface ChannelsProps {
  state: State;
  name: string;
  index: readonly number[];
  axis: number;
  count: number;
}

/** Leads to the same place in the channels beside this one. */
function Channels({ state, name, index, axis, count }: ChannelsProps) {
  const here = index[axis]!;
  const go = (channel: number): void =>
    state.follow(addressText(name, index.map((place, n) => (n === axis ? channel : place))));
  return (
    <Pager
      state={state}
      text={state.say("page.channels", { count })}
      previous={here ? () => go(here - 1) : null}
      next={here < count - 1 ? () => go(here + 1) : null}
    />
  );
}
