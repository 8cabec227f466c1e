/**
 * What a thread shows of its work to the one that waits for it: how many steps it has begun, and of
 * which actor the last was.
 */
let beats = new Int32Array(2);

/** From now on they are shown here. */
export function showPulse(shared: Int32Array<SharedArrayBuffer>): void {
  beats = shared as unknown as typeof beats;
}

/** A step of an actor, or its beginning, is about to run. Hot. */
export function beat(actor: number): void {
  beats[0] = beats[0]! + 1;
  beats[1] = actor;
}
