import { expect, it } from 'vitest';
import { PciCapability, PciRegionIndex } from '../../src/abi/pci.js';
import { AbsentFunction } from '../../src/vfio/absent-function.js';
import { findCapability, memoryEnabled } from '../../src/vfio/config-access.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';

const { CONFIG, BAR0 } = PciRegionIndex;
/** A list of MSI at 0x40, power management at 0x50 and PCI Express at 0x60. */
const list = { 6: 0x10, 52: 0x43, 64: 0x05, 65: 0x53, 80: 0x01, 81: 0x60, 96: 0x10 };

/** A function whose config space has these bytes, and zeros. */
function withConfig(bytes: Record<number, number>): PciFunction {
  const config = new Uint8Array(256);
  for (const [at, byte] of Object.entries(bytes)) config[Number(at)] = byte;
  return {
    readRegion: (_index: number, offset: number, into: Uint8Array) =>
      into.set(config.subarray(offset, offset + into.length)),
  } as unknown as PciFunction;
}

it('a capability is found by its id along the list, and a list that never ends has an end', () => {
  const find = (bytes: Record<number, number>, id: number) => findCapability(withConfig(bytes), id);
  expect([0x05, PciCapability.PM, 0x10, 0x11].map((id) => find(list, id))).toEqual([
    ...[0x40, 0x50, 0x60, 0],
  ]);
  // Two entries that lead to each other; no list at all.
  expect(find({ ...list, 81: 0x40 }, 0x10)).toBe(0);
  expect(find({ ...list, 6: 0 }, 0x05)).toBe(0);
});

it('memory is decoded where the command register says so and the function is not in D3hot', () => {
  const isOn = (command: number, power: number) =>
    memoryEnabled(withConfig({ ...list, 4: command, 84: power }));
  expect([isOn(2, 0), isOn(5, 0), isOn(2, 3), isOn(2, 2), isOn(2, 0x80)]).toEqual([
    ...[true, false, false, true, true],
  ]);
  expect(memoryEnabled(withConfig({ 4: 2, 84: 3 }))).toBe(true);
});

it('a function that has gone reads as ones, but for its power state, which is D0', () => {
  const absent = new AbsentFunction(withConfig(list));
  const read = (index: number, offset: number, bytes: number) => {
    const into = new Uint8Array(bytes);
    absent.readRegion(index, offset, into);
    return [...into];
  };
  expect(read(BAR0, 0, 4)).toEqual([0xff, 0xff, 0xff, 0xff]);
  expect(read(CONFIG, 0x54, 2)).toEqual([0xfc, 0xff]);
  expect(read(CONFIG, 0x52, 4)).toEqual([0xff, 0xff, 0xfc, 0xff]);
  expect(read(CONFIG, 0x52, 2)).toEqual([0xff, 0xff]);
  expect(read(CONFIG, 0x55, 1)).toEqual([0xff]);
  expect(read(BAR0, 0x54, 1)).toEqual([0xff]);
  new AbsentFunction(withConfig({})).readRegion(CONFIG, 0, new Uint8Array(4));
});
