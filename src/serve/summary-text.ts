/** The summary of a served device, for people. */
import { refusalText } from '../exec/run/summary-text.js';
import { formatSize } from '../input/size.js';
import type { ServeSummary } from './serve.js';

/** Lines of each kind of incident; `--json` has more. */
const SHOWN_MOST = 4;

export function formatServed(served: ServeSummary): string {
  const { clients, dmaMessages, interrupts, lostInterrupts, refused, requests } = served;
  const latency = served.faultLatencyUs;
  const times = (count: number): string => (count === 1 ? '' : ` × ${count}`);
  const lines: [string, string][] = [
    ['clients', `${clients}: ${requests} requests, ${interrupts} interrupts`],
    ['mapped for DMA', `${formatSize(served.mappedBytesPeak)} at the peak`],
    ['in I/O page tables', `${formatSize(served.residentBytesPeak)} at the peak`],
    [
      'page requests',
      `${served.faults}: ${served.pagesFaultedIn} pages faulted in, ${served.pagesPremapped} pre-mapped`,
    ],
    [
      'fault latency',
      served.faults === 0
        ? 'no faults'
        : `min ${latency.min}, median ${latency.p50}, p99 ${latency.p99}, max ${latency.max} µs`,
    ],
    [
      'device DMA',
      `${formatSize(served.dmaBytesRead)} read, ${formatSize(served.dmaBytesWritten)} written, ${dmaMessages} messages`,
    ],
    ...refused
      .slice(0, SHOWN_MOST)
      .map((each): [string, string] => ['refused', `${refusalText(each)}${times(each.count)}`]),
    ...lostInterrupts
      .slice(0, SHOWN_MOST)
      .map(({ count, interrupt, vector }): [string, string] => [
        'no eventfd for',
        `${interrupt} vector ${vector}${times(count)}`,
      ]),
  ];
  const head = `iopf: served ${served.kind} for ${served.wallSeconds.toFixed(2)} s; pre-map ${served.premap}`;
  return [head, ...lines.map(([name, value]) => `  ${name.padEnd(19)}${value}`)].join('\n');
}
