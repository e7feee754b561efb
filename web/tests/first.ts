/** The example that convtrace began with: 24 is 24. */
import { type Settings, plainLayer } from "../src/settings";

export const FIRST: Settings = {
  channels: 2,
  size: [3, 3],
  layers: [plainLayer("conv1", 2, [2, 2]), plainLayer("conv2", 2, [2, 2])],
};
