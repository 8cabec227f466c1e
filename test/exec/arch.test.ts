import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { architecture } from '../../src/exec/arch/index.js';
import { encodeDeviceNumber } from '../../src/exec/machine/device-node.js';
import { allocateNative, syscall } from '../../src/mm/process/libc.js';
import { available } from '../skip.js';

const x64 = architecture('x64')!;
const arm64 = architecture('arm64')!;

/** Linux's headers as Debian installs them (linux-libc-dev): those of x86-64, and the generic. */
const x64Calls = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h';
const genericCalls = '/usr/include/asm-generic/unistd.h';
const genericFlags = '/usr/include/asm-generic/fcntl.h';
/** The same for arm64 (linux-libc-dev-arm64-cross), which few machines have. */
const arm64Flags = '/usr/aarch64-linux-gnu/include/asm/fcntl.h';

/** Whether a header is there, to compare with. */
function has(path: string, compared: string): boolean {
  return available(existsSync(path), compared, `this machine has no ${path}`);
}

/** What a header defines as plain numbers, octal and decimal; of several the first. */
function numbersIn(path: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, name, value] of readFileSync(path, 'latin1').matchAll(
    /^#define\s+(\w+)\s+(\d+)\b/gm,
  ))
    if (!found.has(name!))
      found.set(name!, Number.parseInt(value!, value!.startsWith('0') ? 8 : 10));
  return found;
}

describe.skipIf(!has(genericCalls, 'calls and flags'))("against Linux's own headers", () => {
  test.skipIf(!has(x64Calls, 'x86-64 calls'))('the calls of x86-64 have their numbers', () => {
    const numbers = numbersIn(x64Calls);
    const expected = Object.keys(x64.nr).map((name) => [name, numbers.get(`__NR_${name}`)]);
    expect(Object.entries(x64.nr)).toEqual(expected);
  });

  test('the calls of arm64 are those of the generic table', () => {
    const numbers = numbersIn(genericCalls);
    const generic = (name: string): number | undefined =>
      numbers.get(`__NR_${name}`) ??
      numbers.get(`__NR3264_${name === 'newfstatat' ? 'fstatat' : name}`);
    const expected = Object.keys(arm64.nr).map((name) => [name, generic(name)]);
    expect(Object.entries(arm64.nr)).toEqual(expected);
  });

  test('no call is missing on arm64 that it has, and it lacks fourteen of x86-64', () => {
    const generic = new Set(
      [...numbersIn(genericCalls).keys()].map((name) => name.replace(/^__NR(3264)?_/, '')),
    );
    const missing = Object.keys(x64.nr).filter((name) => !(name in arm64.nr));
    expect(
      missing.filter((name) => name !== 'stat' && name !== 'lstat' && generic.has(name)),
    ).toEqual([]);
    expect(missing.sort()).toEqual([
      'access',
      'chmod',
      'dup2',
      'eventfd',
      'fork',
      'lstat',
      'mkdir',
      'open',
      'readlink',
      'rmdir',
      'stat',
      'tuxcall',
      'unlink',
      'vfork',
    ]);
  });

  test('the flags of open on x86-64 are the generic ones', () => {
    const numbers = numbersIn(genericFlags);
    const names = Object.keys(x64.openFlags);
    expect(Object.entries(x64.openFlags)).toEqual(names.map((name) => [name, numbers.get(name)]));
  });

  test.skipIf(!has(arm64Flags, 'flags of arm64'))(
    'arm64 has four flags of its own, and the generic',
    () => {
      const numbers = new Map([...numbersIn(genericFlags), ...numbersIn(arm64Flags)]);
      const names = Object.keys(arm64.openFlags);
      expect(Object.entries(arm64.openFlags)).toEqual(
        names.map((name) => [name, numbers.get(name)]),
      );
    },
  );
});

test.each([x64, arm64])('$name: no two calls, and no two flags of open, are one number', (arch) => {
  for (const table of [arch.nr, arch.openFlags]) {
    const numbers = Object.values(table);
    expect(new Set(numbers).size).toBe(numbers.length);
  }
});

test('fields lie inside their structs', () => {
  for (const { stat, epollEvent } of [x64, arm64]) {
    expect(stat.rdev + 8).toBeLessThanOrEqual(stat.bytes);
    expect(stat.mode + 4).toBeLessThanOrEqual(stat.rdev);
    expect(epollEvent.data + 8).toBe(epollEvent.bytes);
  }
});

test.skipIf(architecture(process.arch) === null)(
  'the kernel fills struct stat of /dev/null as this machine’s layout says',
  () => {
    const { nr, stat } = architecture(process.arch)!;
    const memory = allocateNative(4096);
    const view = new DataView(memory.bytes.buffer);
    memory.bytes.set(Buffer.from('/dev/null\0'), 2048);
    memory.bytes.fill(0xff, 0, 1024);
    const AT_FDCWD = -100;
    const path = memory.address + 2048;
    expect(syscall(nr.newfstatat, AT_FDCWD, path, memory.address, 0, 0, 0)).toBe(0);
    expect(view.getUint32(stat.mode, true) & 0o170000).toBe(0o020000);
    expect(view.getUint32(stat.rdev, true)).toBe(encodeDeviceNumber({ major: 1, minor: 3 }));
    expect(view.getUint8(stat.bytes - 1)).toBe(0);
    expect(view.getUint8(stat.bytes)).toBe(0xff);
  },
);

test('there are no other architectures', () => {
  expect(architecture('riscv64')).toBe(null);
});
