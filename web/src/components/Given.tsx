/** A number that was given and not computed: where it stands, and everything that used it. */
import { parseAddress } from "../address";
import { type Cell, isPlane, planeOf } from "../equation";
import type { State } from "../state";
import { CellScale, narrowEnough } from "../text";
import { Grid } from "./Grid";
import { PlaneMap } from "./PlaneMap";
import { Uses } from "./Uses";

export function Given({ state, address }: { state: State; address: string }) {
  const at = parseAddress(address)!;
  const tensor = state.source.network.tensor(at.step);
  if (!tensor) return null;
  const drawn = planeOf(tensor, at.index, null, narrowEnough(true));
  const role = tensor.origin === "input" || tensor.origin === "step" ? "input" : "kernel";
  const follow = (cell: Cell): void => {
    if (cell.key) state.follow(cell.key);
  };
  const label = tensor.name;
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
      </figure>
      <Uses state={state} address={address} />
    </div>
  );
}
