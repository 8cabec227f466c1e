import { expect, test } from 'vitest';
import { defaultGeometry, PAGE_1G, PAGE_2M, PAGE_4K } from '../../src/iommu/geometry.js';
import { capabilityRegister, extendedCapabilityRegister } from '../../src/iommu/vtd.js';

const field = (register: bigint, high: number, low: number): number =>
  Number((register >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));

test('CAP_REG says what the unit can (VT-d specification 11.4.2)', () => {
  const register = capabilityRegister({ ...defaultGeometry, addressWidth: 48 });
  expect({
    domains: 2 ** (4 + 2 * field(register, 2, 0)),
    cachingMode: field(register, 7, 7),
    levels: field(register, 12, 8),
    addressWidth: field(register, 21, 16) + 1,
    faultRecordsAt: 16 * field(register, 33, 24),
    superpages: field(register, 37, 34),
    pageSelective: field(register, 39, 39),
    faultRecords: field(register, 47, 40) + 1,
    invalidates: field(register, 53, 48),
    drains: field(register, 55, 54),
  }).toEqual({
    domains: 65536,
    cachingMode: 0,
    levels: 0b00110,
    addressWidth: 48,
    faultRecordsAt: 0x220,
    superpages: 3,
    pageSelective: 1,
    faultRecords: 1,
    invalidates: 18,
    drains: 3,
  });
});

test('a unit of 39 bits has three levels, one of 40 four', () => {
  const levels = (addressWidth: number) =>
    field(capabilityRegister({ ...defaultGeometry, addressWidth }), 12, 8);
  expect([levels(39), levels(40)]).toEqual([0b00010, 0b00110]);
});

test('superpages and caching mode are told where they are', () => {
  const capability = (pageSizes: number, cachingMode?: boolean) => {
    const register = capabilityRegister({
      ...defaultGeometry,
      pageSizes,
      ...(cachingMode === undefined ? {} : { cachingMode }),
    });
    return [field(register, 37, 34), field(register, 7, 7)];
  };
  expect(capability(PAGE_4K)).toEqual([0, 0]);
  expect(capability(PAGE_4K | PAGE_2M, true)).toEqual([1, 1]);
  expect(capability(PAGE_4K | PAGE_1G)).toEqual([2, 0]);
  const [on, off] = [true, false].map((cachingMode) =>
    capabilityRegister({ ...defaultGeometry, cachingMode }),
  );
  expect(on! - off!).toBe(0x80n);
});

test('ECAP_REG says whether interrupts are remapped and snooping is controlled (11.4.3)', () => {
  const register = (interruptRemapping: boolean, snoopControl: boolean) =>
    extendedCapabilityRegister({ ...defaultGeometry, interruptRemapping, snoopControl });
  expect(register(false, false)).toBe(0xf00f42n);
  expect(register(true, false)).toBe(0xf00f4an);
  expect(register(false, true)).toBe(0xf00fc2n);
});
