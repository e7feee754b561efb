/** A number that is edited where it stands: Enter keeps it, Escape does not, arrows count up and down. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Num } from "../document";
import { identify } from "../numbers";
import type { State } from "../state";
import { readTyped } from "../typed";

export interface CellEditorProps {
  state: State;
  address: string;
  value: Num;
  /** What was typed already; null: begin with the number as it is. */
  typed: string | null;
  /** Called when the number was kept or left alone; `focus`: whether the keyboard stays here. */
  onDone: (focus: boolean) => void;
}

export function CellEditor({ state, address, value, typed, onDone }: CellEditorProps) {
  const [before] = useState(Number(value));
  const [text, setText] = useState(typed ?? identify(value, true).text);
  const field = useRef<HTMLInputElement>(null);
  const done = useRef(false);
  const number = readTyped(text);
  const put = (next: string): void => {
    const typedNumber = readTyped(next);
    setText(next);
    if (typedNumber !== null) state.playground.peek()?.edit(address, typedNumber, address);
  };
  useLayoutEffect(() => {
    field.current!.focus({ preventScroll: true });
    if (typed === null) field.current!.select();
    else put(typed);
  }, []);
  const finish = (keep: boolean, focus: boolean): void => {
    if (done.current) return;
    done.current = true;
    const play = state.playground.peek();
    if (!keep) play?.edit(address, before, address);
    play?.history.settle();
    onDone(focus);
  };
  return (
    <span class="editor">
      <input
        ref={field}
        type="text"
        inputMode="decimal"
        autocomplete="off"
        size={Math.max(text.length, 1)}
        aria-label={state.say("page.playground.edit", { address })}
        aria-invalid={number === null}
        value={text}
        onInput={(event) => put(event.currentTarget.value)}
        onBlur={() => finish(true, false)}
        onClick={(event) => event.stopPropagation()}
        onKeyDown={(event) => {
          event.stopPropagation();
          const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
          if (step && number !== null) {
            event.preventDefault();
            put(String(Number((number + step).toPrecision(12))).replace("-", "−"));
          } else if (event.key === "Enter" || event.key === "Escape") {
            event.preventDefault();
            finish(event.key === "Enter", true);
          }
        }}
      />
      <button
        class="minus"
        tabIndex={-1}
        aria-label={state.say("page.playground.sign")}
        onPointerDown={(event) => event.preventDefault()}
        onClick={(event) => {
          event.stopPropagation();
          put(/^[−-]/.test(text) ? text.slice(1) : `−${text}`);
        }}
      >
        ±
      </button>
    </span>
  );
}

/** What a key begins to type into a cell: a text, null for the number as it is; undefined: nothing. */
export function typedBy(event: KeyboardEvent): string | null | undefined {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return undefined;
  if (event.key === "Enter" || event.key === " " || event.key === "F2") return null;
  return /^[\d.−-]$/.test(event.key) ? event.key.replace("-", "−") : undefined;
}
