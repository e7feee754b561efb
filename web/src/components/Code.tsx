/** What is on the screen as code, text, LaTeX or JSON, to be copied; and the link to it. */
import { useState } from "preact/hooks";
import { stackOf } from "../adopt";
import type { ReceiptDocument } from "../document";
import { linkOf } from "../link";
import { receiptJson, receiptLatex, receiptScript, receiptText, stackScript } from "../script";
import type { State } from "../state";

const FORMS = ["pytorch", "text", "latex", "json"] as const;
type Form = (typeof FORMS)[number];

export function Code({ state }: { state: State }) {
  const [form, setForm] = useState<Form>("pytorch");
  const { say } = state;
  const loaded = state.loaded.value;
  if (loaded.status !== "here") return null;
  const { receipt } = loaded;
  const text = textOf(state, receipt, form);
  return (
    <div class="code">
      <div class="tools">
        <div role="group" aria-label={say("page.code.form")} class="switches">
          {FORMS.map((one) => (
            <button key={one} type="button" aria-pressed={one === form} onClick={() => setForm(one)}>
              {say(`page.code.${one}`)}
            </button>
          ))}
        </div>
        <div class="switches">
          <Copy state={state} label={say("page.code.copy")} text={() => text} />
          <Copy state={state} label={say("page.code.link")} text={() => linkOf(state)} />
        </div>
      </div>
      <pre tabIndex={0} aria-label={say(`page.code.${form}`)}>
        {text}
      </pre>
    </div>
  );
}

function textOf(state: State, receipt: ReceiptDocument, form: Form): string {
  if (form === "text") return receiptText(receipt, state.say);
  if (form === "json") return receiptJson(receipt);
  if (form === "latex") return receipt.products.length ? receiptLatex(receipt) : receiptText(receipt, state.say);
  const play = state.playground.value;
  const stack = play ? play.stack.value : stackOf(state.source.network);
  if (stack) return stackScript(stack, receipt.address);
  return receipt.products.length ? receiptScript(receipt) : receiptText(receipt, state.say).replace(/^/gm, "# ");
}

interface CopyProps {
  state: State;
  label: string;
  /** null: there is nothing to copy here. */
  text: () => string | null;
}

/** A button that copies, and says whether it could. */
function Copy({ state, label, text }: CopyProps) {
  const [said, setSaid] = useState("");
  const [shown, setShown] = useState<string | null>(null);
  if (text() === null) return null;
  const copy = async (): Promise<void> => {
    const found = text()!;
    try {
      // Frames, as of notebooks, are seldom allowed to; and the browser complains of the attempt.
      if (globalThis.self !== globalThis.top) throw null;
      await navigator.clipboard.writeText(found);
      setSaid(state.say("page.code.copied"));
      setShown(null);
    } catch {
      // Without leave to use the clipboard: shown, to be copied by hand.
      setSaid(state.say("page.code.by_hand"));
      setShown(found);
    }
  };
  return (
    <span class="copy">
      <button onClick={() => void copy()} onBlur={() => setSaid("")}>
        {label}
      </button>
      <span role="status">{said}</span>
      {shown !== null && (
        <textarea readOnly rows={2} aria-label={label} value={shown} onFocus={(event) => event.currentTarget.select()} />
      )}
    </span>
  );
}
