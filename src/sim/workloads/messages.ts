/**
 * Messages to an accelerator and back, as in UADK's test programs: a queue pair per context,
 * contexts in rotation.
 */
import { z } from 'zod';
import { bytesUpTo, duration, someBytes, TRANSFER_MOST_BYTES, times } from '../../input/schemas.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { RAM_IOVA } from '../memory-layout.js';
import type { Workload } from '../workload.js';

/** Areas of a context lie this far apart, so that no window of one reaches into the next. */
const AREA_ALIGNMENT = 512;

export const messages = z.strictObject({
  kind: z.literal('messages'),
  memory: someBytes,
  messageBytes: bytesUpTo(TRANSFER_MOST_BYTES, '256M'),
  sends: times,
  contexts: z.number().int().min(1).max(64).default(2),
  setup: duration.describe('what the program does before its first message'),
  bandwidth: someBytes.describe('of the accelerator: bytes of message per second'),
  queue: z.strictObject({
    submissionBytes: z.number().int().min(1).max(4096),
    completionBytes: z.number().int().min(1).max(4096),
    entries: z.number().int().min(1).max(65_536),
    tablePages: z
      .number()
      .int()
      .min(0)
      .max(AREA_ALIGNMENT)
      .describe('pages of tables that the device reads when a context begins'),
    faults: z
      .boolean()
      .default(true)
      .describe('whether queues are in memory that faults; false: a host driver holds them'),
  }),
});

export type Messages = z.output<typeof messages>;

export function messageLoop(spec: Messages, startUs = 0): Workload {
  return function* (guest) {
    const pages = Math.ceil(spec.messageBytes / PAGE_SIZE);
    const { queue, contexts } = spec;
    const aligned = (wanted: number): number => Math.ceil(wanted / AREA_ALIGNMENT) * AREA_ALIGNMENT;
    const area =
      aligned(Math.ceil((queue.submissionBytes * queue.entries) / PAGE_SIZE)) + AREA_ALIGNMENT;
    const base = (context: number): number => context * (3 * area + 2 * aligned(pages));
    const per = spec.messageBytes / spec.bandwidth;
    guest.addMemory(Math.max(Math.ceil(spec.memory / PAGE_SIZE), base(contexts)));
    guest.begin();
    guest.idleUntil(startUs);
    guest.work(spec.setup);
    for (let send = 0; send < spec.sends; send++) {
      const context = send % contexts;
      const turn = Math.floor(send / contexts);
      const entry = turn % queue.entries;
      const submissions = base(context);
      const completions = submissions + area;
      const tables = completions + area;
      const source = tables + area;
      const target = source + aligned(pages);
      guest.touchMemory(source, pages);
      guest.advise(RAM_IOVA + source, pages, READ);
      guest.advise(RAM_IOVA + target, pages, WRITE);
      if (queue.faults) {
        if (turn === 0) guest.access(RAM_IOVA + tables, queue.tablePages, READ);
        guest.access(
          RAM_IOVA + submissions + Math.floor((entry * queue.submissionBytes) / PAGE_SIZE),
          1,
          READ,
        );
      }
      guest.access(RAM_IOVA + source, pages, READ);
      guest.access(RAM_IOVA + target, pages, WRITE);
      if (queue.faults)
        guest.access(
          RAM_IOVA + completions + Math.floor((entry * queue.completionBytes) / PAGE_SIZE),
          1,
          WRITE,
        );
      guest.work(per * 1e6);
      guest.share = send / spec.sends;
      yield;
    }
  };
}
