/** A receipt as an equation: a channel reads from left to right, the sum from top to bottom. */
import { computed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { parseAddress } from "../address";
import type { ReceiptDocument } from "../document";
import { type Cell, type Equation as Layout, type Row, isPlane, partKey } from "../equation";
import { type Scales, laidOut } from "../laid";
import { litBy } from "../lit";
import { ABOUT, marked } from "../numbers";
import type { State } from "../state";
import { type CellScale, alone, isNarrow } from "../text";
import { Certificate } from "./Certificate";
import { EditableSum } from "./EditableSum";
import { Grid } from "./Grid";
import { Pager } from "./Pager";
import { PlaneMap } from "./PlaneMap";

export interface EquationProps {
  state: State;
  receipt: ReceiptDocument;
  /** In an exercise: holds back what the reader is to work out. */
  mask?: Mask;
}

export interface Mask {
  hide: (layout: Layout) => Layout;
  /** Whether the total is asked for; if not, there is none. */
  total: boolean;
}

export function Equation({ state, receipt, mask }: EquationProps) {
  const { source } = state;
  const revision = source.revision.value;
  const [order, from] = mask ? (["number", 0] as const) : [state.order.value, state.from.value];
  const { layout: whole, scales } = laidOut(source, receipt, order, from);
  const layout = mask ? mask.hide(whole) : whole;
  // Pointing at a number lights others up; nothing has to be laid out anew for that.
  const lit = useMemo(() => computed(() => litBy(source.network, receipt, state.pointed.value)), [source, receipt, revision]);
  const onFollow = mask
    ? undefined
    : (cell: Cell): void => {
        if (cell.key && !cell.key.includes("#")) state.follow(cell.key);
      };
  const { channels, slides, rows } = layout;
  const single = isSingle(layout);
  const map = rows[0]!.input && isPlane(rows[0]!.input) ? `${MAP}px` : undefined;
  const [need, sheet] = needOf(layout, scales);
  const adds = !mask || mask.total;
  const heading = (key: string | null) => <div class="heading">{key && state.say(`page.heading.${key}`)}</div>;
  const products = rows[0]!.products && (single ? "product" : "products");
  const heads = [channels ? "kernel" : "factor", products, ...(single ? [] : ["sum"])];
  return (
    <div
      class={`equation ${single ? "list" : "slides"} ${need > MOST_NEED ? "tall" : "wide"}`}
      style={{ "--need": need, "--sheet": sheet, "--maps": map }}
    >
      <div class="sums">
        <div class="lines">
          <div class="row headings" aria-hidden="true">
            <div class="name" />
            <div class="from">{heading(slides ? "channel" : "input")}</div>
            {heads.map((key) => (
              <>
                <div class="sign" />
                {heading(key)}
              </>
            ))}
          </div>
          {rows.map((row) => (
            <ChannelRow
              key={row.place}
              state={state}
              layout={layout}
              row={row}
              scales={scales}
              lit={lit.value}
              onFollow={onFollow}
            />
          ))}
          <Rest state={state} layout={layout} scales={scales} />
          {adds && <Bias state={state} layout={layout} scales={scales} />}
        </div>
        {adds && (
          <Total state={state} layout={layout} scales={scales} asked={mask !== undefined}>
            {!mask && <Certificate state={state} receipt={receipt} />}
          </Total>
        )}
      </div>
      <Made state={state} layout={layout} scale={scales.output} lit={lit.value} onFollow={onFollow} />
    </div>
  );
}

/** Longer side of the map of an input channel, in pixels. */
const MAP = 112;

/** Whether every row is one product, so that it is its own sum. */
const isSingle = ({ rows }: Layout): boolean => rows[0]!.kernel.rows.flat().length === 1;

/** Widths in letters' heights: of a digit, of the edges of a cell, and of names and signs together. */
const [DIGIT, EDGES, REST] = [0.64, 0.95, 10];
/** Width from which on a row is broken into several lines: its letters would become too small. */
const MOST_NEED = 96;
/** Narrowest cell, as the style sheet has it. */
const CELL = 2.35;

/**
 * Widths in letters' heights, of an equation and of the widest grid in it with its sign: letters
 * become smaller where there is less room.
 */
function needOf({ rows }: Layout, scales: Scales): [need: number, sheet: number] {
  const row = rows[0]!;
  const sheets = [
    [row.input && !isPlane(row.input) ? row.input : row.values, scales.input],
    [row.kernel, scales.kernel],
    [row.products, scales.products],
  ] as const;
  const widths = sheets.map(
    ([sheet, scale]) => (sheet?.rows[0]?.length ?? 0) * Math.max(CELL, scale.width * DIGIT + EDGES),
  );
  return [
    widths.reduce((sum, width) => sum + width, REST + 1.2 * (scales.sums.width * DIGIT + EDGES)),
    Math.max(...widths) + 2,
  ];
}

interface ChannelRowProps {
  state: State;
  layout: Layout;
  row: Row;
  scales: Scales;
  lit: ReadonlySet<string>;
  onFollow: ((cell: Cell) => void) | undefined;
}

function ChannelRow({ state, layout, row, scales, lit, onFollow }: ChannelRowProps) {
  const { say } = state;
  const label = layout.channels
    ? say(layout.slides ? "page.channel" : "page.feature", { n: row.channel })
    : (row.source ?? say("page.term", { n: row.channel }));
  const grid = { state, lit, onFollow };
  const named = (part: string) => `${label}: ${say(`page.heading.${part}`)}`;
  return (
    <div class="row" role="group" aria-label={label}>
      <div class="name">{label}</div>
      <div class="from">
        {row.input && isPlane(row.input) && (
          <PlaneMap state={state} plane={row.input} role="input" label={named("channel")} side={MAP} />
        )}
        {row.input && !isPlane(row.input) && (
          <Grid {...grid} role="input" label={named("channel")} sheet={row.input} scale={scales.input} />
        )}
        {row.values && (
          <Grid {...grid} role="input" label={named("input")} sheet={row.values} scale={scales.input} />
        )}
      </div>
      <div class="part">
        <div class="sign">×</div>
        <Grid {...grid} role="kernel" label={named("kernel")} sheet={row.kernel} scale={scales.kernel} />
      </div>
      {row.products && (
        <div class="part">
          <div class="sign">{scales.products.rounds ? ABOUT : "="}</div>
          <Grid state={state} lit={lit} role="products" label={named("products")} sheet={row.products} scale={scales.products} />
        </div>
      )}
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
  if (cell.blank) {
    return <div class="sum blank" role="img" aria-label={`${name}: ${state.say("page.practice.blank")}`} />;
  }
  const value = cell.value!;
  const shown = scale.show(value);
  const pad = scale.pad(value);
  if (editable) return <EditableSum state={state} address={cell.key!} value={value} scale={scale} />;
  return (
    <div
      class={`sum${shown.rounded ? " rounded" : ""}`}
      role="note"
      tabIndex={0}
      data-address={cell.key ?? undefined}
      aria-label={scale.name(state, name, value)}
      style={{ "--pad": pad, "--chars": scale.width }}
    >
      <span>{shown.text}</span>
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
  const start = kind === "channels" ? 0 : 1; // channels have numbers, from 0 on; terms are counted
  return (
    <div class="row rest">
      <Pager
        state={state}
        text={say(`page.rest.${kind}.${order.value}`, { shown: rows.length, of, first: first + start, last: first + rows.length - 1 + start })}
        previous={first > 0 ? () => (from.value = Math.max(first - rows.length, 0)) : null}
        next={first + rows.length < of ? () => (from.value = first + rows.length) : null}
      >
        <button
          aria-pressed={order.value === "share"}
          onClick={() => {
            order.value = order.value === "share" ? "number" : "share";
            from.value = 0;
          }}
        >
          {say("page.rest.largest")}
        </button>
      </Pager>
      <div class="label">{say("page.rest.sum", { count: of - rows.length })}</div>
      <Sum
        state={state}
        cell={{ key: partKey(receipt.address, "rest"), value: rest }}
        scale={scales.sums}
        name={say("page.rest.name", { count: of - rows.length })}
      />
    </div>
  );
}

function Bias({ state, layout, scales }: { state: State; layout: Layout; scales: Scales }) {
  const { receipt } = layout;
  const { say } = state;
  if (receipt.bias === null && !layout.channels) return null;
  return (
    <div class="row bias">
      <div class="label">{say(receipt.bias === null ? "page.no_bias" : "page.bias")}</div>
      {receipt.bias !== null && (
        <Sum
          state={state}
          cell={{ key: receipt.biasAddress ?? partKey(receipt.address, "bias"), value: receipt.bias }}
          scale={scales.bias}
          name={receipt.biasAddress ?? say("page.bias")}
        />
      )}
    </div>
  );
}

interface TotalProps {
  state: State;
  layout: Layout;
  scales: Scales;
  /** Whether the total is hidden, to be worked out. */
  asked: boolean;
  children: ComponentChildren;
}

/** Line, total, and what the receipt says of it. */
function Total({ state, layout, scales, asked, children }: TotalProps) {
  const { receipt } = layout;
  const { say } = state;
  const total = alone(receipt.reported, isNarrow(receipt));
  const whole = `${receipt.address} = ${scales.output.full(receipt.reported)}`;
  return (
    <div class="row total">
      <div class="says">{children}</div>
      {asked ? (
        <div class="result" role="note" aria-label={say("page.part.hidden")}>
          ?
        </div>
      ) : (
        <div
          class={`result${total.rounded ? " rounded" : ""}`}
          role="note"
          tabIndex={0}
          data-address={receipt.address}
          aria-label={total.rounded ? say("page.shown_as", { full: whole, text: marked(total) }) : whole}
          style={{ "--chars": marked(total).length }}
        >
          <span>{marked(total)}</span>
        </div>
      )}
    </div>
  );
}

interface MadeProps {
  state: State;
  layout: Layout;
  scale: CellScale;
  lit: ReadonlySet<string>;
  onFollow: ((cell: Cell) => void) | undefined;
}

/** Where the total stands in the output. */
function Made({ state, layout, scale, lit, onFollow }: MadeProps) {
  const { output, outputChannel, receipt } = layout;
  if (!output) return null;
  const label =
    outputChannel === null
      ? state.say("page.output", { name: parseAddress(receipt.address)!.step })
      : state.say("page.output_channel", { n: outputChannel });
  return (
    <div class="place">
      <div class="sign" aria-hidden="true">
        →
      </div>
      <figure>
        {isPlane(output) ? (
          <PlaneMap state={state} plane={output} role="output" label={label} side={180} />
        ) : (
          <Grid state={state} role="output" label={label} sheet={output} scale={scale} lit={lit} onFollow={onFollow} />
        )}
        <figcaption>{label}</figcaption>
      </figure>
    </div>
  );
}
