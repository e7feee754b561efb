/** The last word of a receipt: exact sum, what was returned, and what the difference means. */
import type { ReceiptDocument } from "../document";
import { about, identify, marked, resolve, show } from "../numbers";
import { returnedKey } from "../script";
import type { State } from "../state";
import { isNarrow, termText } from "../text";

export function Certificate({ state, receipt }: { state: State; receipt: ReceiptDocument }) {
  const { say } = state;
  const { verdict } = receipt;
  const narrow = isNarrow(receipt);
  const notes = receipt.notes.map(([key, values]) => say(key, shownValues({ ...values }, narrow)));
  if (verdict === null) return <Notes notes={notes} />;
  const [exact, reported] = compared(receipt, narrow);
  const single = receipt.products.length === 1 && receipt.bias === null;
  const nothing = receipt.reporter === "exact" && verdict === "exact";
  const parts = [
    say(single ? "verdict.value" : "verdict.sum", { exact }),
    nothing
      ? say("verdict.alone")
      : say(returnedKey(receipt), { value: reported, reporter: receipt.reporter }),
  ];
  const sentences = nothing ? [] : explained(state, receipt, narrow);
  return (
    <div class={`certificate ${verdict}`}>
      <p class="verdict">
        {parts.map((part, n) => (
          <span key={n}>{part} · </span>
        ))}
        {!nothing && <strong>{say(`verdict.${verdict}`)}</strong>}
      </p>
      {verdict === "mismatch" && <p class="loud">{say("verdict.loud")}</p>}
      <Notes notes={[...sentences, ...culpritsOf(state, receipt), ...notes]} />
    </div>
  );
}

function Notes({ notes }: { notes: readonly string[] }) {
  return (
    <>
      {notes.map((note, n) => (
        <p key={n} class="note">
          {note}
        </p>
      ))}
    </>
  );
}

/** Exact sum and returned number, with enough digits that their difference shows. */
function compared(receipt: ReceiptDocument, narrow: boolean): [string, string] {
  const { exact, reported, residual } = receipt;
  if (!residual || typeof exact === "string" || typeof reported === "string") {
    return [identify(reported, narrow).text, identify(reported, narrow).text];
  }
  if (typeof residual === "number" && isFinite(residual)) {
    const [left, right] = resolve([exact, reported], residual, narrow);
    return [marked(left!), marked(right!)];
  }
  return [marked(show(exact)), identify(reported, narrow).text];
}

/** How far apart the two numbers are, and whether rounding explains it, in words. */
function explained(state: State, receipt: ReceiptDocument, narrow: boolean): string[] {
  const { say } = state;
  const { residual, verdict } = receipt;
  const [bound, typical] = [Number(receipt.bound), Number(receipt.typical)];
  if (typeof residual !== "number" || !isFinite(residual)) {
    const finite = isFinite(Number(receipt.reported));
    return finite && verdict === "mismatch" ? [say("verdict.finite")] : [];
  }
  if (!residual) return [];
  const size = Math.abs(residual);
  const far = verdict === "mismatch" ? marked(show(size, undefined, narrow)) : about(size);
  if (!receipt.arithmetic) {
    return verdict === "mismatch" ? [say("verdict.integer", { residual: far })] : [];
  }
  const words = {
    residual: far,
    format: resultFormat(receipt.arithmetic),
    bound: about(bound),
    typical: about(typical),
  };
  if (verdict === "exact") return [say("verdict.nearest", words)];
  if (verdict === "rounding") {
    return [say(size > 10 * typical ? "verdict.large" : "verdict.ordinary", words)];
  }
  if (verdict === "mismatch" && isFinite(bound)) {
    return [say("verdict.ratio", { ...words, ratio: bound ? about(size / bound) : "∞" })];
  }
  return [];
}

/** Terms with NaN or infinity that are named. */
const MOST_CULPRITS = 8;

/** Where NaN or infinity came in. */
function culpritsOf(state: State, receipt: ReceiptDocument): string[] {
  const { say } = state;
  const { culprits, sources, weights, weightAddresses } = receipt;
  if (!culprits.length) return [];
  const named = culprits.slice(0, MOST_CULPRITS).map((n) => {
    if (sources[n]) return termText(state, receipt, n);
    const own = identify(weights[n]!).text;
    return say("verdict.culprit.padding", { address: weightAddresses[n], own, product: `0 × ${own} = NaN` });
  });
  const more = culprits.length - MOST_CULPRITS;
  return [say("verdict.culprits"), ...named, ...(more > 0 ? [say("verdict.culprit.more", { count: more })] : [])];
}

/** The format of the result, from `float16 × float16, float32 sums, float16 result`. */
function resultFormat(arithmetic: string): string {
  const format = (word: string): string | undefined => new RegExp(`(\\w+) ${word}`).exec(arithmetic)?.[1];
  return format("result") ?? format("sums") ?? arithmetic;
}

function shownValues(values: Record<string, unknown>, narrow: boolean): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      typeof value === "number" ? marked(show(value, undefined, narrow)) : value,
    ]),
  );
}
