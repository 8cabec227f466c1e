/** What a module does to the thread that it runs in is told as its mistake. */
import { tell } from '../run/tell.js';
import { placeOf, reasonOf } from './place.js';

/** Resolves as `loading` does. Rejects where Node has nothing left to do, and it has not ended. */
export function toItsEnd<T>(loading: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const drained = (): void => reject(new Error('an await at its top never ends'));
    process.once('beforeExit', drained);
    const settled = (): unknown => process.off('beforeExit', drained);
    loading.then(resolve, reject).then(settled, settled);
  });
}

const guarded = new Set<string>();

/** From now on `process.exit` throws in the module's code. */
export function refuseExit(file: string): void {
  if (guarded.has(file)) return;
  guarded.add(file);
  const exit = process.exit;
  process.exit = (code) => {
    const error = new Error('process.exit: a device cannot end iopf');
    if (placeOf(error, file) !== null) throw error;
    return exit(code);
  };
}

/**
 * From now on what the modules throw outside of handlers is told, once for each place: what Node is
 * to call back comes when the run is over.
 */
export function tellStrays(files: readonly string[]): void {
  const told = new Set<string>();
  process.on('uncaughtException', (error) => {
    const place = files.map((file) => placeOf(error, file)).find((found) => found !== null);
    if (place === undefined || place === null) throw error;
    if (told.has(place)) return;
    told.add(place);
    tell(`${place}: ${reasonOf(error)}; too late, a device waits by clock.after only`);
  });
}
