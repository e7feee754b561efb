/** Says that nobody answers any more, and how to go on. What came already can still be followed. */
import type { State } from "../state";

export function Lost({ state }: { state: State }) {
  const { lost } = state.given;
  if (!lost) return null;
  return (
    <div class="lost" role="status">
      {lost.value && <p>{state.say(`page.lost.${lost.value}`)}</p>}
    </div>
  );
}
