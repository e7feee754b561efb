/** A receipt as an equation: a channel reads from left to right, the sum from top to bottom. */
import { useComputed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { parseAddress } from "../address";
import type { ReceiptDocument } from "../document";
import { type Cell, type Equation as Layout, type Row, equationOf, isPlane, partKey } from "../equation";
import { litBy } from "../lit";
import { marked } from "../numbers";
import type { State } from "../state";
import { CellScale, alone, isNarrow, narrowEnough } from "../text";
import { Certificate } from "./Certificate";
import { EditableSum } from "./EditableSum";
import { Grid, useKept } from "./Grid";
import { PlaneMap } from "./PlaneMap";

/** Cells that a view may draw: with rows, headings and the rest it stays below 1,500 elements. */
const MOST_CELLS = 900;

export function Equation({ state, receipt }: { state: State; receipt: ReceiptDocument }) {
  const { source } = state;
  const revision = source.revision.value;
  const [order, from] = [state.order.value, state.from.value];
  // Pointing at a number lights others up; nothing has to be laid out anew for that.
  const { layout, scales } = useMemo(() => {
    const narrow = narrowEnough(isNarrow(receipt));
    const layout = equationOf(source.network, receipt, { order, from, cells: MOST_CELLS, narrow });
    return { layout, scales: scalesOf(layout) };
  }, [source, receipt, revision, order, from]);
  const lit = useComputed(() => litBy(source.network, receipt, state.pointed.value));
  const follow = (cell: Cell): void => {
    if (cell.key && !cell.key.includes("#")) state.follow(cell.key);
  };
  const { channels, slides, rows } = layout;
  const single = isSingle(layout);
  const heading = (key: string) => <div class="heading">{state.say(`page.heading.${key}`)}</div>;
  return (
    <div class={`equation ${single ? "list" : "slides"} ${density(layout, scales)}`}>
      <div class="row headings" aria-hidden="true">
        <div class="name" />
        <div class="from">{heading(slides ? "channel" : "input")}</div>
        <div class="sign" />
        {heading(channels ? "kernel" : "factor")}
        <div class="sign" />
        {heading(single ? "product" : "products")}
        {!single && (
          <>
            <div class="sign" />
            {heading("sum")}
          </>
        )}
      </div>
      {rows.map((row) => (
        <ChannelRow
          key={row.place}
          state={state}
          layout={layout}
          row={row}
          scales={scales}
          lit={lit.value}
          onFollow={follow}
        />
      ))}
      <Rest state={state} layout={layout} scales={scales} />
      <Total state={state} layout={layout} scales={scales} lit={lit.value} onFollow={follow}>
        <Certificate state={state} receipt={receipt} />
      </Total>
    </div>
  );
}

/** Whether every row is one product, so that it is its own sum. */
const isSingle = ({ rows }: Layout): boolean => rows[0]!.products.rows.flat().length === 1;

interface Scales {
  input: CellScale;
  kernel: CellScale;
  products: CellScale;
  sums: CellScale;
  output: CellScale;
}

function scalesOf({ rows, receipt, rest, output }: Layout): Scales {
  const narrow = isNarrow(receipt);
  const of = (cells: (Cell["value"])[], narrowly = narrow) => new CellScale(cells, narrowly);
  const values = (sheet: Row["input"] | Row["values"]) =>
    sheet && !isPlane(sheet) ? sheet.rows.flat().map((cell) => cell.value) : [];
  return {
    input: of(rows.flatMap((row) => [...values(row.input), ...values(row.values)])),
    kernel: of(rows.flatMap((row) => values(row.kernel))),
    products: of(rows.flatMap((row) => values(row.products)), false),
    sums: of([...rows.map((row) => row.sum.value), rest, receipt.bias], false),
    output: of(values(output)),
  };
}

/** How small the letters of a wide equation are: its grids stand beside each other. */
function density({ rows }: Layout, scales: Scales): string {
  const row = rows[0]!;
  const sheets = [
    [row.input && !isPlane(row.input) ? row.input : row.values, scales.input],
    [row.kernel, scales.kernel],
    [row.products, scales.products],
  ] as const;
  const characters = sheets.reduce(
    (sum, [sheet, scale]) => sum + (sheet?.rows[0]?.length ?? 0) * (scale.longest + 1.5),
    0,
  );
  return characters > 130 ? "densest" : characters > 85 ? "dense" : "";
}

interface ChannelRowProps {
  state: State;
  layout: Layout;
  row: Row;
  scales: Scales;
  lit: ReadonlySet<string>;
  onFollow: (cell: Cell) => void;
}

function ChannelRow({ state, layout, row, scales, lit, onFollow }: ChannelRowProps) {
  const { say } = state;
  const label = layout.channels
    ? say(layout.slides ? "page.channel" : "page.feature", { n: row.channel })
    : (row.source ?? say("page.term", { n: row.channel }));
  const grid = { state, lit, onFollow };
  const named = (part: string) => `${label}: ${say(`page.heading.${part}`)}`;
  const kernel = useKept(
    <Grid {...grid} role="kernel" label={named("kernel")} sheet={row.kernel} scale={scales.kernel} />,
  );
  const products = useKept(
    <Grid state={state} lit={lit} role="products" label={named("products")} sheet={row.products} scale={scales.products} />,
  );
  return (
    <div class="row" role="group" aria-label={label}>
      <div class="name">{label}</div>
      <div class="from">
        {row.input && isPlane(row.input) && (
          <PlaneMap state={state} plane={row.input} role="input" label={named("channel")} side={density(layout, scales) ? 96 : 132} />
        )}
        {row.input && !isPlane(row.input) && (
          <Grid {...grid} role="input" label={named("channel")} sheet={row.input} scale={scales.input} />
        )}
        {row.values && (
          <Grid {...grid} role="input" label={named("input")} sheet={row.values} scale={scales.input} />
        )}
      </div>
      <div class="sign">×</div>
      {kernel}
      <div class="sign">=</div>
      {products}
      {!isSingle(layout) && (
        <div class="channel-sum">
          <div class="sign" aria-hidden="true">
            Σ
          </div>
          <Sum state={state} cell={row.sum} scale={scales.sums} name={say("page.part.channel_of", { label })} />
        </div>
      )}
    </div>
  );
}

interface SumProps {
  state: State;
  cell: Cell;
  scale: CellScale;
  name: string;
}

/** A number of the sum on the right, which can be looked at in full. */
function Sum({ state, cell, scale, name }: SumProps) {
  const editable = state.playground.value?.canEdit(cell.key) ?? false;
  const value = cell.value!;
  const shown = scale.show(value);
  const pad = scale.pad(value);
  if (editable) return <EditableSum state={state} address={cell.key!} value={value} text={shown.text} pad={pad} />;
  return (
    <div
      class={`sum${shown.rounded ? " rounded" : ""}`}
      role="note"
      tabIndex={0}
      data-address={cell.key ?? undefined}
      aria-label={scale.name(state, name, value)}
      style={pad ? { "--pad": pad } : undefined}
    >
      {shown.text}
    </div>
  );
}

/** How many rows are shown, and what the others sum to. */
function Rest({ state, layout, scales }: { state: State; layout: Layout; scales: Scales }) {
  const { receipt, rows, of, rest } = layout;
  if (rest === null) return null;
  const { say, from, order } = state;
  const first = Math.min(from.value, of - 1);
  const kind = layout.channels && layout.slides ? "channels" : "terms";
  return (
    <div class="row rest">
      <div class="pager">
        <p>
          {say(`page.rest.${kind}.${order.value}`, { shown: rows.length, of, first: first + 1, last: first + rows.length })}{" "}
          {say("page.rest.sum")}
        </p>
        <button type="button" disabled={first === 0} onClick={() => (from.value = Math.max(first - rows.length, 0))}>
          {say("page.rest.previous")}
        </button>
        <button type="button" disabled={first + rows.length >= of} onClick={() => (from.value = first + rows.length)}>
          {say("page.rest.next")}
        </button>
        <button
          type="button"
          aria-pressed={order.value === "share"}
          onClick={() => {
            order.value = order.value === "share" ? "number" : "share";
            from.value = 0;
          }}
        >
          {say("page.rest.largest")}
        </button>
      </div>
      <Sum
        state={state}
        cell={{ key: partKey(receipt.address, "rest"), value: rest }}
        scale={scales.sums}
        name={say("page.rest.name", { count: of - rows.length })}
      />
    </div>
  );
}

interface TotalProps {
  state: State;
  layout: Layout;
  scales: Scales;
  lit: ReadonlySet<string>;
  onFollow: (cell: Cell) => void;
  children: ComponentChildren;
}

/** Bias, line, total, and where the total stands in the output. */
function Total({ state, layout, scales, lit, onFollow, children }: TotalProps) {
  const { receipt, output } = layout;
  const { say } = state;
  const total = alone(receipt.reported, isNarrow(receipt));
  const whole = `${receipt.address} = ${scales.output.full(receipt.reported)}`;
  const label =
    layout.outputChannel === null
      ? say("page.output", { name: parseAddress(receipt.address)!.step })
      : say("page.output_channel", { n: layout.outputChannel });
  return (
    <>
      {(receipt.bias !== null || layout.channels) && (
        <div class="row bias">
          <div class="label">{say(receipt.bias === null ? "page.no_bias" : "page.bias")}</div>
          {receipt.bias !== null && (
            <Sum
              state={state}
              cell={{ key: receipt.biasAddress ?? partKey(receipt.address, "bias"), value: receipt.bias }}
              scale={scales.sums}
              name={receipt.biasAddress ?? say("page.bias")}
            />
          )}
        </div>
      )}
      <div class="row total">
        <div class="says">{children}</div>
        <div
          class={`result${total.rounded ? " rounded" : ""}`}
          role="note"
          tabIndex={0}
          data-address={receipt.address}
          aria-label={
            total.rounded
              ? say("page.shown_as", { full: whole, text: marked(total) })
              : whole
          }
        >
          {marked(total)}
        </div>
        {output && (
          <>
            <div class="sign" aria-hidden="true">
              →
            </div>
            <figure>
              {isPlane(output) ? (
                <PlaneMap state={state} plane={output} role="output" label={label} side={180} />
              ) : (
                <Grid
                  state={state}
                  role="output"
                  label={label}
                  sheet={output}
                  scale={scales.output}
                  lit={lit}
                  onFollow={onFollow}
                />
              )}
              <figcaption>{label}</figcaption>
            </figure>
          </>
        )}
      </div>
    </>
  );
}
