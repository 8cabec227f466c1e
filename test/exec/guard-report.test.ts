/** What the guard is told of processes, by a pipe. */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { O_CLOEXEC, O_NONBLOCK } from '../../src/abi/linux.js';
import { GuardReport } from '../../src/exec/process/guard-report.js';
import { allocateNative, close, must, pipe2, read } from '../../src/mm/process/libc.js';

const memory = allocateNative(8192);
let [readEnd, writeEnd] = [-1, -1];
let report: GuardReport;
const children: ChildProcess[] = [];

beforeEach(() => {
  must('pipe2', pipe2(memory.address, O_CLOEXEC | O_NONBLOCK));
  [readEnd, writeEnd] = new Int32Array(memory.bytes.buffer, 0, 2) as unknown as [number, number];
  report = new GuardReport(writeEnd);
});
afterEach(() => {
  for (const fd of [readEnd, writeEnd]) close(fd);
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function fork(): number {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  children.push(child);
  return child.pid!;
}

/** The lines that were written since the last look. */
function told(): string[] {
  const length = read(readEnd, memory.address, 8192);
  if (length <= 0) return [];
  return Buffer.from(memory.bytes.slice(0, length)).toString().trimEnd().split('\n');
}
/** Without start times. */
const processes = (): string[] => told().map((line) => line.split(' ').slice(0, 2).join(' '));

test('a directory and a process are told, a process once while it lives', () => {
  report.directory('/tmp/a directory');
  const pid = fork();
  report.process(pid);
  report.process(pid);
  const [first, second, ...more] = told();
  expect(first).toBe('directory /tmp/a directory');
  expect(second).toMatch(new RegExp(`^process ${pid} [1-9]\\d+$`));
  expect(more).toEqual([]);
});

test('children of a thread that forked are looked for every 2 ms, 30 times', () => {
  report.lookForChildren(1000);
  expect([report.awaitsChildren, processes()]).toEqual([false, []]);
  report = new GuardReport(writeEnd);
  report.noteFork(process.pid);
  const pid = fork();
  let nowMs = 2000;
  report.lookForChildren(nowMs);
  expect(processes()).toContain(`process ${pid}`);
  const later = fork();
  report.lookForChildren(nowMs + 1.9);
  expect(processes()).toEqual([]);
  report.lookForChildren(nowMs + 2);
  expect(processes()).toEqual([`process ${later}`]);
  for (let look = 3; look <= 30; look++) {
    expect(report.awaitsChildren).toBe(true);
    nowMs += 4;
    report.lookForChildren(nowMs);
  }
  expect(report.awaitsChildren).toBe(false);
});

test('and then at every tick, 40 times', () => {
  report.noteFork(process.pid);
  for (let tick = 1; tick < 40; tick++) report.tellOfChildren();
  const pid = fork();
  told();
  report.tellOfChildren();
  expect(processes()).toContain(`process ${pid}`);
  fork();
  report.tellOfChildren();
  expect(processes()).toEqual([]);
});
