/** The sentence that a run comes to, and what it says is worth a try. */
import { describe, expect, test } from 'vitest';
import { type RunFacts, summarize } from '../../src/exec/run/summary.js';
import { verdictOf } from '../../src/exec/run/verdict.js';
import { Counters } from '../../src/iommu/observer.js';

const MiB = 2 ** 20;
const nothing = summarize({
  counters: new Counters(),
  mappedPagesEnd: null,
  interceptedCalls: 0,
  files: { opens: 3, deviceOpens: 1, firstUser: 'driver' },
  memory: {
    rssBytesBefore: null,
    rssBytesPeak: null,
    rssBytesEnd: null,
    swapBytesPeak: null,
    swapBytesEnd: null,
  },
  scan: null,
  incidents: { refusedAccesses: 0, refused: [], lostInterrupts: [], failedCalls: [] },
  injected: [],
  stall: { stallSecondsLive: null, stallSecondsPriced: null },
});
const nvme = { kind: 'nvme', address: '0000:02:00.0', options: {} };

function said(facts: Partial<RunFacts>): string {
  const { hint, verdict } = verdictOf({
    ...nothing,
    failedCalls: [],
    program: 'a',
    exitCode: 0,
    signal: null,
    iopf: 'auto',
    premap: 1,
    kernel: '6.12',
    devices: [nvme],
    model: null,
    seed: null,
    again: null,
    wallSeconds: 1,
    ...facts,
  });
  return hint === null ? verdict : `${verdict} Try: ${hint}`;
}

const used = { mappedBytesPeak: 32 * MiB, residentBytesPeak: 8 * MiB, faults: 20 };
const refused = {
  device: '0000:02:00.0',
  kind: 'nvme',
  iova: 0,
  access: 'write',
  reason: 'permission',
  count: 2,
  firstAtSeconds: 0,
  nearest: null,
  asker: null,
} as const;

describe('the verdict', () => {
  test.each<[string, Partial<RunFacts>, string]>([
    [
      'of a run with faults',
      used,
      'Static pinning would have pinned 32 MiB; devices needed 8 MiB of it (25 %), and nothing was pinned.',
    ],
    [
      'of many faults',
      { ...used, faults: 5000 },
      'Static pinning would have pinned 32 MiB; devices needed 8 MiB of it (25 %), and nothing was pinned. Try: each of 5000 page requests brought one page: --premap 8 needs fewer',
    ],
    [
      'of a pinned run',
      { ...used, faults: 0, iopf: 'off', pinnedBytesPeak: 32 * MiB },
      '32 MiB were mapped and pinned for DMA, as a kernel does it. Try: without --iopf off only what devices touch has to be in memory',
    ],
    [
      'of a program that did not ask',
      { ...used, faults: 0, iopf: 'ask', pinnedBytesPeak: 32 * MiB },
      '32 MiB were mapped for DMA, and 32 MiB pinned; nothing was faulted in. Try: with --iopf ask it is the program that enables I/O page faults: try --iopf auto',
    ],
    ['of a run that mapped nothing', {}, 'Nothing was mapped for DMA.'],
    [
      'of refused accesses',
      { ...used, refusedAccesses: 2, refused: [refused] },
      'Static pinning would have pinned 32 MiB; devices needed 8 MiB of it (25 %), and nothing was pinned; 2 accesses were refused. Try: map it with VFIO_DMA_MAP_FLAG_READ and VFIO_DMA_MAP_FLAG_WRITE as the device needs',
    ],
    [
      'of a vector that nobody has',
      {
        lostInterrupts: [
          { device: nvme.address, kind: 'nvme', interrupt: 'MSI-X', vector: 3, count: 1 },
        ],
      },
      'Nothing was mapped for DMA; 1 interrupt had no eventfd. Try: give vector 3 of 0000:02:00.0 an eventfd by VFIO_DEVICE_SET_IRQS',
    ],
    [
      'of a polling driver, whose INTx nobody has',
      {
        lostInterrupts: [
          { device: nvme.address, kind: 'nvme', interrupt: 'INTx', vector: 0, count: 9 },
        ],
      },
      'Nothing was mapped for DMA.',
    ],
    [
      'of a run that opened no device',
      { deviceOpens: 0 },
      'Nothing was mapped for DMA; no device was opened. Try: see the failed calls, or look at what the program says',
    ],
    [
      'without a device',
      { devices: [], deviceOpens: 0 },
      'Nothing was mapped for DMA; no device was opened. Try: no device was given: add one, like --device edu@0000:00:04.0',
    ],
    [
      'of a program that is not about VFIO',
      { vfioOpens: 0, devices: [] },
      'Nothing was seen: no file in /dev/vfio was opened. Try: add a device, like --device edu@0000:00:04.0, and give its address to the program',
    ],
    [
      'of a program that did not use its device',
      { vfioOpens: 0 },
      'Nothing was seen: no file in /dev/vfio was opened. Try: tell the program to use 0000:02:00.0 by VFIO',
    ],
    [
      'of a program that got none',
      { vfioOpens: 0, failedCalls: [{ call: 'openat', error: 'EBUSY', count: 1 }] },
      'Nothing was seen: no file in /dev/vfio was opened. Try: see the failed calls: each try to open one was refused',
    ],
  ])('%s', (_, facts, expected) => {
    expect(said(facts)).toBe(expected);
  });
});
