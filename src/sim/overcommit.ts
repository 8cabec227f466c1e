/** How much memory a host needs for several machines at an accepted slowdown. */
import { PAGE_SIZE } from '../mm/address-space.js';
import { type RunRequest, runOnce } from './run.js';

export interface OvercommitRow {
  readonly input: string;
  readonly policy: string;
  readonly model: string;
  readonly vms: number;
  readonly slowdownBoundPercent: number;
  /**
   * The least memory of the host that keeps within the bound, to a 256th of what is mapped; null:
   * none does.
   */
  readonly hostBytes: number | null;
  readonly slowdownPercent: number | null;
}

const PARTS = 256;
/** Runs that this takes: one with all memory, and one for each halving. */
export const LEAST_MEMORY_RUNS = 1 + Math.log2(PARTS);

/** Halves the range again and again. `mappedBytes` is what static pinning needs. */
export function leastMemory(
  request: RunRequest,
  mappedBytes: number,
  boundPercent: number,
): OvercommitRow {
  const row = {
    input: request.input,
    policy: request.policy.name,
    model: request.model.name,
    vms: request.workloads.length,
    slowdownBoundPercent: boundPercent,
  };
  // What is pinned needs all of it, and slows nothing down.
  if (request.policy.pinned) return { ...row, hostBytes: mappedBytes, slowdownPercent: 0 };
  /** What a process itself takes beside its memory for DMA. */
  const beside = request.workloads.length * PAGE_SIZE;
  let runs = 0;
  const slowdownAt = (parts: number): number | null => {
    const memoryBytes = Math.ceil((mappedBytes * parts) / PARTS / PAGE_SIZE) * PAGE_SIZE + beside;
    const done = runs++;
    const outcome = runOnce({
      ...request,
      policy: { ...request.policy, memoryBytes },
      progress: (share) => request.progress?.(Math.min(1, (done + share) / LEAST_MEMORY_RUNS)),
    });
    if (outcome.kind !== 'done' || outcome.detail.refused > 0) return null;
    return outcome.row.slowdownPercent <= boundPercent ? outcome.row.slowdownPercent : null;
  };
  let enough = PARTS;
  let slowdown = slowdownAt(PARTS);
  for (let tooLittle = 0; slowdown !== null && enough - tooLittle > 1; ) {
    const middle = (enough + tooLittle) >>> 1;
    const at = slowdownAt(middle);
    if (at === null) tooLittle = middle;
    else {
      enough = middle;
      slowdown = at;
    }
  }
  return {
    ...row,
    hostBytes: slowdown === null ? null : Math.ceil((mappedBytes * enough) / PARTS),
    slowdownPercent: slowdown,
  };
}
