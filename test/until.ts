/** Waiting for a condition, never for a time. */
const { setTimeout } = globalThis;
const LOOK_MS = 10;
/** Below the time limit of tests, so that it is told what was waited for. */
const PATIENCE_MS = 90_000;

/** Looks until the condition holds; throws with `what` where it does not come to hold. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  patienceMs = PATIENCE_MS,
): Promise<void> {
  for (let left = patienceMs; left > 0; left -= LOOK_MS) {
    if (await condition()) return;
    await new Promise((later) => setTimeout(later, LOOK_MS));
  }
  throw new Error(`timeout: ${typeof what === 'string' ? what : what()}`);
}
