/** What one number can depend on in every tensor below it, and what above depends on it: exactly. */
import type { Network } from "./network";
import { covers, placesOf } from "./places";
import { type Box, chainOf, madeOf, readBy } from "./reading";

/** What of one tensor is reached; null where it cannot be told. */
export type Field = readonly Box[] | null;

/** First and last position on each axis, both included. */
export type Span = [low: number, high: number][];

/** Ways of reading that are kept apart; of more, all combinations count. */
const MOST_BOXES = 16;

/** Find what one number depends on. */
export function cone(network: Network, name: string, index: readonly number[]): Map<string, Field> {
  const found = new Map<string, Box[] | null>([[name, [one(index)]]]);
  for (const step of [...network.steps.values()].reverse()) {
    const boxes = found.get(step.name);
    if (boxes === undefined) continue;
    for (const [role, operand] of Object.entries(step.operands)) {
      const tensor = network.tensor(operand);
      if (tensor?.origin !== "step" && tensor?.origin !== "input") continue;
      const chain = chainOf(network, step, role);
      if (chain) follow(found, tensor.name, boxes, chain.length ? (box) => readBy(box, chain, tensor.shape) : null);
      else found.set(tensor.name, null);
    }
  }
  return found;
}

/** Find everything that depends on one number. */
export function reach(network: Network, name: string, index: readonly number[]): Map<string, Field> {
  const found = new Map<string, Box[] | null>([[name, [one(index)]]]);
  for (const step of network.steps.values()) {
    const shape = network.tensor(step.name)!.shape;
    for (const [role, operand] of Object.entries(step.operands)) {
      const boxes = found.get(network.tensor(operand)?.name ?? "");
      if (boxes === undefined) continue;
      const chain = chainOf(network, step, role);
      if (chain) follow(found, step.name, boxes, chain.length ? (box) => madeOf(box, chain, shape) : null);
      else found.set(step.name, null);
    }
  }
  return found;
}

/** Take what boxes lead to into what was found; without a way, no number is read. */
function follow(
  found: Map<string, Box[] | null>,
  name: string,
  boxes: readonly Box[] | null,
  way: ((box: Box) => Box | null) | null,
): void {
  if (!way) return;
  const known = found.get(name);
  if (!boxes || known === null) {
    found.set(name, null);
    return;
  }
  const all = known ?? [];
  for (const box of boxes) {
    const next = way(box);
    if (next) add(all, next);
  }
  if (all.length) found.set(name, all);
}

const one = (index: readonly number[]): Box => index.map((place) => [place]);

/** Add a box to others, and put those together that make one box. */
function add(boxes: Box[], box: Box): void {
  for (const [n, other] of boxes.entries()) {
    const inside = box.map((places, axis) => covers(other[axis]!, places));
    if (!inside.includes(false)) return;
    const around = box.map((places, axis) => covers(places, other[axis]!));
    const differ = inside.filter((is, axis) => !(is && around[axis])).length;
    if (!around.includes(false) || differ === 1 || boxes.length >= MOST_BOXES) {
      boxes.splice(n, 1);
      return add(boxes, box.map((places, axis) => placesOf([...places, ...other[axis]!])));
    }
  }
  boxes.push(box);
}

/** From the first to the last position on each axis; null where nothing is known to be reached. */
export function spanOf(field: Field | undefined): Span | null {
  if (!field?.length) return null;
  return field[0]!.map((_, axis) => [
    Math.min(...field.map((box) => box[axis]![0]!)),
    Math.max(...field.map((box) => box[axis]!.at(-1)!)),
  ]);
}
