/**
 * Blocks its main thread as the engine may hang in a file of the host, with iopf's handlers on;
 * with `take` it comes back when a signal is there, and takes it as the engine does; with `busy` it
 * computes, as a device that never returns.
 */
import { writeSync } from 'node:fs';
import { architecture } from '../../../src/exec/arch/index.js';
import { Child } from '../../../src/exec/process/child.js';
import { SignalPipe, SignalRelay } from '../../../src/exec/run/signals.js';
import { allocateNative, poll } from '../../../src/mm/process/libc.js';

const POLLIN = 1;
const POLLFD_BYTES = 8;

const signals = new SignalPipe(architecture(process.arch)!, true);
const polled = allocateNative(POLLFD_BYTES);
new Int32Array(polled.bytes.buffer, 0, 1)[0] = signals.fds.pipe;
new Int16Array(polled.bytes.buffer, 0, 4)[2] = POLLIN;
const count = process.argv[2] === 'take' ? 1 : 0;

writeSync(1, 'blocked\n');
while (process.argv[2] === 'busy');
while (poll(polled.address, count, -1) < 1);
const program = new Child(0);
program.end = { exitCode: 0, signal: null };
const mustEnd = new SignalRelay(signals.fds, program).take();
signals.close();
writeSync(1, `taken, ${mustEnd}\n`);
