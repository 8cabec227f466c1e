/** What is noted of the step at hand, by whoever takes part in it. */
import { errnoName, VfioError } from '../../abi/errno.js';
import type { Flow } from '../../flow/flow.js';
import { Invariant, violated } from '../verify/violation.js';

export class StepNotes {
  /** The sides of the world that the step accessed (`Side`). */
  accessed = 0;
  /** A digest of what the operations of the actor that runs have come to. */
  outcome = 0;
  /** The step has been taken before, and nothing was violated. */
  replays = false;

  /** @param container a digest of what is the container's, its devices' and in accounts */
  constructor(private readonly container: () => number) {}

  /** What a control path came to: `ok` or the errno's name. */
  *result(flow: Flow<void>): Flow<string> {
    try {
      yield* flow;
      return this.note('ok', 0);
    } catch (error) {
      return this.noteError(error);
    }
  }

  /** What a call came to: `ok` or the errno's name. One that failed left everything as it was. */
  call(run: () => void): string {
    const before = this.replays ? 0 : this.container();
    try {
      run();
      return this.note('ok', 0);
    } catch (error) {
      const name = this.noteError(error);
      if (!this.replays && this.container() !== before)
        violated(Invariant.UNDONE, 'R5.3', `${name}, and the state is another`);
      return name;
    }
  }

  /** `note` of an errno; what is none is thrown on. */
  noteError(error: unknown): string {
    if (!(error instanceof VfioError)) throw error;
    return this.note(errnoName(error.errno), error.errno);
  }

  /** Ends an operation with what it came to, which its actor knows from now on. */
  note<T>(result: T, code: number): T {
    const mixed = Math.imul(this.outcome + code + 1, 0x9e3779b1);
    this.outcome = mixed ^ (mixed >>> 15);
    return result;
  }
}
