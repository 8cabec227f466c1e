import type { Flow } from './flow.js';

/**
 * A wait that nothing can end, because the runner runs one flow to its end before anything else.
 * With correct paths it cannot happen in a direct run; it is a bug.
 */
export class DeadWait extends Error {
  constructor(readonly what: string) {
    super(`a direct run waits for what cannot come: ${what}`);
  }
}

/**
 * Runs a flow to its end now and returns what it ends in. Throws `DeadWait` where it waits for what
 * is not there.
 */
export function runDirect<T>(flow: Flow<T>): T {
  for (;;) {
    const step = flow.next();
    if (step.done) return step.value;
    if (!step.value.ready()) throw new DeadWait(step.value.what);
  }
}
