/**
 * Runs every order of a scenario's steps.
 *
 * Paths cannot be copied in the middle, so an order is run from the beginning: depth first, each
 * run goes on where the one before it left off. A *state* is the digest of the world with what
 * every actor knows; what an actor knows in the middle of an operation is the digest of what its
 * steps accessed. Orders that meet in a state go on alike: their rest is run once and counted for
 * all of them. A step whose outcome is known (`KnownStep`) is not run to see where it leads.
 */

import { checkEnd, checkStep } from '../verify/invariants.js';
import { ScenarioMistake } from '../verify/scenario-mistake.js';
import { Unsound } from '../verify/unsound.js';
import { type Parts, shippedParts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import { asViolation, Execution } from './execution.js';
import type { Exploration, ExploreOptions, Found } from './exploration.js';
import { KnownStep, KnownSteps } from './known-steps.js';
import { LimitedStates } from './limited-states.js';
import { PathNode } from './path-node.js';
import { checkRound, STEPS_MAX, turnOf } from './rounds.js';
import { type State, UNKNOWN } from './state.js';

const LOOK_EVERY = 4096;

export function explore(
  scenario: Scenario,
  options: ExploreOptions & { readonly parts?: Parts } = {},
): Exploration {
  return new Explorer(scenario, options.parts).explore(options);
}

/** Explores a scenario, as often as wanted: making a world costs as much as many orders. */
export class Explorer {
  private readonly execution: Execution;
  private readonly actors: number;
  private options: ExploreOptions = {};
  private stepsMax = 0;
  private statesMax = 0;
  private merge = true;
  private reduce = true;
  /** Orders from a state to the end, or -1 - depth where it is on the way to the one at hand. */
  private readonly seen = new Map<number, number>();
  /** Where steps are limited. */
  private readonly limited = new LimitedStates();
  /** Of the orders that were told last: how many were cut, and the steps of the longest. */
  private tailCut = 0;
  private tailHeight = 0;
  /** Actors in the order in which they take a step from a state. */
  private readonly turns: readonly number[];
  private readonly known: KnownSteps;
  /** By depth. */
  private readonly path: PathNode[] = [];
  private depth = 0;
  private runs = 0;
  private states = 0;
  private stepsKnown = 0;
  private rounds = 0;
  private longest = 0;
  private endedEarly = false;

  constructor(scenario: Scenario, parts: Parts = shippedParts) {
    this.execution = new Execution(scenario, parts);
    this.actors = this.execution.names.length;
    this.known = new KnownSteps(this.actors);
    this.execution.start();
    this.turns = turnsOf(this.execution);
  }

  explore(options: ExploreOptions = {}): Exploration {
    this.options = options;
    this.stepsMax = options.stepsMax ?? STEPS_MAX;
    this.statesMax = options.statesMax ?? 2_000_000;
    this.merge = options.merge ?? true;
    this.reduce = options.reduce ?? true;
    this.seen.clear();
    this.known.clear();
    this.limited.clear();
    this.tailCut = 0;
    this.tailHeight = 0;
    this.depth = 0;
    this.runs = 0;
    this.states = 0;
    this.stepsKnown = 0;
    this.rounds = 0;
    this.longest = 0;
    this.endedEarly = false;
    return this.run();
  }

  private run(): Exploration {
    let total = 0;
    let found: Found | null = null;
    try {
      total = this.runAll();
    } catch (error) {
      const order = this.path.slice(0, this.depth).map(({ chosen }) => chosen);
      if (error instanceof Unsound) throw this.asUnsound(error, order);
      found = { violation: asViolation(error), order };
      this.tailCut = 0;
    }
    let cut = this.tailCut;
    for (const node of this.path.slice(0, this.depth)) {
      total += node.orders;
      cut += node.cut;
    }
    const { states, runs, stepsKnown, rounds, longest } = this;
    return {
      orders: total,
      states,
      runs,
      stepsKnown,
      rounds,
      cut,
      endedEarly: this.endedEarly,
      exhaustive: !this.endedEarly && cut === 0 && found === null,
      longest,
      found,
    };
  }

  private asUnsound({ message }: Unsound, order: readonly number[]): Unsound {
    const { names, scenario } = this.execution;
    return new Unsound(
      `scenario ${scenario.name}, after the steps ${order.join()}: ${message}, that of ${names[order.at(-1)!]}; ` +
        'it looks at something, or keeps it, that no state tells (docs/check.md)',
    );
  }

  /**
   * Returns the number of orders; where exploring was cut short, of those that are not counted in a
   * node.
   */
  private runAll(): number {
    const { execution } = this;
    this.runs++;
    execution.start();
    let orders = this.arrive();
    for (const actor of this.options.prefix ?? []) {
      if (orders >= 0) break;
      orders = this.stepOnPrefix(actor);
    }
    for (let steps = 1; ; ) {
      /** Whether the execution is at the state of the top node. */
      const here = orders < 0;
      if (!here) {
        if (this.depth === 0) return orders;
        this.count(this.path[--this.depth]!, orders);
      }
      const node = this.path[this.depth]!;
      if (!this.findTurn(node)) {
        orders = node.orders;
        this.tailCut = node.cut;
        this.tailHeight = node.height;
        this.remember(node, orders);
        continue;
      }
      if (this.states >= this.statesMax || (++steps % LOOK_EVERY === 0 && this.look())) {
        this.endedEarly = true;
        this.tailCut = node.cut;
        return node.orders;
      }
      if (!here) this.runAgain();
      this.depth++;
      execution.stepNoting(node.chosen, node.state);
      orders = this.arrive();
    }
  }

  /** The next step of the orders that are wanted: no other is taken from where it begins. */
  private stepOnPrefix(actor: number): number {
    const node = this.path[this.depth]!;
    if ((node.state.ready & (1 << actor)) === 0)
      throw new ScenarioMistake(
        `no order of ${this.execution.scenario.name} begins with ${this.options.prefix!.join()}`,
      );
    node.turn = this.turns.length;
    node.chosen = actor;
    node.expected = UNKNOWN;
    this.depth++;
    this.execution.stepNoting(actor, node.state);
    return this.arrive();
  }

  /** Adds the orders behind a step from a node, of which the last told are the tail. */
  private count(node: PathNode, orders: number): void {
    node.orders += orders;
    node.cut += this.tailCut;
    if (this.tailHeight >= node.height) node.height = this.tailHeight + 1;
  }

  /**
   * Goes on to an actor whose step must be run; the orders behind steps whose outcome is known are
   * added up. False: there is none.
   */
  private findTurn(node: PathNode): boolean {
    const { turns } = this;
    const { state } = node;
    while (++node.turn < turns.length) {
      const actor = turns[node.turn]!;
      if ((state.ready & (1 << actor)) === 0) continue;
      node.chosen = actor;
      const step = this.known.find(state, actor);
      node.expected = step === null ? UNKNOWN : state.keyAfter(step);
      if (node.expected === UNKNOWN || !this.reduce) return true;
      const orders = this.ordersFrom(node.expected, this.depth + 1);
      if (orders < 0) return true;
      this.stepsKnown++;
      this.count(node, orders);
    }
    return false;
  }

  /** Runs the steps that lead to the top node. */
  private runAgain(): void {
    const { execution, path, depth } = this;
    this.runs++;
    execution.start();
    execution.world.notes.replays = true;
    try {
      for (let i = 0; i < depth; i++) execution.step(path[i]!.chosen);
    } finally {
      execution.world.notes.replays = false;
    }
    const { locals } = path[depth]!.state;
    for (let i = 0; i < locals.length; i++) execution.locals[i] = locals[i]!;
  }

  /**
   * At a state: the orders from it on where they are known (1: an end), else -1, and the state is
   * the top node.
   */
  private arrive(): number {
    const { execution, depth } = this;
    if (depth === this.path.length) this.path.push(new PathNode(this.actors));
    const node = this.path[depth]!;
    const { state } = node;
    node.orders = 0;
    node.cut = 0;
    node.height = 0;
    node.whole = UNKNOWN;
    node.turn = -1;
    this.tailCut = 0;
    this.tailHeight = 0;
    if (depth === 0) state.take(execution);
    else this.follow(this.path[depth - 1]!, state);
    node.key = state.key;
    if (depth > 0) this.path[depth - 1]!.checkLedTo(node.key);
    if (this.merge) {
      const orders = this.ordersFrom(node.key, depth);
      if (orders >= 0) return orders;
      if (orders !== UNKNOWN) return this.goesRound(-1 - orders);
    }
    if (!this.isLimited || !this.merge || this.limited.meet(node.key)) this.states++;
    if (depth > this.longest) this.longest = depth;
    checkStep(execution.world);
    if (state.ready === 0) {
      execution.checkEnded();
      checkEnd(execution.world);
      this.remember(node, 1);
      return 1;
    }
    if (depth < this.stepsMax) {
      if (!this.merge) return -1;
      node.whole = this.seen.get(node.key) ?? UNKNOWN;
      this.seen.set(node.key, -1 - depth);
      return -1;
    }
    this.tailCut = 1;
    return 0;
  }

  /** A step led from one node to the next: takes the state, and notes what came of the step. */
  private follow(from: PathNode, to: State): void {
    const { execution } = this;
    const { accessed } = execution;
    if (this.reduce) to.takeAfter(execution, from.chosen, accessed, from.state);
    else to.take(execution);
    const step = new KnownStep(from.chosen, accessed, from.state, to);
    if (step.changes & ~accessed) throw new Unsound('a step changed a side that it did not access');
    this.known.add(step, from.state);
  }

  /**
   * The state is the one at an earlier depth: a round, which is a livelock if it is fair. Returns
   * the orders that end here: none.
   */
  private goesRound(before: number): number {
    const round = this.path.slice(before, this.depth);
    checkRound(
      round.map(({ chosen, state }) => turnOf(chosen, state)),
      this.actors,
    );
    this.rounds++;
    return 0;
  }

  /**
   * Orders from a state on; -1 - depth where it is on the way to the one at hand; else `UNKNOWN`.
   */
  private ordersFrom(key: number, depth: number): number {
    const orders = this.seen.get(key) ?? UNKNOWN;
    if (!this.isLimited || (orders < 0 && orders !== UNKNOWN)) return orders;
    const { limited } = this;
    if (orders !== UNKNOWN && depth + limited.heightOf(key) <= this.stepsMax) {
      this.tailCut = 0;
      this.tailHeight = limited.heightOf(key);
      return orders;
    }
    const tail = limited.cutFrom(key, depth);
    if (tail === null) return UNKNOWN;
    this.tailCut = tail.cut;
    this.tailHeight = tail.height;
    return tail.orders;
  }

  private remember({ key, cut, height, whole }: PathNode, orders: number): void {
    if (!this.merge) return;
    if (!this.isLimited) this.seen.set(key, orders);
    else if (cut === 0) {
      this.seen.set(key, orders);
      this.limited.setHeight(key, height);
    } else {
      if (whole === UNKNOWN) this.seen.delete(key);
      else this.seen.set(key, whole);
      this.limited.setCut(key, this.depth, { orders, cut, height });
    }
  }

  private get isLimited(): boolean {
    return this.options.stepsMax !== undefined;
  }

  private look(): boolean {
    this.options.progress?.(this.states);
    return this.options.stop?.() ?? false;
  }
}

/**
 * Actors in the order in which they take a step from a state. A step of the first is known after a
 * step of the second that changes nothing that the first accesses; those of memory seldom change
 * the container, and come last.
 */
function turnsOf(execution: Execution): number[] {
  const actors = execution.names.map((_, actor) => actor);
  return actors.sort((a, b) => execution.sides[a]! - execution.sides[b]!);
}
