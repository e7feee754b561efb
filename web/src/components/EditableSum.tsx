/** A bias in the playground: it stands among the sums, and is edited there. */
import { useRef, useState } from "preact/hooks";
import type { Num } from "../document";
import { identify } from "../numbers";
import type { State } from "../state";
import { CellEditor, typedBy } from "./CellEditor";

export interface EditableSumProps {
  state: State;
  address: string;
  value: Num;
  text: string;
  pad: number;
}

export function EditableSum({ state, address, value, text, pad }: EditableSumProps) {
  const [editing, setEditing] = useState<{ typed: string | null } | null>(null);
  const place = useRef<HTMLDivElement>(null);
  const done = (focus: boolean): void => {
    setEditing(null);
    if (focus) place.current?.focus();
  };
  return (
    <div
      ref={place}
      class={`sum editable${editing ? " editing" : ""}`}
      role={editing ? "group" : "button"}
      tabIndex={editing ? -1 : 0}
      data-address={address}
      aria-label={`${address} = ${identify(value, true).text}`}
      style={pad ? { "--pad": pad } : undefined}
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
