/** DMA of the edu device that a case has mapped. */
import * as libc from '../../mm/process/libc.js';

/** edu's registers in its mapped BAR 0 (QEMU, docs/specs/edu). */
const EduWord = { SOURCE: 0x20, DESTINATION: 0x22, COUNT: 0x24, COMMAND: 0x26 };
const EDU_BAR = 0x400000000000;
const EDU_BUFFER = 0x40000;

/** Lets the edu device behind the mapped BAR copy from one I/O virtual address to another. */
export function eduCopy(source: number, destination: number, size: number): void {
  const { buffer } = libc.bytesAt(EDU_BAR, 4096);
  const words = new Int32Array(buffer);
  const transfer = (from: number, to: number, command: number): void => {
    for (const [word, address] of [
      [EduWord.SOURCE, from],
      [EduWord.DESTINATION, to],
    ] as const) {
      Atomics.store(words, word, address | 0);
      Atomics.store(words, word + 1, Math.floor(address / 2 ** 32));
    }
    Atomics.store(words, EduWord.COUNT, size);
    Atomics.store(words, EduWord.COMMAND, command);
    while ((Atomics.load(words, EduWord.COMMAND) & 1) !== 0);
  };
  transfer(source, EDU_BUFFER, 1);
  transfer(EDU_BUFFER, destination, 3);
}
