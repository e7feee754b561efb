/** The bar on top: what this is, language, theme. */
import type { Language } from "../document";
import type { State } from "../state";

const LANGUAGES: readonly [Language, string][] = [
  ["en", "EN"],
  ["ko", "한국어"],
];

export function Header({ state }: { state: State }) {
  const { say, lang, theme } = state;
  // Without a choice of the reader's own, the system decides.
  const dark = theme.value ? theme.value === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  return (
    <header class="bar">
      <p class="title">{state.page.title}</p>
      <div class="switches">
        <div role="group" aria-label={say("page.language")} class="languages">
          {LANGUAGES.map(([code, name]) => (
            <button
              key={code}
              lang={code}
              aria-pressed={lang.value === code}
              onClick={() => (lang.value = code)}
            >
              {name}
            </button>
          ))}
        </div>
        <button
          class="theme"
          aria-pressed={dark}
          onClick={() => (theme.value = dark ? "light" : "dark")}
        >
          {say("page.dark")}
        </button>
      </div>
    </header>
  );
}
