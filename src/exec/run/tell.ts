import { writeSync } from 'node:fs';
import { printable } from '../../input/printable.js';

/**
 * Says something to the user on stderr. Not through Node's stream, which would make a pipe that the
 * program shares non-blocking; and a stderr that takes nothing changes nothing else. What others
 * named, files and keys in them, does nothing to a terminal.
 */
export function tell(text: string): void {
  say(`iopf: ${printable(text)}\n`);
}

/** Writes to stderr as it is. */
export function say(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody can be told.
  }
}
