/** vfio-pci's `unbind` file in sysfs: a pipe, so that the program's write needs no interception. */

import { Errno, VfioError } from '../../abi/errno.js';
import { F_SETFL, O_CLOEXEC, O_NONBLOCK } from '../../abi/linux.js';
import { allocateNative, close, fcntl, must, pipe2, SystemError } from '../../mm/process/libc.js';
import type { Machine } from '../../vfio/machine.js';
import type { EventSet } from '../seccomp/event-set.js';

const scratch = allocateNative(8);
const ends = new Int32Array(scratch.bytes.buffer, 0, 2);

/**
 * A pipe that takes the addresses which are written to it from VFIO; returns its writing end.
 * Throws EMFILE.
 */
export function openUnbind(machine: Machine, events: EventSet): number {
  if (pipe2(scratch.address, O_CLOEXEC) < 0) throw new VfioError(Errno.EMFILE);
  const [reading = -1, writing = -1] = ends;
  try {
    // The program may open its end for reading (/proc/self/fd/N) and take what was announced: do
    // not wait for more.
    must('fcntl', fcntl(reading, F_SETFL, O_NONBLOCK));
    events.watchPipe(reading, (text) => takeFromVfio(machine, text));
  } catch (error) {
    close(reading);
    close(writing);
    // What may be watched is used up: an errno for the program, not the end of the run.
    if (error instanceof SystemError) throw new VfioError(Errno.EMFILE);
    throw error;
  }
  return writing;
}

function takeFromVfio(machine: Machine, addresses: string): void {
  for (const address of addresses.split('\n')) {
    try {
      machine.unbind(address.trim());
    } catch (error) {
      // No such device: the write has been answered already.
      if (!(error instanceof VfioError)) throw error;
    }
  }
}
