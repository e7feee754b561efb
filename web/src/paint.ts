/** Paints a map of cells on a canvas: colours from afar, numbers from near. */
import { Scale } from "./numbers";
import { NUMBER_CELL, type View } from "./view";

/** Colours of a map, as the style sheet has them. */
export interface Palette {
  ground: [number, number, number];
  positive: [number, number, number];
  negative: [number, number, number];
  absent: [number, number, number];
  line: string;
}

/** Read the colours that hold for an element. */
export function paletteOf(element: Element): Palette {
  const style = getComputedStyle(element);
  const text = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const rgb = (name: string): [number, number, number] => {
    const short = text(name).slice(1);
    const full = short.length === 3 ? short.replace(/./g, "$&$&") : short;
    const value = parseInt(full, 16);
    return [value >> 16, (value >> 8) & 255, value & 255];
  };
  return {
    ground: rgb("ground"),
    positive: rgb("positive"),
    negative: rgb("negative"),
    absent: rgb("hatch"),
    line: text("line"),
  };
}

/** A map ready to be painted: its colours, its numbers, and a picture of them. */
export interface Painted {
  palette: Palette;
  values: Float64Array;
  /** Size of a number that has the full colour: that of the largest, infinity left out. */
  largest: number;
  picture: HTMLCanvasElement;
}

/**
 * Make a picture with one pixel a cell.
 *
 * One diverging scale with zero at the ground colour; the largest size has the full colour. NaN, which
 * also stands for numbers that are not here, is grey.
 */
export function prepare(
  values: Float64Array,
  rows: number,
  columns: number,
  palette: Palette,
  /** Size that has the full colour, where other maps share the scale. */
  full?: number,
): Painted {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(columns, rows);
  const { data } = image;
  const { ground, positive, negative, absent } = palette;
  let largest = full ?? 0;
  for (let n = 0; n < values.length && full === undefined; n += 1) {
    const size = Math.abs(values[n]!);
    if (size > largest && size !== Infinity) largest = size;
  }
  for (let n = 0; n < values.length; n += 1) {
    const value = values[n]!;
    const part = largest ? Math.min(Math.abs(value) / largest, 1) : 0;
    const full = value < 0 ? negative : positive;
    for (let c = 0; c < 3; c += 1) {
      data[4 * n + c] = value !== value ? absent[c]! : Math.round(ground[c]! + (full[c]! - ground[c]!) * part);
    }
    data[4 * n + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return { palette, values, largest, picture: canvas };
}

/** CSS pixels of a cell from which on the sign of its number is written into it. */
const SIGN_CELL = 11;

/** Paint what is seen. `context` is scaled to CSS pixels. */
export function paint(
  context: CanvasRenderingContext2D,
  painted: Painted,
  view: View,
  size: { width: number; height: number },
  /** Whether positive numbers have a sign, too. */
  plus: boolean,
): void {
  const { picture, palette } = painted;
  const [rows, columns] = [picture.height, picture.width];
  context.clearRect(0, 0, size.width, size.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, view.x, view.y, columns * view.cell, rows * view.cell);
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.strokeRect(view.x + 0.5, view.y + 0.5, columns * view.cell - 1, rows * view.cell - 1);
  if (view.cell >= SIGN_CELL) writeNumbers(context, painted, rows, columns, view, size, plus);
}

function writeNumbers(
  context: CanvasRenderingContext2D,
  { values, largest, palette }: Painted,
  rows: number,
  columns: number,
  view: View,
  size: { width: number; height: number },
  plus: boolean,
): void {
  const whole = view.cell >= NUMBER_CELL;
  const first = (start: number): number => Math.max(0, Math.floor(-start / view.cell));
  const last = (start: number, room: number, count: number): number =>
    Math.min(count - 1, Math.floor((room - start) / view.cell));
  context.font = `${whole ? Math.min(view.cell / 4, 14) : Math.min(view.cell * 0.8, 18)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const scale = new Scale(3);
  const [light, dark] = ["#fff", "#14171a"];
  for (let row = first(view.y); row <= last(view.y, size.height, rows); row += 1) {
    for (let column = first(view.x); column <= last(view.x, size.width, columns); column += 1) {
      const value = values[row * columns + column]!;
      const sign = plus && value > 0 ? "+" : "";
      if (!whole && !sign && !(value < 0)) continue;
      const { text, rounded } = scale.show(value);
      const full = value < 0 ? palette.negative : palette.positive;
      const part = largest ? Math.min(Math.abs(value) / largest, 1) : 0;
      const level = [0.299, 0.587, 0.114].reduce(
        (sum, weight, c) => sum + weight * (palette.ground[c]! + (full[c]! - palette.ground[c]!) * part),
        0,
      );
      context.fillStyle = level > 140 ? dark : light;
      context.fillText(
        whole ? (rounded ? "≈" : "") + sign + text : sign || "−",
        view.x + (column + 0.5) * view.cell,
        view.y + (row + 0.5) * view.cell,
        view.cell - 4,
      );
    }
  }
}
