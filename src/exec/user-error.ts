import { writeSync } from 'node:fs';

/** Something the user gave cannot be used; the message says what, where and what to do. The command exits with 2. */
export class UserError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UserError';
  }
}

/**
 * Says something to the user on stderr. Not through Node's stream, which would make a pipe that the program shares
 * non-blocking; and a stderr that takes nothing changes nothing else.
 */
export function tell(text: string): void {
  say(`iopf: ${text}\n`);
}

/** Writes to stderr as it is. */
export function say(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Nobody can be told.
  }
}
