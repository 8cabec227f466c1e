/** Makes folders where a user wants them. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf } from './named-file.js';

/**
 * Makes the folder, for its user only, and those above that are missing. Throws what mkdir(2) says.
 * Node's own (`recursive`) never ends where a file system refuses with ENOENT, as /proc does.
 */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const above = dirname(path);
    if (codeOf(error) !== 'ENOENT' || above === path || isThere(above)) {
      if (codeOf(error) === 'EEXIST' && statSync(path).isDirectory()) return;
      throw error;
    }
    makeFolder(above);
    makeFolder(path);
  }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
