import { describe, expect, test } from 'vitest';
import { parseMachine } from '../../src/exec/machine/machine-file.js';
import { machineOfDevices, parseDevice } from '../../src/exec/machine/machine-spec.js';
import { UserError } from '../../src/input/user-error.js';
import { defaultGeometry } from '../../src/iommu/geometry.js';

const disk = {
  kind: 'nvme',
  address: '0000:02:00.0',
  options: { size: '64M' },
  canFault: true,
  where: '--device nvme@0000:02:00.0,size=64M',
};

describe('--device', () => {
  test('names kind, address and options', () => {
    expect(parseDevice('nvme@0000:02:00.0,size=64M')).toEqual(disk);
    expect(parseDevice('nvme@02:00.0,size=64M')).toEqual({
      ...disk,
      where: '--device nvme@02:00.0,size=64M',
    });
    expect(parseDevice('edu@0000:AB:1F.7,fault=off')).toEqual({
      kind: 'edu',
      address: '0000:ab:1f.7',
      options: {},
      canFault: false,
      where: '--device edu@0000:AB:1F.7,fault=off',
    });
  });

  test.each([
    'nvme',
    '@0000:02:00.0',
    'nvme@',
    'nvme@0000:02:20.0',
    'nvme@0000:02:00.8',
    'nvme@0000:02:00.0,size',
    'nvme@0000:02:00.0,size=64M,size=32M',
    'nvme@0000:02:00.0,fault=maybe',
  ])('refuses %s', (text) => {
    expect(() => parseDevice(text)).toThrow(UserError);
  });
});

describe('a machine file', () => {
  const groups =
    'groups:\n  - devices:\n      - kind: nvme\n        address: 0000:02:00.0\n        options: { size: 64M }\n';

  test('without an IOMMU means the same machine as --device', () => {
    expect(parseMachine(groups, 'm')).toEqual(machineOfDevices([{ ...disk, where: 'm:3' }]));
  });

  test('may set the geometry', () => {
    const text = `iommu:\n  addressWidth: 39\n  reserved:\n    - { start: 0x1000, size: 8K }\n${groups}`;
    expect(parseMachine(text, 'm').geometry).toEqual({
      ...defaultGeometry,
      addressWidth: 39,
      reserved: [{ firstPage: 1, pages: 2, kind: 'reserved' }],
    });
  });

  test.each([
    [
      'a wrong key',
      `iommu:\n  addresswidth: 39\n${groups}`,
      'm:2: iommu.addresswidth: unknown key "addresswidth"; allowed here: addressWidth, snoopControl, interruptRemapping, reserved',
    ],
    [
      'a wrong top-level key',
      `${groups}grups: []\n`,
      'm:6: grups: unknown key "grups"; allowed here: schema, iommu, vfio, groups',
    ],
    ['a value out of range', `iommu:\n  addressWidth: 64\n${groups}`, 'm:2: iommu.addressWidth: '],
    [
      'a bad address',
      groups.replace('02:00.0', '02:00.9'),
      'm:4: groups.0.devices.0.address: "0000:02:00.9" is not a PCI address',
    ],
    [
      'a range that is not of whole pages',
      `iommu:\n  reserved:\n    - { start: 100, size: 4K }\n${groups}`,
      'm:3: iommu.reserved.0: ',
    ],
    ['neither groups nor `iommu: none`', 'vfio: {}\n', 'm:1: needs groups:, or iommu: none'],
    ['no group', 'groups: []\n', 'm:1: groups: must list at least one group'],
    ['an empty file', '', 'm:1: must be a mapping with groups:'],
    [
      'a group of a machine without an IOMMU',
      `iommu: none\n${groups}`,
      'm:2: groups: a machine without an IOMMU (iommu: none) has no groups',
    ],
    [
      'a group twice',
      `${groups.replace('- devices', '- number: 4\n    devices')}${groups.replace('groups:\n', '').replace('- devices', '- number: 4\n    devices').replace('02:00', '03:00')}`,
      'm:7: groups.1.number: there is already a group 4',
    ],
  ])('says where %s stands and what is allowed', (_, text, message) => {
    let said = '';
    try {
      parseMachine(text, 'm');
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      said = (error as Error).message;
    }
    expect(said.slice(0, message.length)).toBe(message);
  });
});
