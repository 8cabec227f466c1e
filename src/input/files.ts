/** Files that the user names; an error is one message for the user. */
import { readFileSync, writeFileSync } from 'node:fs';
import { UserError } from './user-error.js';

/** The bytes of a file; `what` is what it is to the user: `the recording`. Throws UserError. */
export function readUserFile(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UserError(`cannot read ${what} ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

/** Writes a file, in the place of what it held. Throws UserError. */
export function writeUserFile(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new UserError(`cannot write ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}
