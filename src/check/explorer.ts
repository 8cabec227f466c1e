/**
 * Runs every order of a scenario's steps.
 *
 * Paths cannot be copied in the middle, so an order is run from the beginning: depth first, each run goes on where the one
 * before it left off. A *state* is the digest of the world with what every actor knows; what an actor knows in the middle of an
 * operation is the digest of the worlds that its steps saw. Orders that meet in a state go on alike: their rest is run once and
 * counted for all of them.
 */
import { Digest } from './digest.js';
import { asViolation, Execution } from './execution.js';
import { checkEnd, checkStep } from './invariants.js';
import { type Parts, shippedParts } from './parts.js';
import type { Scenario } from './scenario.js';
import type { Violation } from './violation.js';

export interface Found {
  readonly violation: Violation;
  /** Actors by number, in the order of their steps. */
  readonly order: readonly number[];
}

export interface Exploration {
  /** Orders that were run or that meet one that was run, up to 2^53 exactly. */
  readonly orders: number;
  readonly states: number;
  /** Runs from the beginning. */
  readonly runs: number;
  /** Every order was covered. */
  readonly exhaustive: boolean;
  /** The longest order, in steps. */
  readonly longest: number;
  readonly found: Found | null;
}

export interface ExploreOptions {
  readonly parts?: Parts;
  /** An execution of this scenario and these parts to run in, because making one costs as much as many orders. */
  readonly execution?: Execution;
  /** Orders of more steps are not run (default 1,000). */
  readonly stepsMax?: number;
  /** States after which exploring ends without being exhaustive (default 2 million). */
  readonly statesMax?: number;
  /** False: every order is run by itself, states that were seen before included. */
  readonly merge?: boolean;
  /** Asked now and then; true ends the exploration. */
  readonly stop?: () => boolean;
  /** Told now and then. */
  readonly progress?: (states: number) => void;
}

const LOOK_EVERY = 4096;

export function explore(scenario: Scenario, options: ExploreOptions = {}): Exploration {
  return new Explorer(scenario, options).run();
}

class Explorer {
  private readonly execution: Execution;
  private readonly actors: number;
  private readonly stepsMax: number;
  private readonly statesMax: number;
  private readonly merge: boolean;
  /** Orders from a state to the end; where steps are limited, of the shortest way to it. */
  private readonly seen = new Map<number, number>();
  private readonly depthOf = new Map<number, number>();
  private readonly digest = new Digest();
  /** By depth: the actor chosen, the state before, its world, the orders counted so far, and the knowledge of the actors. */
  private readonly chosen: number[] = [];
  private readonly keys: number[] = [];
  private readonly worlds: number[] = [];
  private readonly orders: number[] = [];
  private readonly ready: number[] = [];
  private readonly known: Float64Array[] = [];
  private depth = 0;
  private runs = 0;
  private states = 0;
  private longest = 0;
  private cut = false;

  constructor(
    scenario: Scenario,
    private readonly options: ExploreOptions,
  ) {
    this.execution = options.execution ?? new Execution(scenario, options.parts ?? shippedParts);
    this.actors = this.execution.names.length;
    this.stepsMax = options.stepsMax ?? 1000;
    this.statesMax = options.statesMax ?? 2_000_000;
    this.merge = options.merge ?? true;
  }

  run(): Exploration {
    const { execution } = this;
    let total = 0;
    let found: Found | null = null;
    try {
      this.runs++;
      execution.start();
      for (let looks = 1; ; looks++) {
        let orders = this.arrive();
        if (orders < 0) {
          this.advance(this.nextReady(-1));
          continue;
        }
        while (this.depth > 0 && !this.tryNext(orders)) orders = this.orders[this.depth]!;
        if (this.depth === 0) {
          total = orders;
          break;
        }
        if (this.states >= this.statesMax || (looks % LOOK_EVERY === 0 && this.look())) {
          this.cut = true;
          break;
        }
      }
    } catch (error) {
      found = { violation: asViolation(error), order: this.chosen.slice(0, this.depth) };
    }
    if (this.cut || found !== null)
      total = this.orders.slice(0, this.depth).reduce((sum, at) => sum + at, total);
    const { states, runs, longest } = this;
    return { orders: total, states, runs, exhaustive: !this.cut && found === null, longest, found };
  }

  /** At a state: the orders from it on where they are known (1: an end), else -1, and the state is the top of the stack. */
  private arrive(): number {
    const { execution, depth } = this;
    const world = execution.world.fingerprint.ofWorld();
    let ready = 0;
    for (let i = 0; i < this.actors; i++) if (execution.isReady(i)) ready |= 1 << i;
    const key = this.keyOf(world, ready);
    if (this.merge) {
      const orders = this.seen.get(key);
      if (orders !== undefined && !(this.depthOf.get(key)! > depth)) return orders;
    }
    this.states++;
    if (depth > this.longest) this.longest = depth;
    checkStep(execution.world);
    if (ready === 0) {
      this.end();
      this.remember(key, 1);
      return 1;
    }
    if (depth >= this.stepsMax) {
      this.cut = true;
      return 1;
    }
    this.keys[depth] = key;
    this.worlds[depth] = world;
    this.orders[depth] = 0;
    this.ready[depth] = ready;
    const known = this.known[depth] ?? new Float64Array(this.actors);
    known.set(execution.locals);
    this.known[depth] = known;
    return -1;
  }

  private end(): void {
    const { execution } = this;
    execution.checkEnded();
    checkEnd(execution.world);
  }

  /** Goes one step up and adds what was counted there; true: another choice was taken and its step is done. */
  private tryNext(orders: number): boolean {
    const depth = --this.depth;
    this.orders[depth]! += orders;
    const actor = this.nextReady(this.chosen[depth]!);
    if (actor < 0) {
      this.remember(this.keys[depth]!, this.orders[depth]!);
      return false;
    }
    const { execution } = this;
    this.runs++;
    execution.start();
    for (let i = 0; i < depth; i++) execution.step(this.chosen[i]!);
    execution.locals.set(this.known[depth]!);
    this.advance(actor);
    return true;
  }

  private advance(actor: number): void {
    const { depth } = this;
    this.chosen[depth] = actor;
    this.depth++;
    this.execution.stepNoting(actor, this.worlds[depth]!);
  }

  private nextReady(after: number): number {
    const ready = this.ready[this.depth]!;
    for (let i = after + 1; i < this.actors; i++) if ((ready & (1 << i)) !== 0) return i;
    return -1;
  }

  private remember(key: number, orders: number): void {
    if (!this.merge) return;
    this.seen.set(key, orders);
    if (this.options.stepsMax !== undefined) this.depthOf.set(key, this.depth);
  }

  private keyOf(world: number, ready: number): number {
    const { digest, execution } = this;
    digest.begin();
    digest.add(world);
    // What a path waits for is its own: whether it is there tells paths apart that wait for different things.
    digest.add(ready);
    execution.addKnowledge(digest);
    return digest.value;
  }

  private look(): boolean {
    this.options.progress?.(this.states);
    return this.options.stop?.() ?? false;
  }
}
