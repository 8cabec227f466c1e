import { describe, expect, it } from 'vitest';
import { ChecksumRegister, checksum } from '../../examples/device-in-50-lines/checksum.js';
import { command, Program, read32, write32 } from './program.js';

describe('examples/device-in-50-lines', () => {
  function started(faulting: boolean) {
    const program = new Program({ pages: 64, faulting });
    const device = checksum.create({}, program.surroundings);
    device.open(program.sink);
    command(device, 6);
    const sum = (offset: number, length: number) => {
      write32(device, 0, ChecksumRegister.ADDRESS, program.iova(offset));
      write32(device, 0, ChecksumRegister.LENGTH, length);
      write32(device, 0, ChecksumRegister.GO, 1);
      return read32(device, 0, ChecksumRegister.SUM);
    };
    return { program, device, sum };
  }

  it('adds up memory through the IOMMU and raises its interrupt', () => {
    const { program, device, sum } = started(false);
    program.memory.bytes.fill(2, 4000, 9000);
    expect(sum(4000, 5000)).toBe(10000);
    expect(program.sink.take()).toEqual(['intx 1']);
    device.reset();
    expect(program.sink.take()).toEqual(['intx 0']);
    device.interruptsEnabled(1, 1);
    expect(sum(8999, 3)).toBe(2);
    expect(program.sink.take()).toEqual(['msi 0']);
  });

  it('R2.1: faults in the pages that it touches, and no others', () => {
    const { program, sum } = started(true);
    program.memory.bytes.fill(1);
    expect(sum(4095, 4098)).toBe(4098);
    expect(program.faults).toEqual([0x100, 0x101, 0x102]);
  });

  it('tells when its access was refused, and does nothing without bus mastering', () => {
    const { program, device, sum } = started(false);
    expect(sum(-4096, 4)).toBe(0xffffffff);
    command(device, 2);
    expect(sum(0, 4)).toBe(0xffffffff);
    expect(program.memory.calls).toBe(0);
  });
});
