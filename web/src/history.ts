/** Undo and redo: earlier and later versions of something that is never changed in place. */
import { type ReadonlySignal, batch, computed, signal } from "@preact/signals";

/** Versions that are remembered. */
const MOST = 200;

export class History<Version> {
  private readonly all = signal<readonly Version[]>([]);
  private readonly at = signal(0);
  private tag: string | null = null;
  readonly now: ReadonlySignal<Version>;
  readonly canUndo = computed(() => this.at.value > 0);
  readonly canRedo = computed(() => this.at.value < this.all.value.length - 1);

  constructor(first: Version) {
    this.all.value = [first];
    this.now = computed(() => this.all.value[this.at.value]!);
  }

  /** Go on to a new version. Versions in a row with one tag become one. */
  push(version: Version, tag: string | null = null): void {
    if (version === this.now.peek()) return;
    const replaced = tag !== null && tag === this.tag && this.at.peek() > 0 ? 1 : 0;
    const kept = this.all.peek().slice(0, this.at.peek() + 1 - replaced).slice(1 - MOST);
    batch(() => {
      this.all.value = [...kept, version];
      this.at.value = kept.length;
    });
    this.tag = tag;
  }

  /** What comes next is a version of its own, whatever its tag. */
  settle(): void {
    this.tag = null;
  }

  undo(): void {
    this.settle();
    if (this.canUndo.peek()) this.at.value -= 1;
  }

  redo(): void {
    this.settle();
    if (this.canRedo.peek()) this.at.value += 1;
  }
}
