/** What a wrong answer tells: the slips that people make with convolutions. No drawing. */
import { parseAddress } from "./address";
import type { Exercise } from "./practice";
import { PlaygroundSource } from "./playground";
import { receiptOf } from "./receipt";

export type Slip = "other" | "bias" | "channel" | "flipped" | "sum" | "size";

/** Name the slip that leads to a wrong answer; `other` where none does. */
export function slips(exercise: Exercise, answers: readonly number[]): Slip {
  const { kind, stack, address } = exercise;
  if (kind === "shape") {
    const off = answers.every((answer, n) => answer === exercise.answers[n]! - 1);
    return off ? "size" : "other";
  }
  const { step, index } = parseAddress(address)!;
  const receipt = receiptOf(new PlaygroundSource(stack, false).network, step, index)!;
  const answer = answers[0]!;
  if (kind === "product") {
    return answer === Number(receipt.inputs[exercise.product]) + Number(receipt.weights[exercise.product]) ? "sum" : "other";
  }
  const sum = receipt.channelSums.reduce<number>((total, one) => total + Number(one), 0);
  if (receipt.bias !== null && answer === sum) return "bias";
  if (receipt.channelSums.length > 1 && receipt.channelSums.some((one) => Number(one) === answer)) return "channel";
  // A convolution of mathematics flips the kernel; those of deep learning do not.
  const each = receipt.products.length / receipt.shape[0]!;
  let flipped = Number(receipt.bias ?? 0);
  receipt.inputs.forEach((input, n) => {
    const first = n - (n % each);
    flipped += Number(input) * Number(receipt.weights[first + each - 1 - (n % each)]);
  });
  return answer === flipped ? "flipped" : "other";
}
