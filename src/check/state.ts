/** A state of an exploration: what decides how everything goes on from there. */
import { NOTHING } from '../flow/flow.js';
import type { Digest } from './digest.js';
import type { Execution } from './execution.js';
import type { KnownStep } from './known-step.js';
import { Operation, Side } from './operation.js';

/** How an actor's memory is told: it has ended; by what its operations came to; with what its wait holds; by all that it saw. */
const ENDED = 0;
const OPERATIONS = 1;
const HOLDS = 2;
const HISTORY = 3;

export class State {
  /** Digests of the two sides of the world. */
  container = 0;
  memory = 0;
  /** Bit by actor: it may go on. */
  ready = 0;
  /** How often what page-ins rely on has changed; only differences count. */
  history = 0;
  /** What each actor knows beyond the world, as a digest. */
  readonly locals: number[];
  readonly kinds: number[];
  readonly holds: number[];
  /** By actor: the sides that its readiness and what it holds depend on. */
  readonly waitsOn: number[];

  constructor(private readonly actors: number) {
    this.locals = new Array(actors).fill(0);
    this.kinds = new Array(actors).fill(0);
    this.holds = new Array(actors).fill(0);
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

  /** `take` after a step of an actor, which saw `sides` of the world as it was `before`. */
  takeAfter(execution: Execution, actor: number, sides: number, before: State): void {
    const { fingerprint } = execution.world;
    this.container = sides & Side.CONTAINER ? fingerprint.ofContainerSide() : before.container;
    this.memory = sides & Side.MEMORY ? fingerprint.ofMemorySide() : before.memory;
    this.history = fingerprint.history;
    this.ready = before.ready;
    for (let i = 0; i < this.actors; i++) {
      if (i === actor || (before.waitsOn[i]! & sides) !== 0) this.takeActor(execution, i);
      else this.copyActor(before, i);
    }
  }

  private takeActor(execution: Execution, actor: number): void {
    const { world } = execution;
    const wait = execution.waits[actor]!;
    this.locals[actor] = execution.locals[actor]!;
    world.seen = 0;
    const kind =
      wait === null ? ENDED : wait instanceof Operation ? OPERATIONS : wait.holds ? HOLDS : HISTORY;
    const always = kind !== ENDED && wait!.always === true;
    this.kinds[actor] = kind;
    if (kind !== ENDED && (always || wait!.ready())) this.ready |= 1 << actor;
    else this.ready &= ~(1 << actor);
    const holds = kind === HOLDS && wait!.holds !== NOTHING;
    this.holds[actor] = holds ? wait!.holds!() : 0;
    this.waitsOn[actor] = kind !== ENDED && (!always || holds) ? world.seen | execution.sides[actor]! : 0;
  }

  private copyActor(before: State, actor: number): void {
    this.locals[actor] = before.locals[actor]!;
    this.kinds[actor] = before.kinds[actor]!;
    this.holds[actor] = before.holds[actor]!;
    this.waitsOn[actor] = before.waitsOn[actor]!;
  }

  /** The state as a number. */
  key(digest: Digest): number {
    digest.begin();
    digest.add(this.container);
    digest.add(this.memory);
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
    return digest.value;
  }

  /** What an actor that goes on from here knows, as a digest, where it must be told by all that it saw. */
  remembered(actor: number, sides: number): number {
    let known = chain(this.locals[actor]!, this.history);
    if (sides & Side.CONTAINER) known = chain(known, this.container);
    if (sides & Side.MEMORY) known = chain(known, this.memory);
    return known;
  }

  /** Whether an actor that has not gone on since `before` finds all as it was then, as far as its step sees it. */
  isAs(before: State, actor: number, sides: number): boolean {
    if (sides & Side.CONTAINER && this.container !== before.container) return false;
    if (sides & Side.MEMORY && this.memory !== before.memory) return false;
    if (this.kinds[actor] === HISTORY) return this.history === before.history;
    return this.holds[actor] === before.holds[actor];
  }

  /** Becomes what a known step leads to from `before`; false where others wait for what it changes. */
  follow(before: State, step: KnownStep): boolean {
    const { actor, changes } = step;
    const moves = step.moved === 0 ? changes : Side.BOTH;
    for (let i = 0; i < this.actors; i++) if (i !== actor && (before.waitsOn[i]! & moves) !== 0) return false;
    const bit = 1 << actor;
    for (let i = 0; i < this.actors; i++) this.copyActor(before, i);
    this.container = changes & Side.CONTAINER ? step.container : before.container;
    this.memory = changes & Side.MEMORY ? step.memory : before.memory;
    this.ready = step.ready ? before.ready | bit : before.ready & ~bit;
    this.history = before.history + step.moved;
    this.kinds[actor] = step.kind;
    this.locals[actor] = step.kind === HISTORY ? before.remembered(actor, step.sees) : step.local;
    this.holds[actor] = step.holds;
    return true;
  }
}

/** What is known after two things, one after the other, as a digest. */
function chain(known: number, seen: number): number {
  const high = Math.floor(seen / 0x200000) | 0;
  const a = Math.imul((known % 0x7fffffff) ^ high, 0x9e3779b1);
  const b = Math.imul(Math.floor(known / 0x200000) + (seen % 0x200000) + 1, 0x85ebca6b);
  return ((a ^ (a >>> 15)) >>> 0) * 0x200000 + ((b ^ (b >>> 11)) & 0x1fffff);
}
