import { DeadWait, runDirect } from '../../flow/direct.js';
import type { Flow, Wait } from '../../flow/flow.js';
import { described } from '../../input/described.js';
import { mistakeIn, ScenarioMistake } from '../verify/scenario-mistake.js';
import { Invariant, takeUnseen, Violation, violated } from '../verify/violation.js';
import { isOperation, type Operation, Side } from '../world/operation.js';
import type { Parts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import { World } from '../world/world.js';
import { beat } from './pulse.js';
import type { State } from './state.js';

/** One run of a scenario: its actors, each parked before its next step. */
export class Execution {
  world: World;
  readonly names: readonly string[];
  /** What each actor waits for; null: it has ended. */
  readonly waits: (Wait | null)[];
  /** What each actor knows beyond the world, as a digest. */
  readonly locals: number[];
  /** The sides that the steps of each actor's operation access at least. */
  readonly sides: number[];
  /** The sides of the world that the last step accessed. */
  accessed = 0;
  private readonly actors: ((world: World) => Flow<unknown>)[];
  private readonly flows: Flow<unknown>[];
  private readonly outcomes: number[];
  private readonly operations: number[];
  private readonly places: string[] = [];
  private toBeginning: () => void;

  constructor(
    readonly scenario: Scenario,
    private readonly parts: Parts,
  ) {
    this.world = this.newWorld();
    this.toBeginning = this.beginning();
    this.names = Object.keys(scenario.actors);
    this.actors = Object.values(scenario.actors);
    const count = this.names.length;
    this.waits = new Array(count).fill(null);
    this.flows = new Array(count);
    this.locals = new Array(count).fill(0);
    this.sides = new Array(count).fill(Side.BOTH);
    this.outcomes = new Array(count).fill(0);
    this.operations = new Array(count).fill(0);
  }

  private newWorld(): World {
    const { scenario } = this;
    const world = new World(scenario.world ?? {}, this.parts);
    try {
      if (scenario.setup) runDirect(scenario.setup(world));
    } catch (error) {
      throw this.asAuthors('setup', error);
    }
    world.ledger.stepDone();
    return world;
  }

  /** What makes the world as it is now again. */
  private beginning(): () => void {
    // A checkpoint does not see all that a user's variant may keep.
    if (this.parts.watch === null) return this.world.checkpoint();
    let isNew = true;
    return () => {
      if (!isNew) this.world = this.newWorld();
      isNew = false;
    };
  }

  /** Back to the beginning. */
  start(): void {
    const { actors } = this;
    this.toBeginning();
    takeUnseen();
    const { world } = this;
    let i = 0;
    try {
      for (; i < actors.length; i++) {
        beat(i);
        this.flows[i] = actors[i]!(world);
        this.outcomes[i] = 0;
        this.operations[i] = 0;
        this.locals[i] = 0;
        this.sides[i] = Side.BOTH;
        this.setWait(i, this.advance(i));
      }
    } catch (error) {
      throw this.asAuthors(`actor ${this.names[i]}`, error);
    }
  }

  isReady(actor: number): boolean {
    const wait = this.waits[actor];
    return wait?.ready() ?? false;
  }

  /** Runs an actor's next step. What the step throws comes out as a `Violation`. */
  step(actor: number): void {
    const { world } = this;
    world.notes.outcome = this.outcomes[actor]!;
    world.notes.accessed = this.sides[actor]!;
    beat(actor);
    let wait: Wait | null;
    try {
      wait = this.advance(actor);
      world.ledger.stepDone();
    } catch (error) {
      throw this.mistakeIn(`actor ${this.names[actor]}`, error) ?? asViolation(error);
    }
    const unseen = takeUnseen();
    if (unseen !== null) throw unseen;
    this.accessed = world.notes.accessed;
    this.outcomes[actor] = world.notes.outcome;
    if (isOperation(wait)) this.operations[actor]!++;
    this.setWait(actor, wait);
  }

  /** `step`, after which `locals` says what the actor knows. */
  stepNoting(actor: number, before: State): void {
    this.step(actor);
    const wait = this.waits[actor]!;
    if (wait === null) this.locals[actor] = -1;
    else if (isOperation(wait) || wait.reliesOn !== undefined) {
      // Beyond what `reliesOn` tells, the actor knows where it is and what its operations came to.
      this.locals[actor] =
        (this.operations[actor]! * 64 + this.placeOf(wait)) * 0x100000000 +
        (this.outcomes[actor]! >>> 0);
    } else this.locals[actor] = before.remembered(actor, this.accessed);
  }

  /** Where the actor waits next, or null: it has ended. Throws `ScenarioMistake`. */
  private advance(actor: number): Wait | null {
    const step = this.flows[actor]!.next();
    if (step.done) return null;
    const wait = step.value as Partial<Operation> | undefined | null;
    // Operations first: their `what` is put together each time that it is asked for.
    if (wait?.sides !== undefined) return step.value;
    if (typeof wait?.ready === 'function' && typeof wait.what === 'string') return wait as Wait;
    const name = this.place(`actor ${this.names[actor]}`);
    if (typeof (step as Partial<Promise<unknown>>).then === 'function')
      throw new ScenarioMistake(`${name} is async; an actor is a plain generator`);
    throw new ScenarioMistake(
      `${name} yields ${described(wait)}, which is nothing to wait for; ` +
        'operations are run with yield*, as in yield* world.devices[0].write(0)',
    );
  }

  /** What an author's code throws before the first step is the author's. */
  private asAuthors(who: string, error: unknown): unknown {
    if (error instanceof Violation || error instanceof DeadWait) return error;
    const where = this.place(who);
    return mistakeIn(where, error) ?? new ScenarioMistake(`${where}: ${String(error)}`);
  }

  /** A user's variant may crash: then its design has broken something. */
  private mistakeIn(who: string, error: unknown): ScenarioMistake | null {
    if (this.parts.watch !== null && !(error instanceof ScenarioMistake)) return null;
    return mistakeIn(this.place(who), error);
  }

  private place(who: string): string {
    return `scenario ${this.scenario.name}: ${who}`;
  }

  private setWait(actor: number, wait: Wait | null): void {
    this.waits[actor] = wait;
    // A first stage is read from memory without asking anybody.
    if (isOperation(wait))
      this.sides[actor] = this.world.firstStages.length === 0 ? wait.sides : Side.BOTH;
  }

  /** A number for a place where paths wait; 0: between operations. */
  private placeOf(wait: Wait): number {
    if (isOperation(wait)) return 0;
    let place = this.places.indexOf(wait.what);
    if (place < 0) place = this.places.push(wait.what) - 1;
    return place + 1;
  }

  /** Nobody can go on: everybody has ended, or they wait for ever. */
  checkEnded(): void {
    const waiting = this.waits.flatMap((wait, i) =>
      wait === null ? [] : [`${this.names[i]} for ${wait.what}`],
    );
    if (waiting.length !== 0)
      violated(Invariant.GOES_ON, null, `nobody can go on: ${waiting.join('; ')}`);
    try {
      this.scenario.after?.(this.world);
    } catch (error) {
      throw this.mistakeIn('after', error) ?? asViolation(error);
    }
  }
}

/**
 * Whatever a step throws breaks something: assertions of the engine, and crashes. A
 * `ScenarioMistake` does not, and is thrown on.
 */
export function asViolation(error: unknown): Violation {
  if (error instanceof Violation) return error;
  if (error instanceof ScenarioMistake) throw error;
  if (error instanceof DeadWait)
    return new Violation(Invariant.GOES_ON, null, `nothing can end the wait for ${error.what}`);
  const { name, message } =
    error instanceof Error ? error : { name: 'error', message: String(error) };
  return new Violation(Invariant.ASSERTION, null, `${name}: ${message}`);
}
