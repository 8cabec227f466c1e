/** What the NVMe controller says of itself, by byte (NVM Express 1.4; section numbers below). */
import { expect, it, test } from 'vitest';
import { commandName } from '../../src/device/nvme/command.js';
import { Status, statusField } from '../../src/device/nvme/status.js';
import { NvmeDriver } from './nvme-driver.js';
import { hex } from './program.js';

/** A field: its first byte, its bytes, and its value, a number or a text. */
type Field = readonly [at: number, bytes: number, value: number | string];

/** A structure with these fields and zeros. */
function structure(length: number, fields: readonly Field[]): Uint8Array {
  const page = new Uint8Array(length);
  for (const [at, bytes, value] of fields)
    if (typeof value === 'string') page.set(Buffer.from(value.padEnd(bytes)), at);
    else for (let i = 0; i < bytes; i++) page[at + i] = Math.floor(value / 256 ** i) % 256;
  return page;
}

function enabled(options: Record<string, string> = {}): NvmeDriver {
  const driver = new NvmeDriver(options);
  driver.enable();
  return driver;
}

/** What an admin command that reads so many bytes from the controller brings. */
function fetch(driver: NvmeDriver, length: number, command: object): Uint8Array {
  const page = driver.pages(1);
  driver.bytes(page, 4096).fill(0xee);
  const { status } = driver.admin.run({ opcode: 0, prp1: driver.iova(page), ...command });
  expect(status).toBe(0);
  return driver.bytes(page, length).slice();
}

const identify = (cns: number, namespace = 0) => ({ opcode: 6, dw10: cns, namespace });
const log = (id: number, bytes: number) => ({ opcode: 2, dw10: id | ((bytes / 4 - 1) << 16) });

it('Identify Controller (5.15.2.2) is this, and zeros', () => {
  const page = fetch(enabled({ serial: 'S-42' }), 4096, identify(1));
  const expected = structure(4096, [
    [0, 2, 0x1b36],
    [2, 2, 0x1af4],
    [4, 20, 'S-42'],
    [24, 40, 'iopf NVMe controller'],
    [64, 8, '1.0'],
    [77, 1, 7], // MDTS: 512 KiB.
    [80, 4, 0x10400],
    [111, 1, 1], // An I/O controller.
    [256, 2, 2], // Format.
    [258, 1, 3],
    [259, 1, 3],
    [260, 1, 3],
    [261, 1, 7],
    [262, 1, 63],
    [266, 2, 343],
    [268, 2, 373],
    [512, 1, 0x66],
    [513, 1, 0x44],
    [516, 4, 1],
    // Compare, uncorrectable, deallocate, zeroes, select, verify, copy.
    [520, 2, 0x19f],
    [525, 1, 7],
    [534, 2, 1],
    [536, 4, 0x10001], // SGLs at any byte, and bit buckets.
    [768, 0, 'nqn.2021-04.org.iopf:nvme:S-42'],
    [2048, 2, 2500],
  ]);
  expect(hex(page)).toBe(hex(expected));
});

it('Identify Namespace (5.15.2.1) is this, and zeros', () => {
  const page = fetch(enabled({ serial: 'S-42', size: '1M', block: '4096' }), 4096, identify(0, 1));
  const expected = structure(4096, [
    [0, 8, 256],
    [8, 8, 256],
    [16, 8, 256],
    [25, 1, 1], // Two formats,
    [26, 1, 1], // of which this is the second.
    [33, 1, 9],
    [74, 2, 128],
    [76, 4, 128],
    [80, 1, 127],
    [130, 1, 9],
    [134, 1, 12],
  ]);
  // FNV-1a of the serial number, big-endian: a disk keeps its name from run to run.
  expected.set(page.subarray(104, 120), 104);
  expect(hex(page.subarray(104, 120))).toBe('691eec7b1b60fdf2ecc3b225931266cc');
  expect(hex(page)).toBe(hex(expected));
});

it('SMART / Health (5.14.1.2) of a disk that did nothing is this, and zeros', () => {
  const expected = structure(512, [
    [1, 2, 293], // 20 °C.
    [3, 1, 100],
    [4, 1, 10],
  ]);
  expect(hex(fetch(enabled(), 512, log(2, 512)))).toBe(hex(expected));
});

it('Firmware Slot (5.14.1.3) and Commands Effects (5.14.1.5) are these, and zeros', () => {
  const driver = enabled();
  const slot = structure(512, [
    [0, 1, 1],
    [8, 8, '1.0'],
  ]);
  expect(hex(fetch(driver, 512, log(3, 512)))).toBe(hex(slot));
  const admin = [0, 1, 2, 4, 5, 6, 8, 9, 0xa, 0xc];
  const [changing, reading] = [
    [1, 4, 8, 9, 0x19],
    [0, 2, 5, 0xc],
  ] as const;
  const effects = structure(4096, [
    ...admin.map((opcode): Field => [4 * opcode, 4, 1]),
    [4 * 0x80, 4, 0x10007],
    ...changing.map((opcode): Field => [1024 + 4 * opcode, 4, 3]),
    ...reading.map((opcode): Field => [1024 + 4 * opcode, 4, 1]),
  ]);
  expect(hex(fetch(driver, 4096, log(5, 4096)))).toBe(hex(effects));
});

test.each([
  [0x01, 'arbitration', 7],
  [0x02, 'power', 0],
  [0x04, 'temperature', 343],
  [0x05, 'error recovery', 0],
  [0x06, 'write cache', 1],
  [0x07, 'queues', 0x3f003f],
  [0x08, 'coalescing', 0],
  [0x0a, 'atomicity', 0],
  [0x0b, 'events', 0],
])('feature %i, %s, is %i at first, by default and as saved; it can be changed', (id, _, value) => {
  const { admin } = enabled();
  const get = (select: number) => admin.run({ opcode: 0xa, dw10: id | (select << 8) }).result;
  expect([0, 1, 2, 3].map(get)).toEqual([value, value, value, 4]);
});

it('what may pass is tried again: the other statuses say Do Not Retry (bit 14)', () => {
  const again = Object.values(Status).filter((status) => statusField(status) === status);
  expect(again).toEqual([0, 4, 6, 7, 8]);
  expect(statusField(Status.INVALID_FIELD)).toBe(0x4002);
  expect(Object.values(Status)).toEqual([
    ...[0, 1, 2, 4, 6, 7, 8, 0xb, 0xc, 0xd, 0xe, 0xf, 0x11, 0x12, 0x13, 0x20, 0x80],
    ...[0x100, 0x101, 0x102, 0x105, 0x108, 0x109, 0x10a, 0x10c, 0x10d, 0x10e, 0x183],
    ...[0x280, 0x281, 0x285],
  ]);
});

it('commands have the names that the specification gives them', () => {
  expect([0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x80].map((opcode) => commandName(opcode, true))).toEqual(
    [
      ...['delete sq', 'create sq', 'get log page', 'delete cq', 'create cq', 'identify', 'abort'],
      ...['set features', 'get features', 'async event request', 'format nvm'],
    ],
  );
  expect([0, 1, 2, 4, 5, 8, 9, 12, 0x19].map((opcode) => commandName(opcode, false))).toEqual([
    ...['flush', 'write', 'read', 'write uncorrectable', 'compare', 'write zeroes'],
    ...['dataset management', 'verify', 'copy'],
  ]);
  expect(commandName(0x7f, true)).toBe('opcode 0x7f');
});
