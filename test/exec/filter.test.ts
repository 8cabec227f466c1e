import { describe, expect, test } from 'vitest';
import { architecture, type SystemCall } from '../../src/exec/arch/index.js';
import {
  alwaysIntercepted,
  buildFilter,
  interceptedOnDescriptor,
} from '../../src/exec/seccomp/filter.js';

const x64 = architecture('x64')!;
const arm64 = architecture('arm64')!;
const window = { first: 960, end: 1024 };
const filtersOf = (traps: boolean) =>
  new Map(
    [x64, arm64].map((arch) => [arch, new DataView(buildFilter(arch, window, traps).buffer)]),
  );
const filters = filtersOf(false);
const trapping = filtersOf(true);

type Verdict = 'allow' | 'notify' | 'ENOSYS';
const verdicts = new Map<number, Verdict>([
  [0x7fff0000, 'allow'],
  [0x7fc00000, 'notify'],
  [0x00050026, 'ENOSYS'],
]);

/**
 * Runs the filter as the kernel would (classic BPF, as far as the filter uses it) on one system
 * call.
 */
function judge(
  nr: number,
  args: readonly number[],
  arch = x64,
  audit = arch.audit,
  from = filters,
): Verdict | undefined {
  const filter = from.get(arch)!;
  const data = new DataView(new ArrayBuffer(64));
  data.setInt32(0, nr, true);
  data.setUint32(4, audit, true);
  args.forEach((value, index) => {
    data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, BigInt(value)), true);
  });
  let accumulator = 0;
  for (let at = 0; at * 8 < filter.byteLength; at++) {
    const code = filter.getUint16(at * 8, true);
    const jumpTrue = filter.getUint8(at * 8 + 2);
    const jumpFalse = filter.getUint8(at * 8 + 3);
    const k = filter.getUint32(at * 8 + 4, true);
    if (code === 0x20) accumulator = data.getUint32(k, true);
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x15) at += accumulator === k ? jumpTrue : jumpFalse;
    else if (code === 0x35) at += accumulator >= k ? jumpTrue : jumpFalse;
    else if (code === 0x06) return verdicts.get(k);
    else throw new Error(`instruction 0x${code.toString(16)}`);
  }
  throw new Error('the filter has no end');
}

describe('the filter', () => {
  test.each<[string, Verdict, SystemCall, number[]]>([
    ['an ioctl of VFIO on any descriptor', 'notify', 'ioctl', [5, 0x3b64]],
    ['an ioctl of another type on our file', 'notify', 'ioctl', [970, 0x5401]],
    ['an ioctl of another type on another file', 'allow', 'ioctl', [5, 0x5401]],
    ['a read outside the window', 'allow', 'read', [959]],
    ['a read at the first number of the window', 'notify', 'read', [960]],
    ['a pread at the last number of the window', 'notify', 'pread64', [1023]],
    ['a write behind the window', 'allow', 'write', [1024]],
    ['a close in the window', 'notify', 'close', [1000]],
    ['a close of a low number', 'allow', 'close', [3]],
    ['dup2 from the window', 'notify', 'dup2', [961, 3]],
    ['dup2 into the window', 'notify', 'dup2', [3, 961]],
    ['dup2 elsewhere', 'allow', 'dup2', [3, 4]],
    ['dup3 into the window', 'notify', 'dup3', [3, 1023]],
    ['F_DUPFD of ours', 'notify', 'fcntl', [960, 0]],
    ['F_DUPFD_CLOEXEC of ours', 'notify', 'fcntl', [960, 1030]],
    ['F_GETFD of ours', 'allow', 'fcntl', [960, 1]],
    ['F_DUPFD of another', 'allow', 'fcntl', [3, 0]],
    ['close_range over everything', 'notify', 'close_range', [3, 0xffffffff]],
    ['close_range below the window', 'allow', 'close_range', [3, 900]],
    ['an ioctl of VFIO’s type alone', 'notify', 'ioctl', [5, 0x3b00]],
    ['UFFDIO_MOVE on any descriptor', 'notify', 'ioctl', [5, 0xc028aa05]],
    ['UFFDIO_WRITEPROTECT on any descriptor', 'notify', 'ioctl', [5, 0xc018aa06]],
    ['UFFDIO_COPY, which takes nothing away', 'allow', 'ioctl', [5, 0xc028aa03]],
    ['dup2 behind the window', 'allow', 'dup2', [1024, 1024]],
    ['close_range that begins in the window', 'notify', 'close_range', [1000, 1000]],
    ['close_range that ends at its first number', 'notify', 'close_range', [3, 960]],
    ['close_range that ends before it', 'allow', 'close_range', [3, 959]],
    ['shmat that may replace a mapping', 'notify', 'shmat', [1, 4096, 0o40000]],
    ['shmat to a free place', 'allow', 'shmat', [1, 0, 0o10000]],
    ['fallocate that makes a hole', 'notify', 'fallocate', [5, 3, 0, 4096]],
    ['fallocate that takes a range out', 'notify', 'fallocate', [5, 8, 0, 4096]],
    ['fallocate that zeroes a range', 'notify', 'fallocate', [5, 0x10, 0, 4096]],
    ['fallocate that puts a range in', 'notify', 'fallocate', [5, 0x20, 0, 4096]],
    ['fallocate that makes room', 'allow', 'fallocate', [5, 1, 0, 4096]],
    ['an anonymous mmap that locks its memory', 'notify', 'mmap', [0, 4096, 3, 0x2022, -1]],
    ['a clone that shares its memory alone', 'allow', 'clone', [0x100]],
    ['tuxcall, where nothing traps', 'allow', 'tuxcall', [0]],
    ['vfork, where nothing traps', 'allow', 'vfork', []],
    ['rt_sigprocmask, where nothing traps', 'allow', 'rt_sigprocmask', [0, 4096]],
    ['rt_sigaction, where nothing traps', 'allow', 'rt_sigaction', [11, 4096]],
    ['an anonymous mmap', 'allow', 'mmap', [0, 4096, 3, 0x22, -1]],
    ['mmap over something', 'notify', 'mmap', [4096, 4096, 3, 0x32, -1]],
    ['mmap that replaces nothing', 'allow', 'mmap', [4096, 4096, 3, 0x100022, -1]],
    ['mmap of our file', 'notify', 'mmap', [0, 4096, 3, 1, 960]],
    ['mmap of another file', 'allow', 'mmap', [0, 4096, 3, 2, 7]],
    ['an anonymous mmap that names a number of ours', 'allow', 'mmap', [0, 4096, 3, 0x22, 960]],
    ['a new thread', 'allow', 'clone', [0x3d0f00]],
    ['a new process', 'notify', 'clone', [0x1200011]],
    ['clone3, whose flags are in memory', 'notify', 'clone3', []],
    ['io_uring, which would go around all of this', 'ENOSYS', 'io_uring_setup', []],
    ['munmap', 'notify', 'munmap', []],
    ['openat', 'notify', 'openat', []],
  ])('%s: %s', (_, verdict, name, args) => {
    expect(judge(x64.nr[name]!, args)).toBe(verdict);
    const nr = arm64.nr[name];
    if (nr !== undefined) expect(judge(nr, args, arm64)).toBe(verdict);
  });

  test.each<[string, Verdict, SystemCall, (number | bigint)[]]>([
    ['tuxcall', 'notify', 'tuxcall', [0]],
    ['vfork', 'notify', 'vfork', []],
    ['rt_sigaction', 'notify', 'rt_sigaction', [10, 0]],
    ['rt_sigprocmask that blocks', 'notify', 'rt_sigprocmask', [0, 4096]],
    ['rt_sigprocmask with a set above 4 GiB', 'notify', 'rt_sigprocmask', [2, 2n ** 40n]],
    ['rt_sigprocmask that lets through', 'allow', 'rt_sigprocmask', [1, 4096]],
    ['rt_sigprocmask that only asks', 'allow', 'rt_sigprocmask', [0, 0]],
    ['a clone of a process that shares its memory', 'notify', 'clone', [0x100]],
    ['a new thread', 'allow', 'clone', [0x3d0f00]],
    ['io_uring', 'ENOSYS', 'io_uring_setup', []],
  ])('where registers trap, %s: %s', (_, verdict, name, args) => {
    const nr = x64.nr[name]!;
    expect(judge(nr, args as number[], x64, x64.audit, trapping)).toBe(verdict);
  });

  test.each([x64, arm64])('sees on $name what it must, whatever the arguments', (arch) => {
    const known = (name: SystemCall): boolean => arch.nr[name] !== undefined;
    const at = (name: SystemCall, fd: number) => judge(arch.nr[name]!, [fd], arch);
    for (const name of alwaysIntercepted.filter(known)) expect(at(name, 0), name).toBe('notify');
    for (const name of interceptedOnDescriptor.filter(known)) {
      const verdicts = [959, 960, 1023, 1024].map((fd) => at(name, fd));
      expect(verdicts, name).toEqual(['allow', 'notify', 'notify', 'allow']);
    }
  });

  test('refuses 32-bit and x32 calls, which have other numbers', () => {
    expect(judge(3, [], x64, 0x40000003)).toBe('ENOSYS');
    expect(judge(0x40000000 + 16, [0, 0x3b64])).toBe('ENOSYS');
  });

  test.each([x64, arm64])('lets every other call of $name pass', (arch) => {
    const ours = new Set<number>(Object.values(arch.nr));
    for (let nr = 0; nr < 500; nr++)
      if (!ours.has(nr)) expect(judge(nr, [960, 960, 960, 960, 960], arch)).toBe('allow');
  });

  test('refuses the 32-bit calls of arm64', () => {
    expect(judge(54, [5, 0x3b64], arm64, 0x40000028)).toBe('ENOSYS');
  });
});
