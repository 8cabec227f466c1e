/**
 * What a run was over time, as charts draw it: from a report's timeline, or from the samples of a
 * live run.
 */

import type { KeptSample } from '../live/kept-samples.js';
import type { TimelineStep } from '../trace/timeline.js';
import { PAGE_BYTES } from './format.js';

/** Equally long arrays. Memory in bytes, rates per second. */
export interface TimeData {
  readonly seconds: readonly number[];
  readonly mapped: readonly number[];
  readonly resident: readonly number[];
  readonly pinned: readonly number[];
  readonly faults: readonly number[];
  readonly invalidations: readonly number[];
  /** Pages that the host took back. */
  readonly reclaimed: readonly number[];
  /** Bytes of DMA of each device; none: not known. */
  readonly devices: readonly { readonly address: string; readonly bytes: readonly number[] }[];
}

export function ofTimeline(steps: readonly TimelineStep[]): TimeData {
  const width = steps.length > 1 ? steps[1]!.seconds - steps[0]!.seconds : 1;
  return {
    seconds: steps.map((step) => step.seconds),
    mapped: steps.map((step) => step.mappedPages * PAGE_BYTES),
    resident: steps.map((step) => step.residentPages * PAGE_BYTES),
    pinned: steps.map((step) => step.pinnedPages * PAGE_BYTES),
    faults: steps.map((step) => step.faults / width),
    invalidations: steps.map((step) => step.invalidations / width),
    reclaimed: steps.map((step) => step.reclaimed / width),
    devices: [],
  };
}

/** Rates are those since the sample before. */
export function ofSamples(samples: readonly KeptSample[]): TimeData {
  const perSecond = (of: (sample: KeptSample) => number): number[] =>
    samples.map((sample, index) => {
      const before = samples[index - 1];
      const passed = sample.seconds - (before?.seconds ?? 0);
      const more = of(sample) - (before === undefined ? 0 : of(before));
      return passed > 0 ? Math.max(0, more) / passed : 0;
    });
  const devices = [...new Set(samples.flatMap(({ dmaBytes }) => Object.keys(dmaBytes)))].sort();
  return {
    seconds: samples.map((sample) => sample.seconds),
    mapped: samples.map((sample) => sample.mappedBytes),
    resident: samples.map((sample) => sample.residentBytes),
    pinned: samples.map((sample) => sample.pinnedBytes),
    faults: perSecond(({ faults }) => faults),
    invalidations: perSecond(({ invalidations }) => invalidations),
    reclaimed: perSecond(({ pagesReclaimed }) => pagesReclaimed),
    devices: devices.map((address) => ({
      address,
      bytes: perSecond(({ dmaBytes }) => dmaBytes[address] ?? 0),
    })),
  };
}
