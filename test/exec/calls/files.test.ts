/** Calls on descriptors of VFIO's files, and calls that change what descriptors mean. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  AT_FDCWD,
  F_DUPFD_CLOEXEC,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_LOCKED,
  MAP_PRIVATE,
  MAP_SHARED,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
} from '../../../src/abi/linux.js';
import { ContainerIoctl, GroupIoctl } from '../../../src/abi/vfio.js';
import type { SystemCall } from '../../../src/exec/arch/index.js';
import { eventfdId } from '../../../src/exec/process/eventfds.js';
import type { Traps } from '../../../src/exec/trap/traps.js';
import type { MappedPart } from '../../../src/file/file.js';
import { close } from '../../../src/mm/process/libc.js';
import { OwnProgram } from './own-program.js';

const CONFIG = 7 * 2 ** 40;
const BAR0 = 0;
/** PCI's vendor and device id of the NVMe controller, and its class code's place. */
const ID = 0x00101b36;
const NOWHERE = 16;

const mapped: unknown[] = [];
const traps = {
  map: (_: unknown, { offset }: { offset: number }, parts: readonly MappedPart[]) => {
    mapped.push([offset, parts]);
    program.call.respond(NOWHERE);
    return true;
  },
  replaceMapping: () => mapped.push('replaced'),
} as unknown as Traps;

let program: OwnProgram;
let group: string;
beforeAll(() => {
  program = new OwnProgram('nvme@0000:02:00.0,size=1M', traps);
  const at = program.room(256);
  const address = program.memory.address + at;
  const link = '/sys/bus/pci/devices/0000:02:00.0/iommu_group';
  const length = program.make('readlinkat', AT_FDCWD, link, address, 256) as number;
  const target = Buffer.from(program.memory.bytes.slice(at, at + length)).toString();
  group = target.slice(target.lastIndexOf('/') + 1);
});
beforeEach(() => {
  program.reset();
  mapped.length = 0;
});
afterAll(() => program.end());

const open = (path: string): number => program.make('openat', AT_FDCWD, path, O_RDWR) as number;

/** The device's descriptor; those of its container and group are 800 and 801. */
function device(): number {
  const [container, groupFd] = [open('/dev/vfio/vfio'), open(`/dev/vfio/${group}`)];
  const at = program.room(16);
  program.view.setInt32(at, container, true);
  const address = program.memory.address + at;
  expect(program.make('ioctl', groupFd, GroupIoctl.VFIO_GROUP_SET_CONTAINER, address)).toBe(0);
  expect(program.make('ioctl', container, ContainerIoctl.VFIO_SET_IOMMU, 3)).toBe(0);
  const name = program.text('0000:02:00.0');
  return program.make('ioctl', groupFd, GroupIoctl.VFIO_GROUP_GET_DEVICE_FD, name) as number;
}

/** A struct iovec for each pair of an offset in memory, -1 for nowhere, and bytes. */
function vectors(...pairs: readonly (readonly [number, number])[]): number {
  const at = program.room(16 * pairs.length);
  pairs.forEach(([place, length], index) => {
    const address = place < 0 ? NOWHERE : program.memory.address + place;
    program.view.setBigUint64(at + 16 * index, BigInt(address), true);
    program.view.setBigInt64(at + 16 * index + 8, BigInt(length), true);
  });
  return program.memory.address + at;
}
const word = (at: number): number => program.view.getUint32(at, true);

describe('a device’s file', () => {
  test('is read at an offset by pread and preadv, and its own position stays', () => {
    const fd = device();
    const at = program.room(16);
    const address = program.memory.address + at;
    expect(program.make('pread64', fd, address, 4, CONFIG)).toBe(4);
    expect(word(at)).toBe(ID);
    for (const name of ['preadv', 'preadv2'] as const) {
      program.view.setUint32(at, 0, true);
      expect(program.make(name, fd, vectors([at, 2], [at + 2, 2]), 2, CONFIG)).toBe(4);
      expect(word(at)).toBe(ID);
    }
    expect(program.make('read', fd, address, 4)).toBe(4); // at 0: BAR 0
    expect(word(at)).not.toBe(ID);
    expect(program.make('pread64', fd, address, 4, -1)).toBe('EINVAL');
    expect(program.make('preadv', fd, vectors([at, 4]), 1, -1)).toBe('EINVAL');
  });

  test('is read and written where its position is, which moves on by what went', () => {
    const fd = device();
    const at = program.room(32);
    const address = program.memory.address + at;
    const read = (offset: number): number => {
      program.make('pread64', fd, address, 4, offset);
      return word(at);
    };
    const [low, high] = [read(BAR0), read(BAR0 + 4)];
    program.make('read', fd, address, 4);
    expect(word(at)).toBe(low);
    expect(program.make('readv', fd, vectors([at, 4]), 1)).toBe(4);
    expect(word(at)).toBe(high);
    // -1 means the file's position to preadv2: now the version's register.
    expect(program.make('preadv2', fd, vectors([at, 4]), 1, -1)).toBe(4);
    expect(word(at)).toBe(read(BAR0 + 8));
    program.view.setUint32(at, 0x55, true);
    // INTMS, at 12: what is set in it reads back.
    expect(program.make('write', fd, address, 4)).toBe(4);
    expect(read(BAR0 + 12)).toBe(0x55);
    program.view.setUint32(at, 0x11, true);
    expect(program.make('writev', fd, vectors([at, 4]), 1)).toBe(4); // INTMC
    expect(read(BAR0 + 12)).toBe(0x44);
  });

  test('takes small writes to registers as posted, and no larger ones or reads', () => {
    const fd = device();
    const at = program.memory.address + program.room(64);
    for (const [name, bytes, posted] of [
      ['pwrite64', 4, 4],
      ['pwrite64', 8, 8],
      ['pwrite64', 16, -1],
      ['pread64', 4, -1],
    ] as const) {
      program.make(name, fd, at, bytes, CONFIG + 0x40);
      expect([name, bytes, program.call.posted]).toEqual([name, bytes, posted]);
    }
  });

  test('goes on with vectors up to one that fails, which fails only as the first', () => {
    const fd = device();
    const at = program.room(16);
    const good: [number, number] = [at, 4];
    expect(program.make('preadv', fd, vectors(good, [-1, 4], good), 3, CONFIG)).toBe(4);
    expect(program.make('preadv', fd, vectors([-1, 4], good), 2, CONFIG)).toBe('EFAULT');
    expect(program.make('preadv', fd, vectors([-1, 0], good), 2, CONFIG)).toBe(4);
    expect(word(at)).toBe(ID);
    expect(program.make('preadv', fd, vectors(good, [at, -1]), 2, CONFIG)).toBe('EINVAL');
    expect(program.make('preadv', fd, NOWHERE, 1, CONFIG)).toBe('EFAULT');
    expect(program.make('preadv', fd, NOWHERE, 0, CONFIG)).toBe(0);
    expect(program.make('preadv', fd, NOWHERE, 1025, CONFIG)).toBe('EINVAL');
    const empty = vectors(...Array.from({ length: 1024 }, () => [at, 0] as const));
    expect(program.make('preadv', fd, empty, 1024, CONFIG)).toBe(0);
  });

  test('cannot seek', () => {
    expect(program.make('lseek', device(), 0, 0)).toBe('ESPIPE');
    expect(program.make('lseek', 0, 0, 0)).toBe('goes on');
  });

  test('lets the kernel answer what it answers of any file', () => {
    const fd = open('/dev/vfio/vfio');
    for (const request of [0x5450, 0x5451, 0x5421, 0x5452])
      expect(program.make('ioctl', fd, request, 0)).toBe('goes on');
    expect(program.make('ioctl', fd, 0x5453, 0)).toBe('EINVAL');
  });

  test('is mapped by the engine where accesses trap, and by the kernel where it is memory', () => {
    const fd = device();
    const map = (flags: number, offset: number): number | string =>
      program.make('mmap', 0, 4096, 3, flags, fd, offset);
    expect(map(MAP_SHARED, CONFIG)).toBe('EINVAL');
    expect(mapped).toEqual([]);
    expect(map(MAP_SHARED, BAR0)).toBe(NOWHERE);
    expect(mapped.splice(0)).toEqual([[BAR0, [{ offset: 0, size: 4096 }]]]);
    // Anonymous memory has nothing to do with the descriptor; that of others is the kernel's.
    expect(map(MAP_PRIVATE | MAP_ANONYMOUS, CONFIG)).toBe('goes on');
    expect(program.make('mmap', 0, 4096, 1, MAP_PRIVATE, 0, 0)).toBe('goes on');
    expect(mapped).toEqual([]);
  });

  test('what a fixed mapping replaces goes first, unless it may replace nothing', () => {
    const at = program.memory.address;
    const map = (flags: number): number | string =>
      program.make('mmap', at, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    expect(map(0)).toBe('goes on');
    expect(map(MAP_FIXED_NOREPLACE)).toBe('goes on');
    expect(map(MAP_FIXED | MAP_FIXED_NOREPLACE)).toBe('goes on');
    expect(mapped).toEqual([]);
    expect(map(MAP_FIXED)).toBe('goes on');
    expect(mapped).toEqual(['replaced']);
  });
});

test.each<[SystemCall, readonly number[]]>([
  ['ioctl', [0, 0x5401, NOWHERE]],
  ['read', [0, NOWHERE, 1]],
  ['write', [1, NOWHERE, 1]],
  ['pread64', [0, NOWHERE, 1, 0]],
  ['pwrite64', [1, NOWHERE, 1, 0]],
  ['readv', [0, NOWHERE, 1]],
  ['writev', [1, NOWHERE, 1]],
  ['dup', [0]],
  ['close', [850]],
  ['dup3', [0, 850, 0]],
  ['fcntl', [0, F_DUPFD_CLOEXEC, 810]],
])('%s on a file that is not VFIO’s goes on', (name, given) => {
  if (program.arch.nr[name] === undefined) return;
  expect(program.make(name, ...given)).toBe('goes on');
});

describe('a duplicate', () => {
  test('is the same file, under the next number of the window, and closes on exec if asked', () => {
    const fd = device();
    const position = program.memory.address + program.room(16);
    const plain = program.make('dup', fd) as number;
    const closing = program.make('fcntl', fd, F_DUPFD_CLOEXEC, 0) as number;
    expect([plain, closing]).toEqual([fd + 1, fd + 2]);
    expect([plain, closing].map((each) => program.closesOnExec(each))).toEqual([0, 1]);
    expect(program.make('pread64', plain, position, 4, CONFIG)).toBe(4);
    expect(program.context.files.count).toBe(3);
  });

  test('gets no number below the one that was asked for', () => {
    const fd = open('/dev/vfio/vfio');
    expect(program.make('fcntl', fd, 0, 810)).toBe(810);
    expect(program.make('fcntl', fd, 0, 863)).toBe(863);
    expect(program.make('fcntl', fd, 0, 863)).toBe('EMFILE');
    // The kernel says what is wrong with these.
    for (const least of [-1, 864]) expect(program.make('fcntl', fd, 0, least)).toBe('goes on');
    expect(program.make('fcntl', fd, 0, 0)).toBe(801);
  });

  test('keeps the file until the last of them is closed', () => {
    const fd = open('/dev/vfio/vfio');
    const other = program.make('dup', fd) as number;
    for (const [each, left] of [
      [fd, 1],
      [other, 0],
    ] as const) {
      expect(program.make('close', each)).toBe('goes on');
      close(each);
      program.context.files.settle(process.pid);
      expect(program.context.files.count).toBe(left);
    }
  });
});

describe('a number that is used again means what the kernel says,', () => {
  test.each<[SystemCall, (fd: number) => readonly number[]]>([
    ['close', (fd) => [fd]],
    ['close_range', (fd) => [fd, fd, 0]],
    ['dup2', (fd) => [0, fd]],
    ['dup3', (fd) => [0, fd, 0]],
  ])('after %s', (name, given) => {
    if (program.arch.nr[name] === undefined) return;
    const fd = open('/dev/vfio/vfio');
    expect(program.make('ioctl', fd, ContainerIoctl.VFIO_GET_API_VERSION, 0)).toBe(0);
    expect(program.make(name, ...given(fd))).toBe('goes on');
    close(fd);
    expect(program.make('ioctl', fd, ContainerIoctl.VFIO_GET_API_VERSION, 0)).toBe('goes on');
    expect(program.context.files.count).toBe(1);
    program.context.files.settle(process.pid);
    expect(program.context.files.count).toBe(0);
    expect(open('/dev/vfio/vfio')).toBe(fd);
  });
});

describe('an eventfd', () => {
  test('is made by the engine with the count and flags that were asked for', () => {
    const made = program.make('eventfd2', 5, O_CLOEXEC | O_NONBLOCK) as number;
    const plain = program.make('eventfd2', 0, 0) as number;
    expect([made, plain].map((fd) => program.closesOnExec(fd))).toEqual([1, 0]);
    expect([made, plain].map((fd) => typeof eventfdId('self', fd))).toEqual(['number', 'number']);
    expect(eventfdId('self', made)).not.toBe(eventfdId('self', plain));
  });

  test('with flags that the kernel does not know is the kernel’s to refuse', () => {
    for (const bit of [2, 4, 8, 1 << 12, 1 << 20])
      expect(program.make('eventfd2', 0, bit)).toBe('goes on');
  });
});

describe('memory that is locked counts with what VFIO has pinned', () => {
  /** VFIO has pinned up to the limit. */
  function full(): void {
    const { space } = program.processes.enter(process.pid)!;
    space.mayLock = () => false;
    space.mayLockMore = () => false;
  }
  const lockedMap = (): number | string =>
    program.make('mmap', 0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
  const plainMap = (): number | string =>
    program.make('mmap', 0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  test('in mlock and mlock2', () => {
    for (const name of ['mlock', 'mlock2'] as const)
      expect(program.make(name, program.memory.address, 4096)).toBe('goes on');
    full();
    for (const name of ['mlock', 'mlock2'] as const)
      expect(program.make(name, program.memory.address, 4096)).toBe('ENOMEM');
  });

  test('in mmap with MAP_LOCKED, and in no other', () => {
    expect(lockedMap()).toBe('goes on');
    full();
    expect([lockedMap(), plainMap()]).toEqual(['EAGAIN', 'goes on']);
  });

  test('in a mapping of secret memory, which a process of VFIO has in the window', () => {
    expect(program.make('memfd_secret', 0)).toBe('goes on');
    const fd = open('/dev/vfio/vfio');
    expect(program.make('memfd_secret', 1)).toBe('goes on');
    const secret = program.make('memfd_secret', O_CLOEXEC);
    if (secret === 'goes on') return; // the host has none
    expect(secret).toBe(fd + 1);
    expect(program.closesOnExec(secret as number)).toBe(1);
    const map = (): number | string => program.make('mmap', 0, 4096, 3, MAP_SHARED, secret, 0);
    expect(map()).toBe('goes on');
    full();
    expect(map()).toBe('EAGAIN');
  });
});
