import { writeSync } from 'node:fs';
import { printable } from '../../input/printable.js';

/**
 * Prints a message on stderr. Not through Node's stream, which would make a pipe that the program
 * shares non-blocking. A stderr that cannot be written to is ignored. Names of files and
 * keys in the message do nothing to a terminal.
 */
export function tell(text: string): void {
  say(`iopf: ${printable(text)}\n`);
}

/** Writes to stderr as it is. */
export function say(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // There is nowhere else to report it.
  }
}
