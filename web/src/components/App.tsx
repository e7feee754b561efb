/** The page: which parts there are, and in which order. */
import type { State } from "../state";
import { Detail } from "./Detail";
import { Footer } from "./Footer";
import { Header } from "./Header";
import { Lost } from "./Lost";
import { Practice } from "./Practice";
import { ReceiptView } from "./ReceiptView";
import { Strip } from "./Strip";
import { Tools } from "./Tools";
import { Trail } from "./Trail";

export function App({ state }: { state: State }) {
  const point = (event: Event): void => {
    const at = (event.target as Element).closest?.("[data-address]");
    state.pointed.value = at?.getAttribute("data-address") ?? null;
  };
  return (
    <div
      class="convtrace"
      lang={state.lang.value}
      data-theme={state.theme.value ?? undefined}
      onMouseOver={point}
      onMouseLeave={() => (state.pointed.value = null)}
      onFocusIn={point}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !state.trail.value.length) return;
        event.preventDefault();
        state.back(state.trail.value.length - 1);
      }}
    >
      <Header state={state} />
      <Lost state={state} />
      {state.practice.value ? (
        <main>
          <Practice state={state} />
        </main>
      ) : (
        <>
          <Strip state={state} />
          <main>
            <Tools state={state} />
            <Trail state={state} />
            <ReceiptView state={state} />
          </main>
        </>
      )}
      <Footer state={state} />
      <Detail state={state} />
    </div>
  );
}
