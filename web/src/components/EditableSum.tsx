/** A bias in the playground: it stands among the sums, and is edited there. */
import { useRef, useState } from "preact/hooks";
import type { Num } from "../document";
import type { State } from "../state";
import type { CellScale } from "../text";
import { CellEditor, typedBy } from "./CellEditor";

export interface EditableSumProps {
  state: State;
  address: string;
  value: Num;
  scale: CellScale;
}

export function EditableSum({ state, address, value, scale }: EditableSumProps) {
  const { text, rounded } = scale.show(value);
  const [editing, setEditing] = useState<{ typed: string | null } | null>(null);
  const place = useRef<HTMLDivElement>(null);
  const done = (focus: boolean): void => {
    setEditing(null);
    if (focus) place.current?.focus();
  };
  return (
    <div
      ref={place}
      class={`sum editable${editing ? " editing" : ""}${rounded ? " rounded" : ""}`}
      role={editing ? "group" : "button"}
      tabIndex={editing ? -1 : 0}
      data-address={address}
      aria-label={scale.name(state, address, value)}
      style={{ "--pad": scale.pad(value), "--chars": scale.width }}
      onClick={() => setEditing((now) => now ?? { typed: null })}
      onKeyDown={(event) => {
        const typed = typedBy(event);
        if (typed === undefined || editing) return;
        event.preventDefault();
        setEditing({ typed });
      }}
    >
      {editing ? (
        <CellEditor state={state} address={address} value={value} typed={editing.typed} onDone={done} />
      ) : (
        text
      )}
    </div>
  );
}
