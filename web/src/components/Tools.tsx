/** What can be done with what is on the screen: change it, play it, take it along, try it oneself. */
import { useMemo, useState } from "preact/hooks";
import { stackOf } from "../adopt";
import type { State } from "../state";
import { Code } from "./Code";
import { Player, canPlay } from "./Player";
import { Playground } from "./Playground";

export function Tools({ state }: { state: State }) {
  const { say } = state;
  const [player, setPlayer] = useState(false);
  const [code, setCode] = useState(false);
  const play = state.playground.value;
  const arrived = state.given.revision.value;
  const stack = useMemo(() => stackOf(state.given.network), [arrived]);
  return (
    <>
      <div class="tools bar-of-tools" role="group" aria-label={say("page.tools.title")}>
        {stack && (
          <button aria-expanded={play !== null} onClick={() => state.play(play ? null : stack)}>
            {say("page.tools.change")}
          </button>
        )}
        <button disabled={!canPlay(state)} aria-expanded={player} onClick={() => setPlayer(!player)}>
          {say("page.tools.play")}
        </button>
        <button aria-expanded={code} onClick={() => setCode(!code)}>
          {say("page.tools.code")}
        </button>
        <button onClick={() => state.exercise({ level: 1, seed: Math.floor(Math.random() * 1000) })}>
          {say("page.tools.practice")}
        </button>
      </div>
      <Playground state={state} />
      {player && <Player state={state} />}
      {code && <Code state={state} />}
    </>
  );
}
