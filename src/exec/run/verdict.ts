/** What a run came to, in a sentence, and what to try where something was wrong with it. */
import { formatSize } from '../../input/size.js';
import type { RefusalReason } from '../incidents/refusal.js';
import type { RunFacts } from './summary.js';

export interface Verdict {
  /** One sentence, of which each part is what the numbers below it show. */
  readonly verdict: string;
  /** What to try; null: there is nothing to be said. */
  readonly hint: string | null;
}

/** Page requests from which on fewer of them, with more pages each, may be worth a try. */
const MANY_FAULTS = 1000;

const remedies: Readonly<Record<RefusalReason, string>> = {
  'not mapped': 'look at the address that the driver gives to the device, or map more',
  permission: 'map it with VFIO_DMA_MAP_FLAG_READ and VFIO_DMA_MAP_FLAG_WRITE as the device needs',
  'bus mastering off':
    'set Bus Master Enable (bit 2 of the command register) before the device is started',
  'page could not be brought in':
    'keep the memory of a mapping in place, and writable, until UNMAP_DMA',
  'answered INVALID': 'look at what answers the page requests of the fault queue',
  injected: 'see how the program takes it: --inject asked for this',
  'no IOMMU domain':
    'give the group a container with an IOMMU, or attach the device to an IOAS, before it is started',
};

export function verdictOf(run: RunFacts): Verdict {
  if (run.vfioOpens === 0) return unseen(run);
  return { verdict: `${savings(run)}${troubles(run)}.`, hint: whatToTry(run) };
}

function unseen({ devices, failedCalls }: RunFacts): Verdict {
  const verdict = 'Nothing was seen: no file in /dev/vfio was opened.';
  if (failedCalls.some(({ call }) => call.startsWith('open')))
    return { verdict, hint: 'see the failed calls: each try to open one was refused' };
  const hint =
    devices.length === 0
      ? 'add a device, like --device edu@0000:00:04.0, and give its address to the program'
      : `tell the program to use ${devices.map(({ address }) => address).join(' or ')} by VFIO`;
  return { verdict, hint };
}

/** What would have been pinned, what was needed, what was pinned. */
function savings(run: RunFacts): string {
  const { faults, iopf, mappedBytesPeak, pinnedBytesPeak, residentBytesPeak } = run;
  if (mappedBytesPeak === 0) return 'Nothing was mapped for DMA';
  const mapped = formatSize(mappedBytesPeak);
  if (iopf === 'off') return `${mapped} were mapped and pinned for DMA, as a kernel does it`;
  if (faults === 0 && pinnedBytesPeak > 0)
    return `${mapped} were mapped for DMA, and ${formatSize(pinnedBytesPeak)} pinned; nothing was faulted in`;
  const share = Math.round((100 * residentBytesPeak) / mappedBytesPeak);
  const pinned = pinnedBytesPeak === 0 ? 'nothing' : formatSize(pinnedBytesPeak);
  return (
    `Static pinning would have pinned ${mapped}; devices needed ${formatSize(residentBytesPeak)}` +
    ` of it (${share === 0 && residentBytesPeak > 0 ? 'less than 1' : share} %), and ${pinned} was pinned`
  );
}

function troubles({ deviceOpens, lostInterrupts, refusedAccesses }: RunFacts): string {
  const found: string[] = [];
  const plural = (count: number, one: string, many: string): string =>
    count === 1 ? `1 ${one}` : `${count} ${many}`;
  if (refusedAccesses > 0)
    found.push(`${plural(refusedAccesses, 'access was', 'accesses were')} refused`);
  const lost = lostInterrupts.filter(({ interrupt }) => interrupt !== 'INTx');
  const lostCount = lost.reduce((sum, { count }) => sum + count, 0);
  if (lostCount > 0) found.push(`${plural(lostCount, 'interrupt', 'interrupts')} had no eventfd`);
  if (deviceOpens === 0) found.push('no device was opened');
  return found.length === 0 ? '' : `; ${found.join(', ')}`;
}

/** The first thing that is worth a try. */
function whatToTry(run: RunFacts): string | null {
  const { devices, faults, iopf, lostInterrupts, pagesPremapped, pinnedBytesPeak, refused } = run;
  if (refused.length > 0) return remedies[refused[0]!.reason];
  const lost = lostInterrupts.find(({ interrupt }) => interrupt !== 'INTx');
  if (lost !== undefined)
    return `give vector ${lost.vector} of ${lost.device} an eventfd by VFIO_DEVICE_SET_IRQS`;
  if (devices.length === 0) return 'no device was given: add one, like --device edu@0000:00:04.0';
  if (run.deviceOpens === 0) return 'see the failed calls, or look at what the program says';
  if (iopf === 'ask' && faults === 0 && pinnedBytesPeak > 0)
    return 'with --iopf ask it is the program that enables I/O page faults: try --iopf auto';
  if (iopf === 'off' && pinnedBytesPeak > 0)
    return 'without --iopf off only what devices touch has to be in memory';
  if (faults >= MANY_FAULTS && pagesPremapped === 0)
    return `each of ${faults} page requests brought one page: --premap 8 needs fewer`;
  return null;
}
