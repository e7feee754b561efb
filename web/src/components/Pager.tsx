/** Says what is shown of something long, and leads to what stands before and after it. */
import type { ComponentChildren } from "preact";
import type { State } from "../state";

export interface PagerProps {
  state: State;
  text: string;
  /** Null where nothing stands there. */
  previous: (() => void) | null;
  next: (() => void) | null;
  children?: ComponentChildren;
}

export function Pager({ state, text, children, ...ways }: PagerProps) {
  return (
    <div class="pager" data-keeps-focus>
      <p>{text}</p>
      {(["previous", "next"] as const).map((way) => (
        <button key={way} type="button" disabled={!ways[way]} onClick={() => ways[way]?.()}>
          {state.say(`page.rest.${way}`)}
        </button>
      ))}
      {children}
    </div>
  );
}
