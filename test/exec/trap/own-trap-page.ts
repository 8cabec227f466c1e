/** A trap page in the memory of this process, for tests of what reads and writes its state. */
import { MAP_ANONYMOUS, MAP_FIXED_NOREPLACE, MAP_PRIVATE } from '../../../src/abi/linux.js';
import type { CallToMake, Errand, Outcome } from '../../../src/exec/trap/errands.js';
import {
  CODE_BYTES,
  STATE_BYTES,
  TRAP_PAGE,
  TRAP_STATE,
  TrapState,
} from '../../../src/exec/trap/trap-page.js';
import { bytesAt, mmap, munmap } from '../../../src/mm/process/libc.js';

const BYTES = CODE_BYTES + STATE_BYTES;

/** Maps it, with a state that says nothing yet. */
export function mapTrapPage(): void {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  if (mmap(TRAP_PAGE, BYTES, 3, flags, -1, 0) !== TRAP_PAGE)
    throw new Error('something lies where the trap page should');
  clearState();
}

export function unmapTrapPage(): void {
  munmap(TRAP_PAGE, BYTES);
}

/** The state is as after exec. */
export function clearState(): void {
  bytesAt(TRAP_STATE, STATE_BYTES).fill(0);
  new TrapState().write(process.pid);
}

/** What was written to the state. */
export function writtenState(): TrapState {
  return TrapState.read(process.pid)!;
}

/** Runs errands at once: what they call is noted, and returns what `answer` says. */
export class NotedErrands {
  readonly calls: CallToMake[] = [];
  outcome: Outcome | null = null;
  answer: (call: CallToMake, index: number) => number = () => 0;

  send(steps: Errand): void {
    let step = steps.next(0);
    while (step.done !== true) {
      this.calls.push(step.value);
      step = steps.next(this.answer(step.value, this.calls.length - 1));
    }
    this.outcome = step.value;
  }
}
