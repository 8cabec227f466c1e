import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { DeviceOptions } from '../../src/device/options.js';
import { bytes } from '../../src/input/schemas.js';
import { formatSize, parseSize, SIZE_EXPECTED } from '../../src/input/size.js';
import { parseUserFile } from '../../src/input/user-file.js';

const good: [string, number][] = [
  ['0', 0],
  ['4096', 4096],
  ['0x1000', 4096],
  ['0XfF', 255],
  ['512K', 2 ** 19],
  ['64M', 2 ** 26],
  ['64m', 2 ** 26],
  ['64MiB', 2 ** 26],
  ['3G', 3 * 2 ** 30],
  ['8191T', 8191 * 2 ** 40],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
];
const bad = [
  ['', 'nothing'],
  ['M', 'a suffix alone'],
  ['-1', 'a sign'],
  ['1.5G', 'a fraction'],
  ['1e3', 'an exponent'],
  ['64 M', 'a space'],
  ['64MB', 'a unit that is 10^6 to some'],
  ['64B', 'a unit without a suffix'],
  ['1P', 'an unknown suffix'],
  ['0x', 'no digits'],
  ['0x10K', 'a suffix behind hexadecimal'],
  ['8192T', 'more than 2^53 - 1'],
  ['9007199254740992', 'more than 2^53 - 1'],
] as const;

/** What a device option makes of a text. */
function option(text: string): number {
  return new DeviceOptions('disk', { size: '' }, { size: text }).size('size', 0);
}

/** What a file makes of a value, as YAML has it. */
function inFile(value: string): number {
  const schema = z.strictObject({ size: bytes });
  return parseUserFile(`size: ${value}\n`, 'f', schema).data.size;
}

describe('a size', () => {
  test.each(good)('%s is %d bytes, in options and in files', (text, size) => {
    expect(parseSize(text)).toBe(size);
    expect(option(text)).toBe(size);
    expect(inFile(`"${text}"`)).toBe(size);
  });

  test.each(bad)('%s is refused: %s', (text) => {
    expect(parseSize(text)).toBeNaN();
    expect(() => option(text)).toThrow(`size takes ${SIZE_EXPECTED}`);
    expect(() => inFile(`"${text}"`)).toThrow(`f:1: size: must be ${SIZE_EXPECTED}`);
  });

  test.each(['-1', '1.5', '1e21', '.inf', 'true', '[1]', '~'])('YAML %s is refused', (value) => {
    expect(() => inFile(value)).toThrow(`f:1: size: must be ${SIZE_EXPECTED}`);
  });

  test('a number of YAML is bytes', () => {
    expect(inFile('4096')).toBe(4096);
    expect(inFile('0x1000')).toBe(4096);
  });

  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [24.8 * 2 ** 20, '24.8 MiB'],
    [33.02 * 2 ** 20, '33 MiB'],
    [99.4 * 2 ** 20, '99.4 MiB'],
    [100.4 * 2 ** 20, '100 MiB'],
    [240.4 * 2 ** 20, '240 MiB'],
    [2 ** 52, '4096 TiB'],
    [-2048, '-2 KiB'],
  ])('%d bytes are shown as %s', (size, text) => {
    expect(formatSize(size)).toBe(text);
  });
});
