/** What a shape is asked of: the input with its padding, the kernel on its first place, and a blank output. */
import type { Exercise } from "../practice";
import type { State } from "../state";
import { upTo } from "../places";

/** Width of a cell, and of the frame around all, in the units of the picture. */
const [CELL, FRAME] = [14, 2];

export function ShapePicture({ state, exercise }: { state: State; exercise: Exercise }) {
  const { say } = state;
  const { settings } = exercise.stack;
  const layer = settings.layers[0]!;
  const { transposed, dilation, kernel } = layer;
  const [rows, columns] = settings.size as [number, number];
  const span = kernel.map((size, axis) => dilation[axis]! * (size - 1) + 1) as [number, number];
  // Padding of a transposed convolution crops its output: there is none around the input.
  const pads = transposed ? [0, 0] : layer.padding;
  const whole: [number, number] = [rows + 2 * pads[0]!, columns + 2 * pads[1]!];
  const inside = (row: number, column: number): boolean =>
    row >= pads[0]! && row < pads[0]! + rows && column >= pads[1]! && column < pads[1]! + columns;
  const taps = (row: number, column: number): boolean =>
    row < span[0] && column < span[1] && row % dilation[0]! === 0 && column % dilation[1]! === 0;
  const words = { rows, columns, padding: pads[0], kernel: kernel.join(" × "), dilation: dilation[0] };
  return (
    <div class="shapes">
      <figure>
        <Drawing
          size={whole}
          label={say(`page.practice.picture.${transposed ? "input" : "window"}`, words)}
          kind={(row, column) =>
            `${inside(row, column) ? "cell" : "cell pad"}${!transposed && taps(row, column) ? " tap" : ""}`}
        />
        <figcaption>{say("page.playground.input")}</figcaption>
      </figure>
      <div class="sign">×</div>
      <figure>
        <Drawing size={span} label={say("page.practice.picture.kernel", words)} kind={(row, column) => (taps(row, column) ? "cell weight" : "")} />
        <figcaption>{say("page.heading.kernel")}</figcaption>
      </figure>
      <div class="sign">→</div>
      <figure>
        <p class="unknown">? × ?</p>
        <figcaption>{say("page.output", { name: layer.name })}</figcaption>
      </figure>
    </div>
  );
}

interface DrawingProps {
  size: readonly [number, number];
  label: string;
  /** Class of a cell; nothing is drawn where it is empty. */
  kind: (row: number, column: number) => string;
}

/** A grid without numbers. */
function Drawing({ size: [rows, columns], label, kind }: DrawingProps) {
  const [width, height] = [columns * CELL + FRAME, rows * CELL + FRAME];
  const cells = upTo(rows * columns).map((n) => [Math.floor(n / columns), n % columns] as const);
  return (
    <svg class="drawing" role="img" aria-label={label} viewBox={`0 0 ${width} ${height}`} width={width} height={height}>
      {cells.map(([row, column]) => {
        const name = kind(row, column);
        return (
          name && (
            <rect key={`${row} ${column}`} class={name} x={column * CELL + FRAME / 2} y={row * CELL + FRAME / 2} width={CELL} height={CELL} />
          )
        );
      })}
    </svg>
  );
}
