/** What the actors know at a state, beyond the world: where each is, and what it still relies on. */
import { NOTHING, type Wait } from '../flow/flow.js';
import type { Digest } from './digest.js';
import type { Execution } from './execution.js';
import { Operation } from './operation.js';

/** How an actor's memory is told: it has ended; by what its operations came to; with what its wait holds; by all that it saw. */
const ENDED = 0;
const OPERATIONS = 1;
const HOLDS = 2;
const HISTORY = 3;

export class Knowledge {
  /** Bit by actor: it may go on. */
  ready = 0;
  /** Bit by actor: neither its readiness nor what it holds depends on the world. */
  private unmoved = 0;
  /** How often memory had changed; only differences count. */
  private history = 0;
  readonly locals: Float64Array;
  private readonly kinds: Uint8Array;
  private readonly holds: Float64Array;

  constructor(private readonly actors: number) {
    this.locals = new Float64Array(actors);
    this.kinds = new Uint8Array(actors);
    this.holds = new Float64Array(actors);
  }

  take(execution: Execution): void {
    const { waits, locals } = execution;
    this.ready = 0;
    this.unmoved = 0;
    this.history = execution.world.fingerprint.history;
    for (let i = 0; i < this.actors; i++) {
      const wait = waits[i]!;
      this.locals[i] = locals[i]!;
      this.kinds[i] = kindOf(wait);
      this.holds[i] = this.kinds[i] === HOLDS ? wait.holds!() : 0;
      if (wait === null) this.unmoved |= 1 << i;
      else {
        if (wait.ready()) this.ready |= 1 << i;
        if (wait.always && (wait.holds === undefined || wait.holds === NOTHING)) this.unmoved |= 1 << i;
      }
    }
  }

  addTo(digest: Digest): void {
    // What a path waits for is its own: whether it is there tells paths apart that wait for different things.
    digest.add(this.ready);
    let history = false;
    for (let i = 0; i < this.actors; i++) {
      digest.add(this.locals[i]!);
      if (this.kinds[i] === HOLDS) digest.add(this.holds[i]!);
      else if (this.kinds[i] === HISTORY) history = true;
    }
    // Who is in the middle of something may remember how often memory had changed.
    if (history) digest.add(this.history);
  }

  /** Adds all that decides, with the world, what an actor's next step does. */
  addActorTo(digest: Digest, actor: number): void {
    digest.add(actor);
    digest.add(this.locals[actor]!);
    digest.add(this.kinds[actor] === HISTORY ? this.history : this.holds[actor]!);
  }

  /** What one step of an actor made of what it knew before. */
  outcomeOf(actor: number, before: Knowledge): Outcome {
    return {
      ready: (this.ready & (1 << actor)) !== 0,
      kind: this.kinds[actor]!,
      local: this.locals[actor]!,
      holds: this.holds[actor]!,
      moved: this.history - before.history,
    };
  }

  /** Becomes what `before` and an actor's step in `world` lead to; false where that depends on how the world is then. */
  follow(world: number, before: Knowledge, actor: number, outcome: Outcome): boolean {
    const bit = 1 << actor;
    if ((before.unmoved | bit) !== (1 << this.actors) - 1) return false;
    this.locals.set(before.locals);
    this.kinds.set(before.kinds);
    this.holds.set(before.holds);
    this.ready = outcome.ready ? before.ready | bit : before.ready & ~bit;
    this.history = before.history + outcome.moved;
    this.kinds[actor] = outcome.kind;
    this.locals[actor] =
      outcome.kind === HISTORY ? chain(before.locals[actor]!, world + before.history) : outcome.local;
    this.holds[actor] = outcome.holds;
    return true;
  }
}

export interface Outcome {
  readonly ready: boolean;
  readonly kind: number;
  readonly local: number;
  readonly holds: number;
  /** How often memory changed. */
  readonly moved: number;
}

function kindOf(wait: Wait | null): number {
  if (wait === null) return ENDED;
  if (wait instanceof Operation) return OPERATIONS;
  return wait.holds ? HOLDS : HISTORY;
}

/** What a path knows after a step is decided by what it knew before and the world it saw. */
export function chain(known: number, state: number): number {
  const high = Math.floor(state / 0x200000) | 0;
  const a = Math.imul((known % 0x7fffffff) ^ high, 0x9e3779b1);
  const b = Math.imul(Math.floor(known / 0x200000) + (state % 0x200000) + 1, 0x85ebca6b);
  return ((a ^ (a >>> 15)) >>> 0) * 0x200000 + ((b ^ (b >>> 11)) & 0x1fffff);
}
