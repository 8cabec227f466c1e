import { describe, expect, it } from 'vitest';
import { PciCommand } from '../../src/abi/pci.js';
import { edu } from '../../src/device/edu/kind.js';
import { EDU_BUFFER, EduRegister } from '../../src/device/edu/registers.js';
import { OptionError } from '../../src/device/options.js';
import { command, hex, Program, read, read32, write32 } from './program.js';

function started(options: Record<string, string> = {}) {
  const program = new Program({ pages: 64 });
  const device = edu.create(options, program.surroundings);
  device.open(program.sink);
  command(device, PciCommand.MEMORY | PciCommand.MASTER);
  const set = (register: number, value: number) => write32(device, 0, register, value);
  const get = (register: number) => read32(device, 0, register);
  /** A DMA transfer as a program does it. */
  const copy = (source: number, destination: number, count: number, bits: number) => {
    set(EduRegister.DMA_SOURCE, source);
    set(EduRegister.DMA_DESTINATION, destination);
    set(EduRegister.DMA_COUNT, count);
    set(EduRegister.DMA_COMMAND, bits | 1);
  };
  return { program, device, set, get, copy };
}

describe('edu registers through pread and pwrite', () => {
  it('identify, answer the liveness check, and read as a real device for odd sizes', () => {
    const { device, get, set } = started();
    expect(get(EduRegister.IDENTIFICATION)).toBe(0x010000ed);
    set(EduRegister.LIVENESS, 0x12345678);
    expect(get(EduRegister.LIVENESS)).toBe(0xedcba987);
    // Recorded: test/vectors device.json, edu-bar-pread.
    expect(hex(read(device, 0, 0, 1))).toBe('00');
    expect(hex(read(device, 0, 0, 3))).toBe('000000');
    expect(hex(read(device, 0, 2, 4))).toBe('00000000');
    expect(hex(read(device, 0, 0, 4))).toBe('ed000001');
    expect(get(0x2000)).toBe(0xffffffff);
  });

  it('the identification cannot be written', () => {
    const { get, set } = started();
    set(EduRegister.IDENTIFICATION, 0);
    expect(get(EduRegister.IDENTIFICATION)).toBe(0x010000ed);
  });

  it('a factorial is there at the next read, modulo 2^32', () => {
    const { get, set } = started();
    for (const [value, product] of [
      [0, 1],
      [1, 1],
      [10, 3628800],
      [13, 1932053504],
      [33, 2147483648],
      [34, 0],
      [0xffffffff, 0],
    ] as const) {
      set(EduRegister.FACTORIAL, value);
      expect(get(EduRegister.STATUS) & 1).toBe(0);
      expect(get(EduRegister.FACTORIAL)).toBe(product);
    }
  });

  it('a finished factorial interrupts where it was asked for', () => {
    const { get, set, program } = started();
    set(EduRegister.FACTORIAL, 5);
    expect(program.sink.take()).toEqual([]);
    set(EduRegister.STATUS, 0xff);
    expect(get(EduRegister.STATUS)).toBe(0x80);
    set(EduRegister.FACTORIAL, 5);
    expect(get(EduRegister.INTERRUPT_STATUS)).toBe(1);
    expect(program.sink.take()).toEqual(['intx 1']);
  });

  it('the pin stays asserted until every event is acknowledged', () => {
    const { get, set, program } = started();
    set(EduRegister.INTERRUPT_RAISE, 6);
    set(EduRegister.INTERRUPT_RAISE, 8);
    expect(get(EduRegister.INTERRUPT_STATUS)).toBe(14);
    set(EduRegister.INTERRUPT_ACKNOWLEDGE, 6);
    expect(program.sink.take()).toEqual(['intx 1']);
    set(EduRegister.INTERRUPT_ACKNOWLEDGE, 8);
    expect(program.sink.take()).toEqual(['intx 0']);
  });

  it('with MSI on, each event is a message and the pin is silent', () => {
    const { set, program, device } = started();
    device.interruptsEnabled(1, 1);
    set(EduRegister.INTERRUPT_RAISE, 1);
    set(EduRegister.INTERRUPT_RAISE, 1);
    expect(program.sink.take()).toEqual(['msi 0', 'msi 0']);
  });
});

describe('edu DMA', () => {
  it('copies from memory into its buffer and from there to memory, and is idle afterwards', () => {
    const { program, copy, get } = started();
    program.memory.bytes.set([1, 2, 3, 4, 5], 5000);
    copy(program.iova(5000), EDU_BUFFER + 10, 5, 0);
    expect(get(EduRegister.DMA_COMMAND) & 1).toBe(0);
    copy(EDU_BUFFER + 9, program.iova(9000), 7, 2);
    expect(hex(program.memory.bytes.subarray(8999, 9008))).toBe('000001020304050000');
  });

  it('interrupts at the end where it was asked for', () => {
    const { program, copy, get } = started();
    copy(program.iova(0), EDU_BUFFER, 4096, 4);
    expect(get(EduRegister.INTERRUPT_STATUS)).toBe(0x100);
    expect(program.sink.take()).toEqual(['intx 1']);
  });

  it('a read that is refused gives zeros, a write that is refused is dropped', () => {
    const { program, copy } = started();
    const askers: (string | null)[] = [];
    Object.assign(program.iommu, {
      incidents: {
        accessRefused: (..._: [unknown, number, number, string, () => string | null]) =>
          askers.push(_[4]()),
      },
    });
    program.memory.bytes.fill(0xab, 0, 8192);
    copy(program.iova(0), EDU_BUFFER, 64, 0);
    copy(0x1000, EDU_BUFFER + 8, 8, 0);
    copy(EDU_BUFFER, 0x1000, 64, 2);
    expect(askers).toEqual([
      'DMA command 0x1: 8 bytes from 0x1000 to buffer+0x8',
      'DMA command 0x3: 64 bytes from buffer+0x0 to 0x1000',
    ]);
    copy(EDU_BUFFER, program.iova(8192), 24, 2);
    expect(hex(program.memory.bytes.subarray(8192, 8192 + 24))).toBe(
      'abababababababab0000000000000000abababababababab',
    );
  });

  it('a transfer that leaves the buffer does nothing', () => {
    const { program, copy } = started();
    program.memory.bytes.fill(0xab, 0, 4096);
    copy(program.iova(0), EDU_BUFFER, 4096, 0);
    const before = program.memory.bytes.slice(0, 65536);
    copy(EDU_BUFFER + 1, program.iova(8192), 4096, 2);
    copy(EDU_BUFFER - 1, program.iova(8192), 16, 2);
    copy(0, program.iova(8192), 16, 2);
    expect(Buffer.compare(program.memory.bytes.subarray(0, 65536), before)).toBe(0);
  });

  it('with bus mastering off nothing is copied', () => {
    const { program, copy, device } = started();
    command(device, PciCommand.MEMORY);
    program.memory.bytes.fill(0xab, 0, 4096);
    copy(EDU_BUFFER, program.iova(0), 4096, 2);
    expect(program.memory.bytes[0]).toBe(0xab);
    expect(program.memory.calls).toBe(0);
  });

  it('addresses are cut to 28 bits, or to dma_mask', () => {
    const { program, copy } = started();
    program.memory.bytes[0] = 0x77;
    copy(program.iova(0) + 2 ** 28, EDU_BUFFER, 1, 0);
    copy(EDU_BUFFER, program.iova(1), 1, 2);
    expect(program.memory.bytes[1]).toBe(0x77);
    const wide = started({ dma_mask: '0xffffffffff' });
    wide.program.domain.map(2 ** 17, 60, 1, 3);
    wide.program.memory.bytes[0] = 0x66;
    wide.copy(wide.program.iova(0), EDU_BUFFER, 1, 0);
    wide.copy(EDU_BUFFER, 2 ** 29 + 4, 1, 2);
    expect(wide.program.memory.bytes[60 * 4096 + 4]).toBe(0x66);
  });
});

describe('edu through a mapped BAR', () => {
  it('traps as a whole', () => {
    const { device } = started();
    const { mappable, size, trapped } = device.regions[0]!;
    expect(mappable).toBe(true);
    expect(trapped).toEqual([{ offset: 0, size }]);
  });

  it('mmap=sparse leaves nothing to map; each access counts either way', () => {
    const { device, get, set } = started({ mmap: 'sparse' });
    expect(device.regions[0]!.mappable).toBe(false);
    set(EduRegister.LIVENESS, 5);
    set(EduRegister.LIVENESS, 0xfffffffa);
    expect(get(EduRegister.LIVENESS)).toBe(5);
  });
});

describe('edu life', () => {
  it('release forgets registers, buffer and bus mastering, and lets the pin go', () => {
    const { program, device, set, copy, get } = started();
    program.memory.bytes.fill(1, 0, 16);
    copy(program.iova(0), EDU_BUFFER, 16, 0);
    set(EduRegister.INTERRUPT_RAISE, 1);
    device.release();
    expect(device.poll()).toBe(false);
    device.open(program.sink);
    expect(get(EduRegister.INTERRUPT_STATUS)).toBe(0);
    copy(EDU_BUFFER, program.iova(0), 16, 2);
    expect(program.memory.bytes[0]).toBe(1);
    command(device, PciCommand.MASTER);
    copy(EDU_BUFFER, program.iova(0), 16, 2);
    expect(program.memory.bytes[0]).toBe(0);
  });

  it('R7.1: faultable= says where it can wait, for its group too, and then it takes no first stage', () => {
    const make = (faultable: string) => {
      const { surroundings } = new Program();
      const { dmaUnmap } = edu.create({ faultable }, surroundings);
      return [surroundings.iommu.faultable, surroundings.iommu.stalls, dmaUnmap !== undefined];
    };
    expect(make('none')).toEqual([[], false, true]);
    expect(make('0x1000-0x3000+65536-0x20000')).toEqual([
      [
        { first: 1, end: 3 },
        { first: 16, end: 32 },
      ],
      false,
      true,
    ]);
    const plain = edu.create({}, new Program().surroundings);
    expect([plain.iommu.stalls, plain.dmaUnmap]).toEqual([true, undefined]);
  });

  it('a wrong option is told with what is allowed', () => {
    const make = (options: Record<string, string>) => () =>
      edu.create(options, new Program().surroundings);
    expect(make({ size: '1' })).toThrow(
      new OptionError("device edu has no option 'size'; it takes dma_mask, faultable, mmap"),
    );
    expect(make({ dma_mask: '0xff0' })).toThrow(
      /dma_mask=0xff0 is not valid; dma_mask takes 2\^n - 1/,
    );
    for (const range of ['', '0x0', '0x0-0x1', '0x1000-0x1000', '0x2000-0x1000', '0x0-0x1000,'])
      expect(make({ faultable: range })).toThrow(/is not valid; faultable takes none, or ranges/);
    expect(make({ mmap: 'yes' })).toThrow(/mmap=yes is not valid; mmap takes one of whole, sparse/);
  });
});
