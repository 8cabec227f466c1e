import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Errno, VfioError } from '../../src/abi/errno.js';
import { O_CLOEXEC, O_NONBLOCK } from '../../src/abi/linux.js';
import { architecture } from '../../src/exec/arch/index.js';
import { openUnbind } from '../../src/exec/machine/unbind.js';
import { EventSet } from '../../src/exec/seccomp/event-set.js';
import { allocateNative, close, eventfd, SystemError, write } from '../../src/mm/process/libc.js';
import type { Machine } from '../../src/vfio/machine.js';

const bytes = allocateNative(64);

function tell(fd: number, text: string): void {
  bytes.bytes.set(Buffer.from(text));
  write(fd, bytes.address, text.length);
}

function machineThatNotes(asked: string[]): Machine {
  const unbind = (address: string): void => {
    asked.push(address);
    if (address === 'none') throw new VfioError(Errno.ENODEV);
  };
  return { unbind } as unknown as Machine;
}

/** Our descriptors of pipes, by the pipe. */
function pipes(): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const fd of readdirSync('/proc/self/fd')) {
    let target = '';
    try {
      target = readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The folder itself.
    }
    if (target.startsWith('pipe:')) found.set(target, [...(found.get(target) ?? []), Number(fd)]);
  }
  return found;
}

describe('the unbind file of vfio-pci', () => {
  test('hands over each address; one that is no device stops nothing', () => {
    const asked: string[] = [];
    const stop = eventfd(0, O_CLOEXEC);
    const events = new EventSet(architecture(process.arch)!, stop, 50);
    const before = pipes().size;
    const writing = openUnbind(machineThatNotes(asked), events);
    tell(writing, 'none\n0000:00:03.0');
    events.take(() => {});
    expect(asked).toEqual(['none', '0000:00:03.0']);
    close(writing);
    events.take(() => {});
    expect(pipes().size).toBe(before);
    for (const fd of [stop, events.fd]) close(fd);
  });

  test('our end never waits: the program may have read what we were told of', () => {
    const stop = eventfd(0, O_CLOEXEC);
    const events = new EventSet(architecture(process.arch)!, stop, 50);
    const writing = openUnbind(machineThatNotes([]), events);
    const ends = pipes().get(readlinkSync(`/proc/self/fd/${writing}`))!;
    const reading = ends.find((fd) => fd !== writing)!;
    const flags = /flags:\s+(\d+)/.exec(
      readFileSync(`/proc/self/fdinfo/${reading}`, 'latin1'),
    )![1]!;
    expect(Number.parseInt(flags, 8) & O_NONBLOCK).toBe(O_NONBLOCK);
    close(writing);
    events.take(() => {});
    for (const fd of [stop, events.fd]) close(fd);
  });

  test('nothing more can be watched: EMFILE for the program, and both ends are closed', () => {
    const full = {
      watchPipe: () => {
        throw new SystemError('epoll_ctl', Errno.ENOSPC);
      },
    } as unknown as EventSet;
    const before = pipes();
    expect(() => openUnbind(machineThatNotes([]), full)).toThrow(
      expect.objectContaining({ errno: Errno.EMFILE }),
    );
    expect(pipes()).toEqual(before);
  });
});
