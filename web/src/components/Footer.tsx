/** What there is to know about this page: remarks on the run, and what was left out. */
import { about } from "../numbers";
import type { State } from "../state";

export function Footer({ state }: { state: State }) {
  const { say, page } = state;
  const { leftOut, notes, budget } = page;
  if (!leftOut.length && !notes.length) return null;
  return (
    <footer>
      {notes.map((note, n) => (
        <p key={n}>{say(`cli.note.${note}`)}</p>
      ))}
      {leftOut.length > 0 && (
        <details>
          <summary>
            {say("page.left_out", {
              count: leftOut.length,
              budget: about(budget! / 1e6),
              wanted: about(page.wanted / 1e6),
            })}
          </summary>
          <p>{leftOut.join(", ")}</p>
          <p>{say("page.serve")}</p>
        </details>
      )}
    </footer>
  );
}
