import { afterAll, beforeAll, expect, it } from 'vitest';
import { setLong } from '../../src/abi/long.js';
import { Supervisor, type SupervisorOptions } from '../../src/exec/seccomp/supervisor.js';
import { allocateNative, close, eventfd, must, pipe2, write } from '../../src/mm/process/libc.js';

const memory = allocateNative(16);
const words = new Uint32Array(memory.bytes.buffer, 0, 4);
const opened: number[] = [];
let doneFd: number;
let hungUp: number;
let quiet: number;

beforeAll(() => {
  doneFd = must('eventfd', eventfd(0, 0));
  quiet = must('eventfd', eventfd(0, 0));
  must('pipe2', pipe2(memory.address, 0));
  hungUp = words[0]!;
  close(words[1]!);
  opened.push(doneFd, quiet, hungUp);
});
afterAll(() => {
  for (const fd of opened) close(fd);
});

/** Everybody under the filter is gone; a file is closed at the last of so many looks. */
function supervisor(looks: number): { supervisor: Supervisor; reaped: () => number } {
  let reaped = 0;
  const files = {
    openFunctions: [],
    get count() {
      return reaped >= looks ? 0 : 1;
    },
    reap: () => void reaped++,
  };
  const options = {
    listener: { fd: hungUp, answerPosted: () => {} },
    events: { fd: quiet, signalFd: quiet },
    handlers: [],
    processes: { all: [] },
    files,
    guard: { awaitsChildren: false },
    signals: { take: () => false },
    nowMs: () => performance.now(),
    setAside: () => () => {},
  };
  return {
    supervisor: new Supervisor(options as unknown as SupervisorOptions),
    reaped: () => reaped,
  };
}

it('ends soon after it has waited for pages: how many came is no time', { timeout: 5000 }, () => {
  setLong(words, 0, 20);
  must('write', write(doneFd, memory.address, 8));
  const { supervisor: it, reaped } = supervisor(3);
  let asked = 0;
  it.serve(doneFd, () => asked++ > 0, true);
  expect(it.run()).toBe('gone');
  expect(reaped()).toBe(3);
});
