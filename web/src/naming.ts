/** Names of what a grid or a map shows: which tensor, and which channel of it. */
import { type Law, lawOf } from "./convolution";
import type { Network } from "./network";
import type { State } from "./state";

/** The axis of a tensor that is its channels; −1 where it has none. */
export function channelAxis(network: Network, name: string): number {
  const tensor = network.tensor(name);
  if (!tensor || tensor.origin === "parameter") return -1;
  const laws = [network.step(name), ...network.readers(name).map(({ step }) => step)].flatMap((step) => {
    const law = step && lawOf(network, step);
    return law?.axes.length ? [law] : [];
  });
  const rank = tensor.shape.length;
  return laws[0] ? rank - laws[0].axes.length - 1 : rank - 3;
}

/** Name the plane of a tensor in which a number lies; `rows` is the axis that its rows are. */
export function planeName(state: State, name: string, index: readonly number[], rows: number): string {
  const { network } = state.source;
  const shape = network.tensor(name)!.shape;
  const channel = channelAxis(network, name);
  const parts = kernelNames(state, network, name, index);
  if (channel > 0 && shape[0]! > 1 && rows > 0) parts.push(state.say("axis.sample", { n: index[0] }));
  if (channel >= 0 && channel < rows) {
    const made = network.tensor(name)!.origin === "step";
    parts.push(state.say(made ? "axis.output_channel" : "axis.channel", { n: index[channel] }));
  } else if (channel >= 0 && channel === rows) {
    parts.push(state.say("page.rows_are_channels"));
  }
  return parts.length ? `${name}: ${parts.join(", ")}` : name;
}

/** Between which channels a kernel stands. */
function kernelNames(state: State, network: Network, name: string, index: readonly number[]): string[] {
  const reader = network.readers(name).find(({ role }) => role === "weight");
  const law = reader && lawOf(network, reader.step);
  if (!law?.axes.length) return [];
  const [into, from] = kernelChannels(law, index);
  return [state.say("axis.output_channel", { n: into }), state.say("page.input_channel", { n: from })];
}

function kernelChannels(law: Law, [first, second]: readonly number[]): [into: number, from: number] {
  const [reads, makes] = [law.channelsIn / law.groups, law.channelsOut / law.groups];
  if (law.transposed) return [Math.floor(first! / reads) * makes + second!, first!];
  return [first!, Math.floor(first! / makes) * reads + second!];
}
