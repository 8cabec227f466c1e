/**
 * Block I/O: reads and writes of one size between a disk and the program's buffers, at random or
 * one after another.
 */
import { z } from 'zod';
import { bytesUpTo, duration, someBytes, TRANSFER_MOST_BYTES, times } from '../../input/schemas.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { RAM_IOVA } from '../memory-layout.js';
import type { Workload } from '../workload.js';

const QUEUE_PAGES = 4;

export const block = z.strictObject({
  kind: z.literal('block'),
  memory: someBytes,
  buffers: someBytes.describe(
    'memory that buffers are taken from: a page cache, or a program’s own',
  ),
  pattern: z.enum(['random', 'sequential']),
  ioBytes: bytesUpTo(TRANSFER_MOST_BYTES, '256M'),
  ios: times,
  writes: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('share of writes to the disk, which read memory'),
  latency: duration.describe('what the disk takes for a command'),
  bandwidth: someBytes.describe('bytes per second that the disk moves'),
});

export type Block = z.output<typeof block>;

export function blockIo(spec: Block, startUs = 0): Workload {
  return function* (guest, random) {
    const pages = Math.ceil(spec.ioBytes / PAGE_SIZE);
    const slots = Math.max(1, Math.floor(spec.buffers / (pages * PAGE_SIZE)));
    const first = RAM_IOVA + QUEUE_PAGES;
    guest.addMemory(Math.max(Math.ceil(spec.memory / PAGE_SIZE), QUEUE_PAGES + slots * pages));
    guest.begin();
    guest.idleUntil(startUs);
    const time = spec.latency + (spec.ioBytes / spec.bandwidth) * 1e6;
    for (let io = 0; io < spec.ios; io++) {
      const slot = spec.pattern === 'random' ? random.below(slots) : io % slots;
      const access = spec.writes > 0 && random.next() < spec.writes ? READ : WRITE;
      const page = first + slot * pages;
      if (access === READ) guest.touchMemory(page - RAM_IOVA, pages);
      guest.advise(page, pages, access);
      guest.access(RAM_IOVA + (io % 2), 1, READ);
      guest.access(page, pages, access);
      guest.access(RAM_IOVA + 2 + (io % 2), 1, WRITE);
      guest.work(time);
      guest.share = io / spec.ios;
      yield;
    }
  };
}
