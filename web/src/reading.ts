/**
 * Which positions of an operand a number of a step reads, and the other way round.
 *
 * Of convolutions and linear layers the index law says it; of other steps Python wrote it into the
 * page (`render/page/readings.py`). The same rules as `src/convtrace/reached.py`.
 */
import { type Law, lawOf } from "./convolution";
import type { LineDocument, ReadDocument } from "./document";
import { type Axis, tap } from "./geometry";
import type { Network, Step } from "./network";
import { type Places, common, placesOf, upTo } from "./places";

/** What is read on each axis of an operand: the axis of the output whose position it is, or more. */
export type Reading = readonly (number | ReadDocument)[];

/** Readings one after another, the operand's own first. */
export type Chain = readonly Reading[];

/** Positions by axis; every combination of them counts. */
export type Box = readonly Places[];

/** How a step reads an operand; undefined where it cannot be told. */
export function chainOf(network: Network, step: Step, role: string): Chain | undefined {
  const law = lawOf(network, step);
  if (!law) return network.readings.get(step.name)?.get(role);
  return [role === "input" ? inputReading(law) : heldReading(law, role)];
}

/** The positions of an operand that a box of the output reads; null where there are none. */
export function readBy(box: Box, chain: Chain, shape: readonly number[]): Box | null {
  let found = box;
  for (const reading of [...chain].reverse()) {
    const above = found;
    found = reading.map((read) => (typeof read === "number" ? above[read]! : sums(read, above)));
  }
  // What lies outside is padding.
  return someOf(
    found.map((places, axis) => {
      const size = shape[axis]!;
      return places[0]! >= 0 && places.at(-1)! < size ? places : places.filter((place) => place >= 0 && place < size);
    }),
  );
}

/** The positions of the output that read a box of an operand; null where there are none. */
export function madeOf(box: Box, chain: Chain, shape: readonly number[]): Box | null {
  const shapes = [shape];
  for (const reading of chain.slice(1).reverse()) {
    const all = shapes.at(-1)!.map(upTo);
    shapes.push(reading.map((read) => 1 + (typeof read === "number" ? all[read]! : sums(read, all)).at(-1)!));
  }
  let found: Box | null = box;
  for (const reading of chain) found = found && turned(found, reading, shapes.pop()!);
  return found;
}

const someOf = (box: Box): Box | null => (box.every((places) => places.length) ? box : null);

function turned(box: Box, reading: Reading, shape: readonly number[]): Box | null {
  const all = shape.map(upTo);
  const made: Places[] = [...all];
  for (const [axis, read] of reading.entries()) {
    const wanted = box[axis]!;
    if (typeof read === "number") {
      made[read] = common(made[read]!, wanted);
      continue;
    }
    if (!read.lines.length && !common(sums(read, all), wanted).length) return null;
    for (const line of read.lines) {
      const starts = new Set(sums(read, all, line).flatMap((other) => wanted.map((place) => place - other)));
      made[line.axis] = made[line.axis]!.filter((place) => positionsAt(line, place).some((read) => starts.has(read)));
    }
  }
  return someOf(made);
}

/** Every sum of a fixed position and one per line, but for one line. */
function sums({ fixed, lines }: ReadDocument, box: Box, but?: LineDocument): Places {
  let found: Places = fixed.flatMap(([first, count]) => upTo(count!).map((n) => first! + n));
  for (const line of lines) {
    if (line === but) continue;
    const moves = placesOf(box[line.axis]!.flatMap((place) => positionsAt(line, place)));
    const before = found;
    found = before.length === 1 && !before[0] ? moves : placesOf(moves.flatMap((move) => before.map((place) => place + move)));
  }
  return found;
}

function positionsAt({ advance, runs }: LineDocument, place: number): number[] {
  const period = runs.reduce((sum, [count]) => sum + count!, 0);
  const turn = Math.floor(place / period);
  let phase = place - turn * period;
  for (const [count, shift, ...taps] of runs) {
    if (phase < count!) return taps.map((tap) => tap + phase * shift! + turn * advance);
    phase -= count!;
  }
  return [];
}

const whole = (size: number): ReadDocument => ({ lines: [], fixed: [[0, size]] });
const follow = (axis: number, advance: number, runs: number[][]): ReadDocument => ({
  lines: [{ axis, advance, runs }],
  fixed: [[0, 1]],
});

function inputReading(law: Law): Reading {
  const leading = upTo(law.axes.length ? law.leading : law.input.shape.length - 1);
  const channels =
    law.groups === 1
      ? whole(law.channelsIn)
      : follow(leading.length, law.channelsIn / law.groups, [
          [law.channelsOut / law.groups, 0, ...upTo(law.channelsIn / law.groups)],
        ]);
  return [...leading, channels, ...law.axes.map((axis, n) => windowReading(leading.length + 1 + n, axis))];
}

/** What the index law says, on padding and beyond the border too. */
function windowReading(number: number, axis: Axis): ReadDocument {
  const { kernel, stride, dilation, transposed } = axis;
  const low = axis.padding[0];
  const taps = upTo(kernel).map((k) => k * dilation);
  if (!transposed) return follow(number, stride, [[1, 0, ...taps.map((k) => k - low)]]);
  const phases = upTo(stride).map((o) => taps.filter((k) => (o + low - k) % stride === 0).map((k) => (o + low - k) / stride));
  return follow(number, 1, phases.map((phase) => [1, 0, ...phase.sort((a, b) => a - b)]));
}

/** Kernel and bias of the output channel; of the kernel, what lies on inputs. */
function heldReading(law: Law, role: string): Reading {
  const channel = law.axes.length ? law.leading : law.input.shape.length - 1;
  if (role !== "weight") return [channel];
  const kernel = law.axes.map((axis, n) => {
    const taps = (place: number) => upTo(axis.kernel).filter((k) => tap(axis, law.sizes[n]!, place, k).source !== null);
    return follow(channel + 1 + n, 0, upTo(law.outputs[n]!).map((place) => [1, 0, ...taps(place)]));
  });
  if (!law.transposed) return [channel, whole(law.weight.shape[1]!), ...kernel];
  const [inputs, outputs] = [law.channelsIn / law.groups, law.channelsOut / law.groups];
  return [follow(channel, inputs, [[outputs, 0, ...upTo(inputs)]]), follow(channel, 0, [[outputs, 1, 0]]), ...kernel];
}
