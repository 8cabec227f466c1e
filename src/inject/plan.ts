/**
 * Which faults a run has: decides at each point that is passed, the same way for the same rules,
 * the same seed and the same order of events. It has no clock; the time is handed in.
 */
import { Random } from '../abi/random.js';
import type { PointName } from './points.js';
import type { Rule } from './rule.js';

/** What became of a rule. Plain data: it crosses threads. */
export interface Injected {
  readonly rule: string;
  readonly point: PointName;
  /** Faults that it made. */
  readonly count: number;
  /** How often its point was passed while its conditions held. */
  readonly passed: number;
}

/** A rule at work. */
export class ArmedRule {
  count = 0;
  passed = 0;
  private readonly random: Random;

  /**
   * @param nowMs milliseconds since the run began; asked for by rules with a time only
   * @param made told of each fault
   */
  constructor(
    readonly rule: Rule,
    seed: number,
    private readonly nowMs: () => number,
    private readonly made: (rule: Rule) => void,
  ) {
    this.random = new Random(seed);
  }

  /** The rule's point is passed, and its conditions but for the time hold. True: a fault. */
  passes(): boolean {
    const { afterMs, when } = this.rule;
    if (afterMs > 0 && this.nowMs() < afterMs) return false;
    const n = ++this.passed;
    if (n < when.first || n > when.last || (n - when.first) % when.every !== 0) return false;
    if (when.chance < 1 && this.random.next() >= when.chance) return false;
    this.count++;
    this.made(this.rule);
    return true;
  }
}

export class Plan {
  private readonly armed: readonly ArmedRule[];

  /** `seed` 0 to 2^32 - 1. Each rule has random numbers of its own: another rule changes none. */
  constructor(
    rules: readonly Rule[],
    seed: number,
    nowMs: () => number,
    made: (rule: Rule) => void = () => {},
  ) {
    this.armed = rules.map(
      (rule, index) => new ArmedRule(rule, Math.imul(seed + index, 0x9e3779b1), nowMs, made),
    );
  }

  /** The rules of some points, in the user's order; of those for a device, null: of any. */
  at(names: readonly PointName[], device: string | null = null): ArmedRule[] {
    return this.armed.filter(
      ({ rule }) =>
        names.includes(rule.point) &&
        (device === null || rule.device === null || rule.device === device),
    );
  }

  get injected(): Injected[] {
    return this.armed.map(({ count, passed, rule }) => ({
      rule: rule.text,
      point: rule.point,
      count,
      passed,
    }));
  }
}
