import { beforeEach, describe, expect, it } from 'vitest';
import { CALL_COLUMNS, CallColumn, CallLog, IMAGE_BYTES } from '../../src/exec/live/call-log.js';

const IOCTL = 16;
const READ = 0;
/** The call that is made: what the listener says of it. */
const call = { nr: IOCTL, outcome: 0, argument: (n: number) => 1000 * n };
let clock = 0;
let log = new CallLog(call as never, IOCTL, () => clock);
const container = { file: { name: 'container', kind: 'container' }, pciFunction: null };
const device = {
  file: { name: 'device', kind: 'device' },
  pciFunction: { address: '0000:02:00.0' },
};

beforeEach(() => {
  clock = 100;
  call.nr = IOCTL;
  log = new CallLog(call as never, IOCTL, () => clock);
});

/** A call that takes 3 ms, and what is copied meanwhile. */
function make(copies = () => {}, file: object = container, outcome = -22): void {
  log.begin();
  log.noteFile(7, 5, file as never);
  copies();
  clock += 3;
  call.outcome = outcome;
  log.end();
}

const image = (images: Uint8Array, half: number, count: number): number[] => [
  ...images.subarray(half * IMAGE_BYTES, half * IMAGE_BYTES + count),
];

describe('the log of calls', () => {
  it('has who made a call, when, on what, with which arguments, and what it returned', () => {
    make();
    const { numbers, names, kinds, total } = log.take()!;
    expect([...numbers]).toEqual([
      ...[0, 100, 3, 7, IOCTL, 5, -22, 0, 0],
      ...[0, 1000, 2000, 3000, 4000, 5000],
    ]);
    expect([names, kinds, total]).toEqual([['container'], ['container'], 1]);
    make(undefined, device, 0);
    const next = log.take()!;
    expect([next.names, next.kinds, next.total]).toEqual([['device<0000:02:00.0>'], ['device'], 2]);
    expect([...next.numbers.subarray(0, 7)]).toEqual([1, 103, 3, 7, IOCTL, 5, 0]);
    expect(log.take()).toBeNull();
  });

  it('has a path that is opened, cut at 256 characters, without a descriptor', () => {
    log.begin();
    log.noteOpen(7, 'group', `/${'x'.repeat(300)}`);
    log.end();
    const { names, kinds, numbers } = log.take()!;
    expect(names[0]).toBe(`/${'x'.repeat(255)}`);
    expect([kinds[0], numbers[CallColumn.descriptor]]).toEqual(['group', -1]);
  });

  it('leaves out calls that are about none of VFIO’s files, and what is answered meanwhile', () => {
    log.begin();
    log.end();
    expect(log.take()).toBeNull();
    log.begin();
    log.noteFile(7, 5, container as never);
    log.isPaused = true;
    make(() => log.copiedFrom(2000, Uint8Array.of(9)), device);
    log.isPaused = false;
    log.end();
    const { total, names, images } = log.take()!;
    expect([total, names, image(images, 0, 1)]).toEqual([1, ['container'], [0]]);
  });

  it.each([
    ['an ioctl', IOCTL, 2000],
    ['another call', READ, 1000],
  ])('keeps what the argument of %s points at, up to 128 bytes each way', (_, nr, base) => {
    call.nr = nr;
    const bytes = Uint8Array.from({ length: 200 }, (_, i) => i + 1);
    make(() => {
      log.copiedFrom(base, bytes.subarray(0, 4));
      log.copiedFrom(base + 8, bytes.subarray(0, 2));
      // Before it, and behind what is kept.
      log.copiedFrom(base - 1, bytes);
      log.copiedFrom(base + IMAGE_BYTES, bytes);
      log.copiedTo(base + 2, bytes.subarray(20, 21));
    });
    const { images, numbers } = log.take()!;
    expect([numbers[CallColumn.bytesIn], numbers[CallColumn.bytesOut]]).toEqual([10, 3]);
    expect(image(images, 0, 12)).toEqual([1, 2, 3, 4, 0, 0, 0, 0, 1, 2, 0, 0]);
    // What is not written is as it was.
    expect(image(images, 1, 12)).toEqual([1, 2, 21, 4, 0, 0, 0, 0, 1, 2, 0, 0]);
    make(() => log.copiedFrom(base + 100, bytes));
    const cut = log.take()!;
    expect(cut.numbers[CallColumn.bytesIn]).toBe(128);
    expect(image(cut.images, 0, 128).slice(98)).toEqual([0, 0, ...bytes.subarray(0, 28)]);
    expect(image(cut.images, 1, 128)).toEqual(Array(128).fill(0));
  });

  it('has the newest 256, and counts all', () => {
    for (let i = 0; i < 300; i++) make(() => log.copiedFrom(2000, Uint8Array.of(i & 255)));
    const { total, numbers, names, images } = log.take()!;
    expect([total, names.length]).toEqual([300, 256]);
    const rows = Array.from({ length: 256 }, (_, i) => numbers[i * CALL_COLUMNS]);
    expect(rows).toEqual(Array.from({ length: 256 }, (_, i) => 44 + i));
    const firsts = Array.from({ length: 256 }, (_, i) => images[i * 2 * IMAGE_BYTES]);
    expect(firsts).toEqual(rows.map((row) => row! & 255));
  });
});
