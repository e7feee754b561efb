/** A run: steps in the order they ran, tensors by name, and who reads what. */
import type { ArithmeticDocument, PageDocument, Status } from "./document";
import type { Chain } from "./reading";
import { Tensor } from "./tensor";

/** One operation that ran. */
export interface Step {
  name: string;
  kind: string;
  status: Status;
  attributes: Record<string, unknown>;
  /** Names of what it read, by role. */
  operands: Record<string, string>;
  module: string | null;
  arithmetic: string | null;
  formats: ArithmeticDocument | null;
}

/** A run. What a step made has the step's name. */
export class Network {
  readonly tensors = new Map<string, Tensor>();
  readonly steps = new Map<string, Step>();
  /** How steps that follow no index law read their operands, by role. */
  readonly readings = new Map<string, Map<string, Chain>>();

  constructor(
    /** Who computed the numbers: `torch`, `onnxruntime`, `observed`, `exact`, … */
    readonly reporter: string,
    readonly aliases: Readonly<Record<string, string>> = {},
  ) {}

  static from(page: Pick<PageDocument, "trace" | "boxes" | "readings">): Network {
    const { trace, boxes } = page;
    const network = new Network(trace.reporter, trace.aliases);
    for (const tensor of [...trace.inputs, ...trace.parameters]) {
      network.tensors.set(tensor.name, Tensor.from(tensor, boxes[tensor.name]));
    }
    for (const step of trace.steps) {
      network.add(step as Step, Tensor.from(step.output, boxes[step.name]));
    }
    for (const { steps, roles, chain } of page.readings) {
      for (const step of steps) network.reads(step, roles, chain);
    }
    return network;
  }

  add(step: Step, output: Tensor): void {
    this.steps.set(step.name, step);
    this.tensors.set(step.name, output);
  }

  /** Say how a step reads operands. */
  reads(step: string, roles: readonly string[], chain: Chain): void {
    const known = this.readings.get(step) ?? new Map<string, Chain>();
    for (const role of roles) known.set(role, chain);
    this.readings.set(step, known);
  }

  /** The tensor of this name, or of the step that made the output of the module so named. */
  tensor(name: string): Tensor | undefined {
    return this.tensors.get(name) ?? this.tensors.get(this.aliases[name] ?? "");
  }

  step(name: string): Step | undefined {
    return this.steps.get(name) ?? this.steps.get(this.aliases[name] ?? "");
  }

  /** Steps that read a tensor, with the roles in which they do, in the order they ran. */
  readers(name: string): { step: Step; role: string }[] {
    const found: { step: Step; role: string }[] = [];
    for (const step of this.steps.values()) {
      for (const [role, operand] of Object.entries(step.operands)) {
        if (operand === name) found.push({ step, role });
      }
    }
    return found;
  }
}
