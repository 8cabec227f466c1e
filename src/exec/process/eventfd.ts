import { POLLOUT } from '../../abi/linux.js';
import type { EventCounter } from '../../file/file.js';
import { allocateNative, close, poll, write } from '../../mm/process/libc.js';
import type { EventSet } from '../seccomp/event-set.js';

/** One counter tick for write(2), and a pollfd. */
const memory = allocateNative(16);
new Uint32Array(memory.bytes.buffer, 0, 1)[0] = 1;
const pollWords = new Int32Array(memory.bytes.buffer, 8, 2);

/** An eventfd of the program; `fd` is the engine's own descriptor for it. */
export function eventCounter(fd: number, events: EventSet): EventCounter {
  return {
    signal() {
      pollWords[0] = fd;
      pollWords[1] = POLLOUT;
      // A full counter would make write(2) wait; an interrupt that is pending already needs no
      // second one.
      if (poll(memory.address + 8, 1, 0) === 1) write(fd, memory.address, 8);
    },
    watch: (signalled) => events.watchEventfd(fd, signalled),
    close: () => void close(fd),
  };
}
