import { describe, expect, test } from 'vitest';
import { formatPciAddress, notPciAddress, parsePciAddress } from '../../src/abi/pci-address.js';

describe('a PCI address', () => {
  test.each([
    ['0000:02:00.0', { segment: 0, bus: 2, devfn: 0 }, '0000:02:00.0'],
    ['02:00.0', { segment: 0, bus: 2, devfn: 0 }, '0000:02:00.0'],
    ['ABCD:EF:1F.7', { segment: 0xabcd, bus: 0xef, devfn: 0xff }, 'abcd:ef:1f.7'],
    ['0000:00:04.1', { segment: 0, bus: 0, devfn: 33 }, '0000:00:04.1'],
  ])('%s is parsed, and spelt as sysfs does', (text, address, spelt) => {
    expect(parsePciAddress(text)).toEqual(address);
    expect(formatPciAddress(address)).toBe(spelt);
  });

  test.each([
    '',
    '0000:02:00',
    '0000:02:20.0',
    '0000:02:00.8',
    '000:02:00.0',
    '10000:02:00.0',
    '0000:2:00.0',
    '0000:02:00.0 ',
    ' 0000:02:00.0',
    '0000:02:00.0\n',
    '0x00:02:00.0',
    '0000-02-00.0',
    'g000:02:00.0',
  ])('%j is none', (text) => {
    expect(parsePciAddress(text)).toBeNull();
  });

  test('an error quotes the text and shows what is expected', () => {
    expect(notPciAddress('02:0.0')).toBe(
      '"02:0.0" is not a PCI address; expected DDDD:BB:DD.F in hexadecimal ' +
        '(device up to 1f, function up to 7), for example 0000:02:00.0',
    );
  });
});
