/** A state of an exploration: what decides how everything goes on from there. */
import type { Wait } from '../../flow/flow.js';
import { Digest } from '../world/digest.js';
import { isOperation, Side } from '../world/operation.js';
import { digestOfReliedOn } from '../world/relied-on.js';
import type { Execution } from './execution.js';
import type { KnownStep } from './known-steps.js';

/**
 * How an actor's memory is told: it has ended; by what its operations came to; with what its wait
 * relies on; by all that it accessed.
 */
const ENDED = 0;
const OPERATIONS = 1;
const RELIES = 2;
const HISTORY = 3;

/** Instead of the number of a state, or of orders: not known. */
export const UNKNOWN = Number.NEGATIVE_INFINITY;

export class State {
  /** Digests of the two sides of the world. */
  container = 0;
  memory = 0;
  /** How often what page-ins rely on has changed; only differences count. */
  history = 0;
  /** Bit by actor: it may go on. */
  ready = 0;
  /**
   * By actor: what it knows beyond the world, as a digest; how that is told; and that with what its
   * wait relies on, as a digest.
   */
  readonly locals: number[];
  readonly kinds: number[];
  readonly knows: number[];
  /** By actor: the sides that its readiness and what it relies on depend on. */
  private readonly waitsOn: number[];
  private readonly digest = new Digest();

  constructor(private readonly actors: number) {
    this.locals = new Array(actors).fill(0);
    this.kinds = new Array(actors).fill(0);
    this.knows = new Array(actors).fill(0);
    this.waitsOn = new Array(actors).fill(0);
  }

  /** Takes the state of an execution. */
  take(execution: Execution): void {
    const { fingerprint } = execution.world;
    this.container = fingerprint.ofContainerSide();
    this.memory = fingerprint.ofMemorySide();
    this.history = fingerprint.history;
    this.ready = 0;
    for (let actor = 0; actor < this.actors; actor++) this.takeActor(execution, actor);
  }

  /** `take` after a step of an actor, which accessed `sides` of the world as it was `before`. */
  takeAfter(execution: Execution, actor: number, sides: number, before: State): void {
    const { fingerprint } = execution.world;
    this.container = sides & Side.CONTAINER ? fingerprint.ofContainerSide() : before.container;
    this.memory = sides & Side.MEMORY ? fingerprint.ofMemorySide() : before.memory;
    this.history = fingerprint.history;
    this.ready = before.ready;
    for (let i = 0; i < this.actors; i++) {
      if (i === actor || (before.waitsOn[i]! & sides) !== 0) this.takeActor(execution, i);
      else {
        this.locals[i] = before.locals[i]!;
        this.kinds[i] = before.kinds[i]!;
        this.knows[i] = before.knows[i]!;
        this.waitsOn[i] = before.waitsOn[i]!;
      }
    }
  }

  /** The state as a number. */
  get key(): number {
    return this.keyWith(this.container, this.memory, this.ready, this.history, -1, 0, ENDED);
  }

  /**
   * The number of the state that a known step leads to from this one; `UNKNOWN` where others wait
   * for what it changes.
   */
  keyAfter({
    actor,
    accessed,
    changes,
    moved,
    container,
    memory,
    ready,
    kind,
    knows,
  }: KnownStep): number {
    const moves = moved === 0 ? changes : Side.BOTH;
    for (let i = 0; i < this.actors; i++)
      if (i !== actor && (this.waitsOn[i]! & moves) !== 0) return UNKNOWN;
    const bit = 1 << actor;
    return this.keyWith(
      changes & Side.CONTAINER ? container : this.container,
      changes & Side.MEMORY ? memory : this.memory,
      ready ? this.ready | bit : this.ready & ~bit,
      this.history + moved,
      actor,
      kind === HISTORY ? this.digestOf(actor, kind, this.remembered(actor, accessed), 0) : knows,
      kind,
    );
  }

  /** All that decides what an actor's next step does, if it accesses these sides, as a number. */
  nameOfStep(actor: number, sides: number): number {
    const { digest } = this;
    digest.begin();
    digest.add(this.knows[actor]!);
    digest.add(sides);
    if (sides & Side.CONTAINER) digest.add(this.container);
    if (sides & Side.MEMORY) digest.add(this.memory);
    if (this.kinds[actor] === HISTORY) digest.add(this.history);
    return digest.value;
  }

  /**
   * What an actor that goes on from here knows, as a digest, where it must be told by all that it
   * accessed.
   */
  remembered(actor: number, sides: number): number {
    const { digest } = this;
    digest.begin();
    digest.add(this.locals[actor]!);
    digest.add(this.history);
    if (sides & Side.CONTAINER) digest.add(this.container);
    if (sides & Side.MEMORY) digest.add(this.memory);
    return digest.value;
  }

  private takeActor(execution: Execution, actor: number): void {
    const { world } = execution;
    const wait = execution.waits[actor]!;
    const local = execution.locals[actor]!;
    const kind = kindOf(wait);
    const always = kind === ENDED || wait!.always === true;
    const reliedOn = kind === RELIES ? wait!.reliesOn! : null;
    world.notes.accessed = execution.sides[actor]!;
    const ready = kind !== ENDED && (always || wait!.ready());
    const relies = digestOfReliedOn(reliedOn);
    this.ready = ready ? this.ready | (1 << actor) : this.ready & ~(1 << actor);
    this.locals[actor] = local;
    this.kinds[actor] = kind;
    this.knows[actor] = this.digestOf(actor, kind, local, relies);
    this.waitsOn[actor] = always && reliedOn === null ? 0 : world.notes.accessed;
  }

  private digestOf(actor: number, kind: number, local: number, relies: number): number {
    const { digest } = this;
    digest.begin();
    digest.add(actor * 4 + kind);
    digest.add(local);
    digest.add(relies);
    return digest.value;
  }

  /** A state's number, where one actor (-1: none) knows something else than here. */
  private keyWith(
    container: number,
    memory: number,
    ready: number,
    history: number,
    actor: number,
    knows: number,
    kind: number,
  ): number {
    const { digest } = this;
    digest.begin();
    digest.add(container);
    digest.add(memory);
    // What a path waits for is its own: whether it is there tells paths apart that wait for
    // different things.
    digest.add(ready);
    let tellsHistory = false;
    for (let i = 0; i < this.actors; i++) {
      digest.add(i === actor ? knows : this.knows[i]!);
      if ((i === actor ? kind : this.kinds[i]!) === HISTORY) tellsHistory = true;
    }
    // Who is in the middle of something may remember how often memory had changed.
    if (tellsHistory) digest.add(history);
    return digest.value;
  }
}

function kindOf(wait: Wait | null): number {
  if (wait === null) return ENDED;
  if (isOperation(wait)) return OPERATIONS;
  return wait.reliesOn === undefined ? HISTORY : RELIES;
}
