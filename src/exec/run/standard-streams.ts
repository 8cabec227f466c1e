/**
 * Keeps descriptors 0 to 2 as iopf's caller made them. It shares them with iopf and the program,
 * and Node makes a pipe among them non-blocking once something asks for `process.stdin`, `stdout`
 * or `stderr`; from Node 22 on, importing certain builtins is enough.
 *
 * To be imported before anything else, and itself it imports only what asks for none of them.
 */

import { readFileSync } from 'node:fs';
import { O_NONBLOCK } from '../../abi/linux.js';

/** What of a stream's inside is used: libuv's handle, where the descriptor is a pipe or socket. */
interface Stream {
  readonly _handle?: { setBlocking?(blocking: boolean): number };
}

function isBlocking(fd: number): boolean {
  try {
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
    return flags !== null && (Number.parseInt(flags[1]!, 8) & O_NONBLOCK) === 0;
  } catch {
    return false; // It is closed, or there is no /proc.
  }
}

for (const [fd, name] of ['stdin', 'stdout', 'stderr'].entries()) {
  const property = Object.getOwnPropertyDescriptor(process, name);
  const get = property?.get as (() => Stream | undefined) | undefined;
  if (get === undefined || !isBlocking(fd)) continue;
  Object.defineProperty(process, name, {
    ...property,
    get() {
      const stream = get.call(process);
      stream?._handle?.setBlocking?.(true);
      return stream;
    },
  });
}
