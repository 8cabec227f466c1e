/** A network card's link that goes down, and up again, on purpose. */
import type { LinkFaults } from '../../device/faults.js';
import type { ArmedRule } from '../../inject/plan.js';
import { comesByItself } from '../../inject/rule.js';

export class FaultyLink implements LinkFaults {
  isDown = false;
  private upMs = Number.POSITIVE_INFINITY;
  private readonly watchers: (() => void)[] = [];

  constructor(
    private readonly rules: readonly ArmedRule[],
    private readonly nowMs: () => number,
  ) {}

  watch(changed: () => void): void {
    this.watchers.push(changed);
  }

  /** Whether the function has a link. */
  get isWatched(): boolean {
    return this.watchers.length > 0;
  }

  sending(): void {
    if (this.isDown) return;
    for (const each of this.rules) if (each.passes()) this.goDown(each);
  }

  /** Looks at the clock. */
  look(): void {
    if (this.isDown && this.nowMs() >= this.upMs) this.change(false);
    for (const each of this.rules) if (comesByItself(each.rule) && each.passes()) this.goDown(each);
  }

  private goDown({ rule }: ArmedRule): void {
    this.upMs = rule.lateMs === 0 ? Number.POSITIVE_INFINITY : this.nowMs() + rule.lateMs;
    if (!this.isDown) this.change(true);
  }

  private change(isDown: boolean): void {
    this.isDown = isDown;
    for (const changed of this.watchers) changed();
  }
}
