/** A virtual machine that boots from its passed-through disk, gives memory back, and idles. */
import { z } from 'zod';
import type { Random } from '../../abi/random.js';
import { bytes, duration, rate, someBytes } from '../../input/schemas.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { RAM_IOVA } from '../memory-layout.js';
import type { TimedProgram } from '../timed-program.js';
import type { Workload } from '../workload.js';

/** A boot's reads: from a page to what readahead asks for. */
const READ_MOST_PAGES = 32;
const QUEUE_PAGES = 4;
/** What the boot is taken for where somebody wants to know how far a machine is. */
const BOOT_SHARE = 0.5;

export const vmSpec = z.strictObject({
  memory: someBytes.describe('all of it is mapped for DMA'),
  boot: z.strictObject({
    reads: someBytes.describe('read from the disk'),
    touched: someBytes.describe('touched by the guest itself: kernel, services, their memory'),
    bandwidth: someBytes.describe('of the disk, bytes per second, and for each command'),
    latency: duration,
  }),
  givenBack: bytes
    .default(0)
    .describe('what the guest gives back when it is up: free page reporting, a balloon'),
  idle: z.strictObject({
    time: duration,
    workingSet: someBytes.describe('memory that the guest and its device go on using'),
    iosPerSecond: rate.describe('disk commands per second, of 4 KiB each'),
  }),
});

export const vm = z.strictObject({ kind: z.literal('vm'), ...vmSpec.shape });

export type Vm = z.output<typeof vmSpec>;

export function virtualMachine(spec: Vm, startUs = 0): Workload {
  return function* (guest, random) {
    const pages = Math.ceil(spec.memory / PAGE_SIZE);
    guest.addMemory(pages);
    guest.begin();
    guest.idleUntil(startUs);
    yield* boot(guest, random, spec, pages);
    const back = Math.min(Math.floor(spec.givenBack / PAGE_SIZE), pages - QUEUE_PAGES);
    if (back > 0) guest.giveBack(pages - back, back);
    yield;
    yield* idle(guest, random, spec);
  };
}

/** Pages that it touches at least once. */
export function pagesTouched({ boot, memory }: Vm): number {
  const pages = Math.ceil(memory / PAGE_SIZE);
  const reads = Math.floor(boot.reads / PAGE_SIZE);
  if (reads === 0) return QUEUE_PAGES;
  return Math.min(pages, QUEUE_PAGES + reads + Math.floor(boot.touched / PAGE_SIZE));
}

/** Memory fills from below; reads land at its end, what the guest touches beside them. */
function* boot(
  guest: TimedProgram,
  random: Random,
  spec: Vm,
  pages: number,
): Generator<void, void, void> {
  const { reads, touched, bandwidth, latency } = spec.boot;
  const readPages = Math.min(Math.floor(reads / PAGE_SIZE), pages - QUEUE_PAGES);
  const touchPages = Math.floor(touched / PAGE_SIZE);
  let touchedSoFar = 0;
  for (let done = 0; done < readPages; ) {
    const count = Math.min(1 + random.below(READ_MOST_PAGES), readPages - done);
    const page = RAM_IOVA + QUEUE_PAGES + done;
    guest.advise(page, count, WRITE);
    command(guest, page, count, WRITE);
    guest.work(latency + ((count * PAGE_SIZE) / bandwidth) * 1e6);
    done += count;
    const wanted = Math.floor((touchPages * done) / readPages);
    const from = QUEUE_PAGES + readPages;
    const room = Math.min(wanted - touchedSoFar, Math.max(0, pages - from - touchedSoFar));
    if (room > 0) guest.touchMemory(from + touchedSoFar, room);
    touchedSoFar = wanted;
    guest.share = (BOOT_SHARE * done) / readPages;
    yield;
  }
}

function* idle(guest: TimedProgram, random: Random, spec: Vm): Generator<void, void, void> {
  const { time, workingSet, iosPerSecond } = spec.idle;
  const pages = Math.max(1, Math.floor(workingSet / PAGE_SIZE));
  const begun = guest.elapsedUs;
  const ios = Math.floor((time / 1e6) * iosPerSecond);
  for (let io = 0; io < ios; io++) {
    guest.idleUntil(begun + ((io + 1) * 1e6) / iosPerSecond);
    const page = QUEUE_PAGES + random.below(pages);
    guest.touchMemory(QUEUE_PAGES + random.below(pages), 1);
    command(guest, RAM_IOVA + page, 1, random.below(2) === 0 ? READ : WRITE);
    guest.work(spec.boot.latency + (PAGE_SIZE / spec.boot.bandwidth) * 1e6);
    guest.share = BOOT_SHARE + ((1 - BOOT_SHARE) * io) / ios;
    yield;
  }
}

/** Submission entry, data, completion entry. */
function command(guest: TimedProgram, page: number, count: number, access: number): void {
  guest.access(RAM_IOVA, 1, READ);
  guest.access(page, count, access);
  guest.access(RAM_IOVA + 1, 1, WRITE);
}
