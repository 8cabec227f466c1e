import { describe, expect, it } from 'vitest';
import { PciCommand, PciRegionIndex } from '../../src/abi/pci.js';
import { edu } from '../../src/device/edu/kind.js';
import { nvme } from '../../src/device/nvme/kind.js';
import { command, hex, Program, read, read32, write32 } from './program.js';

const CONFIG = PciRegionIndex.CONFIG;

function opened(kind: typeof nvme) {
  const program = new Program();
  const device = kind.create({}, program.surroundings);
  device.open(program.sink);
  return { program, device };
}

describe('config space as a real vfio-pci showed it', () => {
  it('nvme: header and capabilities are those of the recording', () => {
    const { device } = opened(nvme);
    expect(hex(read(device, CONFIG, 0, 64))).toBe(
      '361b10000301100002020801000000000400c0fd0000000000000000000000000000000000000000' +
        '00000000f41a00110000000040000000000000000a010000',
    );
    expect(hex(read(device, CONFIG, 0x40, 192))).toBe(
      '11804000002000000030000000000000000000000000000000000000000000000100030008000000' +
        '00000000000000000000000000000000000000000000000010600200008000100000000011040000' +
        '00001100000000000000000000000000000000000000300000000000000000000000000000000000' +
        '00000000000000000000000000000000000000000000000000000000000000000000000000000000' +
        '0000000000000000000000000000000000000000000000000000000000000000',
    );
    expect(hex(read(device, CONFIG, 0x100, 64))).toBe('00'.repeat(64));
  });

  it('edu: header and capabilities are those of the recording', () => {
    const { device } = opened(edu);
    expect(hex(read(device, CONFIG, 0, 64))).toBe(
      '3412e811030110001000ff0000000000000000fe0000000000000000000000000000000000000000' +
        '00000000f41a00110000000040000000000000000b010000',
    );
    expect(hex(read(device, CONFIG, 0x40, 192))).toBe(`05008000${'00'.repeat(188)}`);
  });

  it('nvme: regions, interrupts and reset are those of the recording', () => {
    const { device } = opened(nvme);
    expect(device.regions).toHaveLength(9);
    expect(device.regions[0]).toEqual({
      size: 0x4000,
      readable: true,
      writable: true,
      mappable: true,
      msixMappable: true,
      trapped: [{ offset: 0, size: 0x1000 }],
    });
    expect(device.regions.slice(1, 7).every(({ size }) => size === 0)).toBe(true);
    expect(device.regions[7]).toMatchObject({ size: 4096, mappable: false });
    expect(device.interruptCounts).toEqual([1, 0, 65, 1, 1]);
    expect(device.resettable).toBe(true);
  });

  it('nvme: where no access traps, its doorbells are looked at, and all of the region is mapped', () => {
    const { surroundings } = new Program();
    const host = { ...surroundings.host, traps: false };
    const { mappable, sparse, trapped } = nvme.create({}, { ...surroundings, host }).regions[0]!;
    expect([mappable, sparse, trapped]).toEqual([true, undefined, undefined]);
  });

  it('edu: regions, interrupts and reset are those of the recording', () => {
    const { device } = opened(edu);
    expect(device.regions[0]).toEqual({
      size: 0x100000,
      readable: true,
      writable: true,
      mappable: true,
      trapped: [{ offset: 0, size: 0x100000 }],
    });
    expect(device.regions[7]).toMatchObject({ size: 256 });
    expect(device.interruptCounts).toEqual([1, 1, 0, 0, 1]);
    expect(device.resettable).toBe(false);
  });

  it("ids cannot be written; a BAR tells its size; the interrupt line is the program's", () => {
    for (const [kind, size] of [
      [nvme, '04c0ffff'],
      [edu, '0000f0ff'],
    ] as const) {
      const { device } = opened(kind);
      const ids = hex(read(device, CONFIG, 0, 4));
      device.writeRegion(CONFIG, 0, Uint8Array.of(0xff, 0xff));
      expect(hex(read(device, CONFIG, 0, 4))).toBe(ids);
      write32(device, CONFIG, 0x10, 0xffffffff);
      expect(hex(read(device, CONFIG, 0x10, 4))).toBe(size);
      write32(device, CONFIG, 0x10, 0);
      expect(read32(device, CONFIG, 0x10) & ~0xf).toBe(0);
      write32(device, CONFIG, 0x30, 0xfffff800);
      expect(read32(device, CONFIG, 0x30)).toBe(0);
      device.writeRegion(CONFIG, 0x3c, Uint8Array.of(0x0b));
      expect(hex(read(device, CONFIG, 0x3c, 1))).toBe('0b');
    }
  });

  it('the upper half of a 64-bit BAR is all size', () => {
    const { device } = opened(nvme);
    write32(device, CONFIG, 0x14, 0xffffffff);
    expect(read32(device, CONFIG, 0x14)).toBe(0xffffffff);
  });
});

describe('the command register', () => {
  it('opens with decoding on and bus mastering off, and keeps what is written of it', () => {
    const { device } = opened(nvme);
    expect(hex(read(device, CONFIG, 4, 2))).toBe('0301');
    command(device, 0x0107);
    expect(hex(read(device, CONFIG, 4, 2))).toBe('0701');
    command(device, 0xffff);
    expect(hex(read(device, CONFIG, 4, 2))).toBe('4705');
    command(device, 0);
    expect(hex(read(device, CONFIG, 4, 2))).toBe('0000');
    device.release();
    device.open({ intx() {}, msi() {}, msix() {} });
    expect(hex(read(device, CONFIG, 4, 2))).toBe('0301');
  });

  it('INTx disable silences the pin, and status tells that it is asserted all the same', () => {
    const { device, program } = opened(edu);
    write32(device, 0, 0x60, 1);
    expect(hex(read(device, CONFIG, 6, 2))).toBe('1800');
    command(device, PciCommand.MEMORY | PciCommand.INTX_DISABLE);
    command(device, PciCommand.MEMORY);
    expect(program.sink.take()).toEqual(['intx 1', 'intx 0', 'intx 1']);
  });
});

describe('interrupts', () => {
  it('MSI-X enable shows SET_IRQS and cannot be written; the table shows which vectors are in use', () => {
    const { device, program } = opened(nvme);
    const table = program.regions.get(0)!.bytes.subarray(0x2000);
    write32(device, CONFIG, 0x40, 0xffffffff);
    expect(hex(read(device, CONFIG, 0x40, 4))).toBe('11804000');
    device.interruptsEnabled(2, 3);
    expect(hex(read(device, CONFIG, 0x40, 4))).toBe('11804080');
    expect([0, 2, 3, 64].map((vector) => table[vector * 16 + 12])).toEqual([0, 0, 1, 1]);
    device.interruptsEnabled(2, 0);
    expect(hex(read(device, CONFIG, 0x40, 4))).toBe('11804000');
    expect(table[12]).toBe(1);
  });

  it("MSI enable shows SET_IRQS; message address and data are the program's own", () => {
    const { device } = opened(edu);
    device.writeRegion(CONFIG, 0x42, Uint8Array.of(0x01, 0x00));
    write32(device, CONFIG, 0x44, 0xfee00003);
    expect(hex(read(device, CONFIG, 0x40, 8))).toBe('050080000000e0fe');
    device.interruptsEnabled(1, 1);
    expect(hex(read(device, CONFIG, 0x40, 4))).toBe('05008100');
    device.release();
    expect(hex(read(device, CONFIG, 0x40, 4))).toBe('05008000');
  });

  it('the pin comes back when messages are switched off', () => {
    const { device, program } = opened(edu);
    write32(device, 0, 0x60, 1);
    device.interruptsEnabled(1, 1);
    device.interruptsEnabled(1, 0);
    expect(program.sink.take()).toEqual(['intx 1', 'intx 0', 'intx 1']);
  });
});

describe('reset and power', () => {
  const AQA = 0x24;

  it('FLR through the PCI Express capability resets the device and leaves config space', () => {
    const { device } = opened(nvme);
    command(device, 0x0107);
    write32(device, CONFIG, 0x10, 0xfebf0000);
    write32(device, 0, AQA, 0x00070007);
    device.writeRegion(CONFIG, 0x88, Uint8Array.of(0x10, 0x28));
    expect(read32(device, 0, AQA)).toBe(0x00070007);
    device.writeRegion(CONFIG, 0x88, Uint8Array.of(0x10, 0xa8));
    expect(read32(device, 0, AQA)).toBe(0);
    expect(hex(read(device, CONFIG, 0x88, 2))).toBe('1028');
    expect(read32(device, CONFIG, 0x10)).toBe(0xfebf0004);
    expect(hex(read(device, CONFIG, 4, 2))).toBe('0701');
  });

  it('a reset clears what a program has written into the mapped BAR', () => {
    const { device, program } = opened(nvme);
    const { bytes } = program.regions.get(0)!;
    bytes.fill(0xff);
    device.reset();
    expect(read32(device, 0, 0)).toBe(0x0f0107ff);
    expect(bytes[0x100]).toBe(0);
    expect(bytes[0x2000 + 12]).toBe(1);
  });

  it('in D3hot there is no DMA; D1 and D2 do not exist; a reset wakes', () => {
    const { device } = opened(nvme);
    command(device, 0x0107);
    device.writeRegion(CONFIG, 0x64, Uint8Array.of(2));
    expect(hex(read(device, CONFIG, 0x64, 2))).toBe('0800');
    device.writeRegion(CONFIG, 0x64, Uint8Array.of(3));
    expect(hex(read(device, CONFIG, 0x64, 2))).toBe('0b00');
    device.reset();
    expect(hex(read(device, CONFIG, 0x64, 2))).toBe('0800');
  });
});
