/**
 * A network card's receive ring: packets arrive at a rate and land in buffers that the program
 * recycles.
 */
import { z } from 'zod';
import { duration, rate, someBytes, times } from '../../input/schemas.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { RAM_IOVA } from '../memory-layout.js';
import type { Workload } from '../workload.js';

const DESCRIPTOR_BYTES = 16;

export const ring = z.strictObject({
  kind: z.literal('ring'),
  memory: someBytes,
  pool: someBytes.describe('memory that buffers are taken from'),
  bufferBytes: z.number().int().min(64).max(65_536).default(2048),
  entries: z.number().int().min(1).max(65_536).default(512),
  packets: times,
  packetsPerSecond: rate,
  packetTime: duration.describe('what the device takes for a packet'),
  recycle: z
    .enum(['fifo', 'lifo'])
    .default('fifo')
    .describe('which free buffer is next: the one that waits longest, or the one used last'),
});

export type Ring = z.output<typeof ring>;

export function networkRing(spec: Ring, startUs = 0): Workload {
  return function* (guest) {
    const perPage = Math.max(1, Math.floor(PAGE_SIZE / spec.bufferBytes));
    const pagesPer = Math.ceil(spec.bufferBytes / PAGE_SIZE);
    const buffers = Math.floor(spec.pool / spec.bufferBytes);
    const ringPages = Math.ceil((spec.entries * DESCRIPTOR_BYTES) / PAGE_SIZE);
    const first = ringPages;
    guest.addMemory(
      Math.max(
        Math.ceil(spec.memory / PAGE_SIZE),
        first + Math.ceil((buffers / perPage) * pagesPer),
      ),
    );
    guest.begin();
    const gap = 1e6 / spec.packetsPerSecond;
    // Recycled last first, the ring always holds the same buffers; in order, it goes through the
    // pool.
    const inUse = spec.recycle === 'lifo' ? Math.min(spec.entries, buffers) : buffers;
    for (let packet = 0; packet < spec.packets; packet++) {
      guest.idleUntil(startUs + packet * gap);
      const descriptor =
        RAM_IOVA + Math.floor(((packet % spec.entries) * DESCRIPTOR_BYTES) / PAGE_SIZE);
      const buffer = packet % inUse;
      const page = RAM_IOVA + first + Math.floor(buffer / perPage) * pagesPer;
      if (packet % spec.entries === 0)
        adviseRing(
          guest.advise.bind(guest),
          RAM_IOVA + first,
          packet,
          spec,
          inUse,
          perPage,
          pagesPer,
        );
      guest.access(descriptor, 1, READ);
      guest.access(page, pagesPer, WRITE);
      guest.access(descriptor, 1, WRITE);
      guest.work(spec.packetTime);
      guest.touchMemory(page - RAM_IOVA, pagesPer);
      if (packet % 64 !== 63) continue;
      guest.share = packet / spec.packets;
      yield;
    }
  };
}

/** The program tells the buffers of the next turn of the ring. */
function adviseRing(
  advise: (iovaPage: number, count: number, access: number) => void,
  first: number,
  packet: number,
  spec: Ring,
  inUse: number,
  perPage: number,
  pagesPer: number,
): void {
  const from = packet % inUse;
  const count = Math.min(spec.entries, inUse - from);
  const start = Math.floor(from / perPage) * pagesPer;
  const end = (Math.floor((from + count - 1) / perPage) + 1) * pagesPer;
  advise(first + start, end - start, WRITE);
}
