/** The way that the reader came down, as links back. */
import type { State } from "../state";

export function Trail({ state }: { state: State }) {
  const trail = state.trail.value;
  if (!trail.length) return null;
  return (
    <nav class="trail" aria-label={state.say("page.trail")}>
      <ol>
        {trail.map((address, n) => (
          <li key={n}>
            <button onClick={() => state.back(n)}>
              {address}
            </button>
          </li>
        ))}
        <li aria-current="page">{state.selected.value}</li>
      </ol>
    </nav>
  );
}
