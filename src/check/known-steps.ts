/**
 * Steps whose outcome is known: what a step does is decided by the world it begins in and what its actor knows. Where both were
 * met before, whatever the other actors had done in between, the same comes of it, and it is not run again. This is the
 * partial-order reduction of `iopf check`: two steps that do not see each other lead to one state in either order, and the second
 * order is not run to find that out. Every state is still visited, because the invariants are checked in each.
 */
import { Digest } from './digest.js';
import { Knowledge, type Outcome } from './knowledge.js';

interface Known {
  readonly world: number;
  readonly outcome: Outcome;
}

export class KnownSteps {
  private readonly steps = new Map<number, Known>();
  private readonly digest = new Digest();
  private readonly after: Knowledge;

  constructor(actors: number) {
    this.after = new Knowledge(actors);
  }

  /** An actor's step led from one world to another. */
  note(world: number, before: Knowledge, actor: number, worldAfter: number, after: Knowledge): void {
    const outcome = after.outcomeOf(actor, before);
    this.steps.set(this.nameOf(world, before, actor), { world: worldAfter, outcome });
  }

  /** The state that an actor's step leads to, or -1 where that must be seen. */
  stateAfter(world: number, before: Knowledge, actor: number): number {
    const known = this.steps.get(this.nameOf(world, before, actor));
    if (known === undefined || !this.after.follow(world, before, actor, known.outcome)) return -1;
    return stateOf(this.digest, known.world, this.after);
  }

  private nameOf(world: number, before: Knowledge, actor: number): number {
    const { digest } = this;
    digest.begin();
    digest.add(world);
    before.addActorTo(digest, actor);
    return digest.value;
  }
}

/** A state as a number: the world, and what the actors know. */
export function stateOf(digest: Digest, world: number, knowledge: Knowledge): number {
  digest.begin();
  digest.add(world);
  knowledge.addTo(digest);
  return digest.value;
}
