/**
 * How much memory the processes that use VFIO have, together: VmRSS and VmSwap of /proc/PID/status,
 * now and then.
 */
import { PAGE_SIZE } from '../../mm/address-space.js';
import { textOf } from '../../mm/process/proc.js';

const KIB = 1024;

/**
 * In bytes; null where no process spoke to VFIO. A page that several processes have counts for
 * each.
 */
export interface ResidentMemorySummary {
  /** When the first of them spoke to VFIO first, at the highest sample, and at the last. */
  readonly rssBytesBefore: number | null;
  readonly rssBytesPeak: number | null;
  readonly rssBytesEnd: number | null;
  /** Private memory in swap; what is shared is not told by process. */
  readonly swapBytesPeak: number | null;
  readonly swapBytesEnd: number | null;
}

export class ResidentMemory {
  summary: ResidentMemorySummary = {
    rssBytesBefore: null,
    rssBytesPeak: null,
    rssBytesEnd: null,
    swapBytesPeak: null,
    swapBytesEnd: null,
  };

  /** Takes a sample; of processes that are gone there is none. */
  sample(processes: Iterable<{ readonly task: number }>): void {
    let [rss, swap, living] = [0, 0, 0];
    for (const { task } of processes) {
      const status = textOf(`/proc/${task}/status`);
      const resident = /^VmRSS:\s+(\d+) kB/m.exec(status);
      if (resident === null) continue;
      living++;
      rss += Number(resident[1]) * KIB;
      swap += Number(/^VmSwap:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * KIB;
    }
    if (living === 0) return;
    const { rssBytesBefore, rssBytesPeak, swapBytesPeak } = this.summary;
    this.summary = {
      rssBytesBefore: rssBytesBefore ?? rss,
      rssBytesPeak: Math.max(rssBytesPeak ?? 0, rss),
      rssBytesEnd: rss,
      swapBytesPeak: Math.max(swapBytesPeak ?? 0, swap),
      swapBytesEnd: swap,
    };
  }
}

/**
 * Bytes of memory that a process has, from /proc/PID/statm, which costs a tenth of `status`; 0
 * where it is gone.
 */
export function residentBytes(pid: number): number {
  return Number(textOf(`/proc/${pid}/statm`).split(' ', 2)[1] ?? 0) * PAGE_SIZE;
}
