/** Fields of the playground: whole numbers with − and +, a choice from a list, a box to tick. */
import type { Signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { State } from "../state";
import { isBegun, readSizes, sizesText } from "../typed";

/** A name of its own, by which one element speaks of another. */
export const useName = (): string => useState(() => `n${Math.random()}`)[0];

/** A text that was typed into a field and is no number. */
export interface Unread {
  /** Id of the field. */
  id: string;
  label: string;
  text: string;
  axes: number;
}

export interface NumberFieldProps {
  state: State;
  label: string;
  /** What is named aloud besides the label: the layer. */
  of: string;
  values: readonly number[];
  limits: readonly [number, number];
  /** Id of the sentence that says why the value is impossible. */
  problem: string | undefined;
  /** Id of what says so where no number can be read, and what could not be read. */
  explains: string;
  unread: Signal<Unread | null>;
  disabled?: boolean;
  onChange: (values: number[]) => void;
}

export function NumberField(props: NumberFieldProps) {
  const { state, label, of, values, limits, problem, explains, unread, disabled = false, onChange } = props;
  const id = useName();
  const now = sizesText(values);
  const [text, setText] = useState(now);
  useEffect(() => {
    // What is typed stays as long as it says the same number.
    setText((typed) => (sizesText(readSizes(typed, values.length) ?? []) === now ? typed : now));
  }, [now]);
  const [low, high] = limits;
  const put = (typed: string): void => {
    setText(typed);
    const read = readSizes(typed, values.length);
    // Half of a number, as while it is typed, is no mistake yet.
    unread.value = read || isBegun(typed) ? null : { id, label: `${of} ${label}`, text: typed, axes: values.length };
    if (read) onChange(read);
  };
  const step = (by: number): void =>
    onChange(values.map((value) => Math.min(Math.max(value + by, low), high)));
  return (
    <div class="field-box">
      <label for={id}>{label}</label>
      <span class="stepper">
        <button
          tabIndex={-1}
          disabled={disabled || values.every((value) => value <= low)}
          aria-label={state.say("page.playground.less", { label: `${of} ${label}` })}
          onClick={() => step(-1)}
        >
          −
        </button>
        <input
          id={id}
          type="text"
          inputMode="numeric"
          autocomplete="off"
          disabled={disabled}
          value={text}
          size={Math.max(text.length, 2)}
          aria-label={`${of} ${label}`}
          aria-invalid={problem !== undefined || readSizes(text, values.length) === null}
          aria-describedby={problem ?? (unread.value?.id === id ? explains : undefined)}
          onInput={(event) => put(event.currentTarget.value)}
          onBlur={() => {
            setText(now);
            unread.value = null;
          }}
          onKeyDown={(event) => {
            const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
            if (!by) return;
            event.preventDefault();
            step(by);
          }}
        />
        <button
          tabIndex={-1}
          disabled={disabled || values.every((value) => value >= high)}
          aria-label={state.say("page.playground.more", { label: `${of} ${label}` })}
          onClick={() => step(1)}
        >
          +
        </button>
      </span>
    </div>
  );
}

export interface ChoiceFieldProps<Option extends string> {
  label: string;
  of: string;
  value: Option;
  options: readonly (readonly [Option, string])[];
  problem?: string | undefined;
  onChange: (value: Option) => void;
}

export function ChoiceField<Option extends string>(props: ChoiceFieldProps<Option>) {
  const { label, of, value, options, problem, onChange } = props;
  const id = useName();
  return (
    <div class="field-box">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        aria-label={`${of} ${label}`}
        aria-invalid={problem !== undefined}
        aria-describedby={problem}
        onChange={(event) => onChange(event.currentTarget.value as Option)}
      >
        {options.map(([name, text]) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

export interface TickFieldProps {
  label: string;
  of: string;
  value: boolean;
  onChange: (value: boolean) => void;
}

export function TickField({ label, of, value, onChange }: TickFieldProps) {
  const id = useName();
  return (
    <div class="field-box tick">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="checkbox"
        checked={value}
        aria-label={`${of} ${label}`}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    </div>
  );
}
