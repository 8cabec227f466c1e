import { describe, expect, test } from 'vitest';
import { Process } from '../../src/conformance/process.js';
import { ProcessMemory } from '../../src/conformance/process-memory.js';
import type { Caller } from '../../src/file/caller.js';
import { DescriptorList } from '../../src/file/descriptor-list.js';
import type { VfioFile } from '../../src/file/file.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';

const file = { kind: 'fault-queue', name: 'queue', ioctl: () => 0 } as unknown as VfioFile;
const memory = { zeroPageUnshared: true, lockLimitPages: 16, ipcLock: true };

const callers: [string, () => Pick<Caller, 'file' | 'install' | 'reserve'>][] = [
  ['a list of descriptors', () => new DescriptorList()],
  ['a process of a replay', () => new Process(ProcessMemory.create(new SimulatedMemory(), memory))],
];

describe.each(callers)('a descriptor that %s reserves', (_, make) => {
  test('means nothing until it is installed, and then its file', () => {
    const caller = make();
    const reserved = caller.reserve(file);
    expect(caller.file(reserved.number)).toBe(null);
    reserved.install();
    expect(caller.file(reserved.number)).toEqual({ kind: 'vfio', file });
  });

  test('has a number that no other file has, or gets meanwhile', () => {
    const caller = make();
    const before = caller.install(file);
    expect(caller.file(before)).toEqual({ kind: 'vfio', file });
    const reserved = caller.reserve(file);
    const later = [0, 1, 2].map(() => caller.install(file));
    expect([before, ...later]).not.toContain(reserved.number);
    expect(caller.file(reserved.number)).toBe(null);
  });

  test('means nothing once it is cancelled', () => {
    const caller = make();
    const reserved = caller.reserve(file);
    reserved.cancel();
    expect(caller.file(reserved.number)).toBe(null);
  });
});
