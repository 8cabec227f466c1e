/** Nothing of a device can wait: the engine's thread goes on, and comes to no promise. */
import { DeviceMistake } from './check-definition.js';

/** What an author's function returned. Throws DeviceMistake for a promise. */
export function noPromise<T>(returned: T, who: string): T {
  if (typeof returned !== 'object' || returned === null || !('then' in returned)) return returned;
  // Where it fails later, that is no news.
  void Promise.resolve(returned).catch(() => {});
  throw new DeviceMistake(`${who} returns a promise; nothing of a device can wait for one`);
}
