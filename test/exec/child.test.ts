/** Children that are begun without libc: they make a list of calls in this process's memory. */

import { afterAll, describe, expect, test } from 'vitest';
import { Bug } from '../../src/abi/bug.js';
import { Errno } from '../../src/abi/errno.js';
import { AT_FDCWD } from '../../src/abi/linux.js';
import { architecture } from '../../src/exec/arch/index.js';
import { CallList } from '../../src/exec/process/call-list.js';
import { Child, killChild, signalNumber, startChild } from '../../src/exec/process/child.js';
import { makeSocketPair } from '../../src/exec/run/descriptor-message.js';
import { bytesAt, close, kill } from '../../src/mm/process/libc.js';

const arch = architecture(process.arch)!;
const { nr } = arch;
const F_GETFD = 1;

/** 32 bits of memory. */
function word(address: number): number {
  const { buffer, byteOffset } = bytesAt(address, 4);
  return new DataView(buffer, byteOffset, 4).getInt32(0, true);
}

/** Opens a file; where it is missing that is noted, and any other error too. */
function opening(path: string) {
  const list = new CallList(5, 256);
  const open = list.call(nr.openat, AT_FDCWD, list.text(path), 0);
  const other = list.call(nr.exit_group, 3);
  const missing = list.call(nr.exit_group, 4);
  const opened = list.call(nr.fcntl, -1, F_GETFD);
  list.call(nr.exit_group, 5);
  open.onErrno(Errno.ENOENT, missing);
  open.onError(other);
  open.follow(opened);
  open.storeAt(opened.argumentAt(0));
  return { list, opened };
}

describe('a list of calls', () => {
  test.each([
    ['goes on with what follows', '/etc/passwd', 5],
    ['goes on elsewhere after an errno that was expected', '/nonexistent', 4],
    ['and after any other', '/etc/passwd/', 3],
  ])('%s', (_, path, exitCode) => {
    const { list, opened } = opening(path);
    const child = new Child(startChild(arch, list));
    expect(child.reap(true)).toEqual({ exitCode, signal: null });
    // The descriptor went from a result into an argument, and is close-on-exec no more than asked.
    if (exitCode === 5) expect(word(opened.resultAt)).toBe(0);
  });

  test('that is full takes no more', () => {
    const list = new CallList(1, 8);
    list.call(nr.exit_group, 0);
    list.words(1);
    expect(() => list.words(2)).toThrow(Bug);
  });
});

describe('a child that waits', () => {
  const ends = makeSocketPair();
  const [socket] = ends;
  afterAll(() => {
    for (const fd of ends) close(fd);
  });
  const waiting = (): Child => {
    const list = new CallList(2, 64);
    list.call(nr.read, socket, list.words(0), 1);
    list.call(nr.exit_group, 0);
    return new Child(startChild(arch, list));
  };

  test.each([
    ['a signal', 15, 'SIGTERM'],
    ['a real-time signal, which has no name', 40, 'SIG40'],
  ])('ends by %s, which this process may have a handler for', (_, number, name) => {
    const child = waiting();
    expect(child.reap(false)).toBeNull();
    kill(child.pid, number);
    expect(child.reap(true)).toEqual({ exitCode: null, signal: name });
    expect(signalNumber(name)).toBe(number);
  });

  test('is killed once; a number that is nobody’s child is left alone', () => {
    const child = waiting();
    killChild(child.pid);
    expect(child.reap(true)).toBeNull();
    killChild(child.pid);
    killChild(process.pid);
  });
});
