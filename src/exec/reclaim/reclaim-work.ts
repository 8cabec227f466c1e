import type { Architecture } from '../arch/index.js';
import type { ProcessTable } from '../process/process.js';
import type { BackgroundWork } from '../run/background.js';
import type { ExecOptions } from '../run/exec-options.js';
import { tell } from '../run/tell.js';
import { PageOut, type PageOutRequest } from './page-out.js';
import { checkMayReclaim, Reclaim } from './reclaim.js';
import { ReclaimScan } from './reclaim-scan.js';

/** What a run's options have done beside the loop: reclaim, and looking for what left memory. */
export interface ReclaimWork {
  readonly works: readonly BackgroundWork[];
  readonly scan: ReclaimScan | null;
}

/**
 * `pid`: the program, whose memory iopf must be allowed to take. `pageOut` passes requests to the
 * thread that carries them out. Throws UserError.
 */
export function reclaimWork(
  { reclaimBytes, reclaimScanMs }: ExecOptions,
  architecture: Architecture,
  processes: ProcessTable,
  pid: number,
  pageOut: (request: PageOutRequest) => void,
  nowMs: () => number,
): ReclaimWork {
  if (reclaimBytes !== null) checkMayReclaim(architecture, pid);
  const scan = reclaimScanMs === null ? null : new ReclaimScan(processes, reclaimScanMs, nowMs);
  const reclaim =
    reclaimBytes === null ? null : new Reclaim(processes, reclaimBytes, new PageOut(pageOut), tell);
  return { works: [scan, reclaim].filter((work) => work !== null), scan };
}
