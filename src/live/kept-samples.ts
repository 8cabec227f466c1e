/** What is kept of a run's samples: what is drawn over time of each, and the newest whole. */
import type { LiveSample } from './live.js';

const SAMPLES_MOST = 512;

/** A moment of a run, as drawings over time have it. */
export interface KeptSample {
  readonly seconds: number;
  readonly mappedBytes: number;
  readonly residentBytes: number;
  readonly pinnedBytes: number;
  /** Since the start. */
  readonly faults: number;
  readonly invalidations: number;
  readonly pagesReclaimed: number;
  /** Bytes that each device has read and written since the start, by its address. */
  readonly dmaBytes: Readonly<Record<string, number>>;
}

/** A bounded number of samples: where they get too many, every second goes. */
export class KeptSamples {
  private kept: KeptSample[] = [];
  /** The newest, kept or not. */
  last: LiveSample | null = null;
  private apart = 0;

  /** False: it is not newer than the last. */
  add(sample: LiveSample): boolean {
    if (this.last !== null && sample.seconds <= this.last.seconds) return false;
    this.last = sample;
    const before = this.kept.at(-1);
    if (before !== undefined && sample.seconds - before.seconds < this.apart) return true;
    this.kept.push(keptOf(sample));
    if (this.kept.length > SAMPLES_MOST) {
      this.kept = this.kept.filter((_, index) => index % 2 === 0);
      this.apart = (this.kept.at(-1)!.seconds - this.kept[0]!.seconds) / (this.kept.length - 1);
    }
    return true;
  }

  /** The newest is always among them. */
  get samples(): readonly KeptSample[] {
    const { last, kept } = this;
    if (last === null || kept.at(-1)!.seconds === last.seconds) return kept;
    return [...kept, keptOf(last)];
  }

  /** Takes what another has kept, and the newest of it. */
  take(samples: readonly KeptSample[], last: LiveSample | null): void {
    this.kept = [...samples];
    this.last = last;
  }
}

function keptOf(sample: LiveSample): KeptSample {
  const { counters, devices, mappedBytes, pinnedBytes, residentBytes, seconds } = sample;
  return {
    seconds,
    mappedBytes,
    residentBytes,
    pinnedBytes,
    faults: counters['faults'] ?? 0,
    invalidations: counters['invalidations'] ?? 0,
    pagesReclaimed: counters['pagesReclaimed'] ?? 0,
    dmaBytes: Object.fromEntries(
      devices.map(({ address, dmaBytesRead, dmaBytesWritten }) => [
        address,
        dmaBytesRead + dmaBytesWritten,
      ]),
    ),
  };
}
