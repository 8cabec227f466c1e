/** A state of an exploration: what decides how everything goes on from there. */
import { NOTHING, type Wait } from '../flow/flow.js';
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

  /** Takes the state of an execution; sides that are not among `changed` are as they were `before`. */
  take(execution: Execution, changed: number, before: State): void {
    const { world, waits, locals } = execution;
    const { fingerprint } = world;
    this.container = changed & Side.CONTAINER ? fingerprint.ofContainerSide() : before.container;
    this.memory = changed & Side.MEMORY ? fingerprint.ofMemorySide() : before.memory;
    this.history = fingerprint.history;
    this.ready = 0;
    for (let i = 0; i < this.actors; i++) {
      const wait = waits[i]!;
      const kind = kindOf(wait);
      this.locals[i] = locals[i]!;
      this.kinds[i] = kind;
      world.seen = 0;
      if (wait !== null && (wait.always || wait.ready())) this.ready |= 1 << i;
      this.holds[i] = kind === HOLDS ? wait!.holds!() : 0;
      this.waitsOn[i] = dependsOn(wait) ? world.seen | execution.sides[i]! : 0;
    }
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
    for (let i = 0; i < this.actors; i++)
      if (i !== actor && (before.waitsOn[i]! & moves) !== 0) return false;
    const bit = 1 << actor;
    for (let i = 0; i < this.actors; i++) {
      this.locals[i] = before.locals[i]!;
      this.kinds[i] = before.kinds[i]!;
      this.holds[i] = before.holds[i]!;
    }
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

function kindOf(wait: Wait | null): number {
  if (wait === null) return ENDED;
  if (wait instanceof Operation) return OPERATIONS;
  return wait.holds ? HOLDS : HISTORY;
}

function dependsOn(wait: Wait | null): boolean {
  if (wait === null) return false;
  return !wait.always || (wait.holds !== undefined && wait.holds !== NOTHING);
}

/** What is known after two things, one after the other, as a digest. */
function chain(known: number, seen: number): number {
  const high = Math.floor(seen / 0x200000) | 0;
  const a = Math.imul((known % 0x7fffffff) ^ high, 0x9e3779b1);
  const b = Math.imul(Math.floor(known / 0x200000) + (seen % 0x200000) + 1, 0x85ebca6b);
  return ((a ^ (a >>> 15)) >>> 0) * 0x200000 + ((b ^ (b >>> 11)) & 0x1fffff);
}
