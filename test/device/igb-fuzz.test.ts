import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { igbRegisters } from '../../src/device/igb/registers.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import type { SegmentList } from '../../src/mm/frame-memory.js';
import {
  IgbDriver,
  ipFrame,
  plainFrame,
  RING,
  RX_DATA,
  RX_RINGS,
  TX_DATA,
  TX_RINGS,
} from './igb-driver.js';
import { command, IOVA_BASE_PAGE, Program } from './program.js';

const PAGES = 1024;
const MEMORY_END = PAGES * PAGE_SIZE;
/** Packets to send, each at the start of a slot. */
const SLOTS = 16;
const SLOT_BYTES = 2048;
const READ_WRITE = READ | WRITE;
const STRIP_CRC = 0x04000000;
const QUEUES = 2;
/** A buffer of SRRCTL's largest size fits behind each address that is given. */
const BUFFER_MOST = 0x20000;
/** Polls until a card has to have nothing left to do. */
const POLLS = 400;

/** Counts frames that were received, and is cleared by reading. */
const GPRC = 0x4074;

/** Registers that say where memory is, which would lead the card elsewhere. */
const addresses = /^(RD|TD|TDW)B[AL][LH]?$|^(RD|TD)LEN$/;
const rows = igbRegisters.rows.filter(({ name }) => !addresses.test(name));

/** What a driver may write by mistake in the third word of a transmit descriptor. */
const commands = [
  0x2b300000, 0x23300000, 0x22300000, 0xab300000, 0xeb300000, 0x0b000000, 0x0f000000, 0x20200000,
];
const lengths = [0, 13, 60, 61, 300, 500, 1514, 1515, 9018, 65535];

interface Step {
  readonly kind: string;
  readonly place: number;
  readonly value: number;
}

const action = fc.record({
  kind: fc.constantFrom(
    'send', 'send', 'send', 'context', 'garble', 'garble', 'receive', 'give', 'register', 'tail',
    'length', 'interrupts', 'take away', 'restart',
  ),
  place: fc.nat(255),
  value: fc.nat(0xffffffff),
}); // biome-ignore format: one line of kinds

function started(seed: number): IgbDriver {
  const program = new Program({ pages: PAGES, faulting: seed % 2 === 0 });
  let us = 0;
  Object.assign(program.host, { nowUs: () => (us += 50) });
  const drv = new IgbDriver({}, program);
  const packets = [ipFrame('tcp', 1400), ipFrame('udp', 900), ipFrame('tcp', 0), plainFrame(1514)];
  for (let slot = 0; slot < SLOTS; slot++)
    drv.program.memory.bytes.set(packets[slot % packets.length]!, TX_DATA + slot * SLOT_BYTES);
  return drv.start(STRIP_CRC | 0x38, {
    queues: QUEUES,
    srrctl: [0x02000002, 0x04000401, 0x0a000f01, 0x00000000][(seed >> 1) & 3]!,
  });
}

/** An address that has a chance, or none. */
function addressIn(drv: IgbDriver, start: number, end: number, value: number): number[] {
  const far = (value & 0x1f) === 7;
  if (far) return [value, value >>> 4];
  return [drv.program.iova(start + (value % (end - start))), 0];
}

function send(drv: IgbDriver, queue: number, place: number, value: number): void {
  const kind = commands[place % commands.length]!;
  const length = lengths[(value >>> 4) % lengths.length]!;
  const options = (value & 0x7f0) | ((value >>> 12) << 14);
  const slot = TX_DATA + ((value >>> 3) % SLOTS) * SLOT_BYTES;
  const address =
    place >= 64 ? [drv.program.iova(slot), 0] : addressIn(drv, TX_DATA, RX_DATA - 0x10000, value);
  drv.descriptor([...address, (kind | length) >>> 0, options >>> 0], queue);
}

function garble(drv: IgbDriver, place: number, value: number): void {
  const ring = (place & 1) === 0 ? RX_RINGS : TX_RINGS;
  const at = ring + ((place >>> 1) % RING) * 16;
  const view = new DataView(drv.program.memory.bytes.buffer, at);
  const [low, high] = addressIn(drv, RX_DATA, MEMORY_END - BUFFER_MOST, value);
  view.setUint32(0, low!, true);
  view.setUint32(4, high!, true);
  // The buffer of headers; of a transmit descriptor, its command.
  view.setUint32(8, (place & 1) === 0 ? low! : (value * 7) >>> 0, true);
  view.setUint32(12, (place & 1) === 0 ? high! : value, true);
}

/**
 * Does the steps; throws where the card writes to anything but receive buffers and rings, or does
 * not come to rest. Frames received.
 */
function torment(
  steps: readonly Step[],
  seed: number,
  plant: { write?: (list: SegmentList) => void; poll?: () => boolean } = {},
): number {
  let drv = started(seed);
  let used = 0;
  const watch = (): void => {
    drv.program.memory.beforeCopy = (list, isWrite) => {
      if (!isWrite) return;
      plant.write?.(list);
      for (let index = 0; index < list.count; index++) {
        const start = list.frame[index]! * PAGE_SIZE + list.offset[index]!;
        const end = start + list.length[index]!;
        const isRing = start >= TX_RINGS && end <= RX_RINGS + 0x2000;
        if (!isRing && (start < RX_DATA || end > MEMORY_END))
          throw new Error(`wild write to [${start}, ${end})`);
      }
    };
  };
  watch();
  for (const { kind, place, value } of steps) {
    const queue = place % QUEUES;
    if (kind === 'send') send(drv, queue, place, value);
    if (kind === 'context')
      drv.descriptor([value, value, 0x20200000 | (value & 0x1c00), (value * 5) >>> 0], queue);
    if (kind === 'garble') garble(drv, place, value);
    if (kind === 'receive') drv.receive(queue);
    if (kind === 'give') drv.giveBuffer(queue, value % RING);
    if (kind === 'register') {
      const row = rows[place % rows.length]!;
      const index = value % (row.count ?? 1);
      const offset = row.offset + index * (row.stride ?? 4);
      drv.read(offset);
      // Mostly without a reset, after which there is nothing to be seen.
      drv.write(offset, row.name === 'CTRL' && value % 8 > 0 ? value & ~0x04000000 : value);
    }
    if (kind === 'tail')
      drv.write([0xc010, 0xc018, 0xe010, 0xe018][place & 3]! + 0x40 * queue, value % (RING + 2));
    if (kind === 'length')
      drv.write((place & 2 ? 0xc008 : 0xe008) + 0x40 * queue, 128 * (value % 32));
    if (kind === 'interrupts') drv.card.interruptsEnabled(1 + (place & 1), value % 10);
    if (kind === 'take away') drv.program.unmapFrame(value % PAGES);
    if (kind === 'restart') {
      drv = started(seed + value);
      watch();
    }
    let polls = 0;
    while (drv.card.poll() || plant.poll?.())
      if (++polls > POLLS) throw new Error('the card does not come to rest');
    used += drv.read(GPRC);
  }
  works(drv);
  return used;
}

/** After a reset it is as new. */
function works(drv: IgbDriver): void {
  const { program, card } = drv;
  program.memory.beforeCopy = null;
  for (let frame = 0; frame < PAGES; frame++) {
    const page = IOVA_BASE_PAGE + frame;
    if (program.domain.frameAt(page) < 0) program.domain.map(page, frame, 1, READ_WRITE);
  }
  card.reset();
  command(card, 6);
  drv.rewind();
  drv.start(STRIP_CRC);
  drv.send(plainFrame(500, 77));
  const [received] = drv.receive();
  expect(Buffer.from(received!.bytes).equals(plainFrame(500, 77))).toBe(true);
}

const steps = fc.array(action, { maxLength: 60, size: 'max' });

describe('a program can do what it likes', () => {
  it('garbage in rings and registers writes to buffers alone, comes to rest, and a reset makes it good', () => {
    let used = 0;
    fc.assert(
      fc.property(steps, fc.nat(0xffff), (list, seed) => {
        used += torment(list, seed);
      }),
      { numRuns: 50, seed: 82576 },
    );
    // It got somewhere.
    expect(used).toBeGreaterThan(60);
  });

  it.each([
    [
      'wrote eight bytes beside a buffer',
      /wild write/,
      {
        write: (list: SegmentList) => {
          list.frame[list.count - 1] = 0;
        },
      },
    ],
    ['never came to rest', /come to rest/, { poll: () => true }],
  ])('a card that %s would be found', (_, message, plant) => {
    const run = fc.check(
      fc.property(steps, fc.nat(0xffff), (list, seed) => {
        torment(list, seed, plant);
      }),
      { numRuns: 100, seed: 82576, endOnFailure: true },
    );
    expect(run.failed).toBe(true);
    expect(`${run.errorInstance}`).toMatch(message);
  });
});
