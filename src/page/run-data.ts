/**
 * What a run was over time, as charts draw it: from a report's timeline, or from the samples of a
 * live run.
 */

import type { LiveSample } from '../live/live.js';
import type { TimelineStep } from '../trace/timeline.js';
import { PAGE_BYTES } from './format.js';

const SAMPLES_MOST = 512;

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
  };
}

/** The samples of a run in a bounded number: where they get too many, every second goes. */
export class SampleHistory {
  private kept: LiveSample[] = [];
  /** The newest, kept or not. */
  last: LiveSample | null = null;
  private apart = 0;

  /** False: it is not newer than the last. */
  add(sample: LiveSample): boolean {
    if (this.last !== null && sample.seconds <= this.last.seconds) return false;
    this.last = sample;
    const before = this.kept.at(-1);
    if (before !== undefined && sample.seconds - before.seconds < this.apart) return true;
    // Only a run's numbers over time are kept, and of the newest everything.
    this.kept.push({ ...sample, latency: {}, devices: [], ranges: [] });
    if (this.kept.length > SAMPLES_MOST) {
      this.kept = this.kept.filter((_, index) => index % 2 === 0);
      this.apart = (this.kept.at(-1)!.seconds - this.kept[0]!.seconds) / (this.kept.length - 1);
    }
    return true;
  }

  get samples(): readonly LiveSample[] {
    const { last, kept } = this;
    if (last === null) return kept;
    return kept.at(-1)!.seconds === last.seconds ? [...kept.slice(0, -1), last] : [...kept, last];
  }

  get data(): TimeData {
    const { samples } = this;
    const perSecond = (name: string) =>
      samples.map((sample, index) => {
        const before = samples[index - 1];
        const passed = sample.seconds - (before?.seconds ?? 0);
        const more = (sample.counters[name] ?? 0) - (before?.counters[name] ?? 0);
        return passed > 0 ? more / passed : 0;
      });
    return {
      seconds: samples.map((sample) => sample.seconds),
      mapped: samples.map((sample) => sample.mappedBytes),
      resident: samples.map((sample) => sample.residentBytes),
      pinned: samples.map((sample) => sample.pinnedBytes),
      faults: perSecond('faults'),
      invalidations: perSecond('invalidations'),
      reclaimed: perSecond('pagesReclaimed'),
    };
  }
}
