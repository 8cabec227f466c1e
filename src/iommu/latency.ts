/**
 * Upper bounds of VT-d's latency buckets in microseconds (debugfs: dmar_perf_latency); the last
 * bucket has none.
 */
const LATENCY_BOUNDS_US: readonly number[] = [0.1, 1, 10, 100, 1_000, 10_000];
export const LATENCY_BUCKET_NAMES: readonly string[] = [
  '<0.1us',
  '0.1us-1us',
  '1us-10us',
  '10us-100us',
  '100us-1ms',
  '1ms-10ms',
  '>=10ms',
];

/** Fine buckets: 16 per doubling, from 1 ns to 2^40 ns (18 minutes). */
const PER_DOUBLING = 16;
const DOUBLINGS = 40;

/**
 * Latencies at fixed cost: VT-d's buckets exactly, percentiles within 5 %. All values are
 * microseconds.
 */
export class LatencyHistogram {
  count = 0;
  max = 0;
  private least = Number.POSITIVE_INFINITY;
  /** Counts of VT-d's buckets, in the order of `LATENCY_BUCKET_NAMES`. */
  readonly buckets = new Float64Array(LATENCY_BUCKET_NAMES.length);
  private readonly fine = new Float64Array(PER_DOUBLING * DOUBLINGS);

  record(latency: number): void {
    this.count++;
    if (latency > this.max) this.max = latency;
    if (latency < this.least) this.least = latency;
    let bucket = 0;
    while (bucket < 6 && latency >= LATENCY_BOUNDS_US[bucket]!) bucket++;
    this.buckets[bucket]!++;
    const index = Math.max(0, Math.floor(Math.log2(latency * 1000) * PER_DOUBLING));
    this.fine[Math.min(index, this.fine.length - 1)]!++;
  }

  /** 0 where nothing was recorded. */
  get min(): number {
    return this.count === 0 ? 0 : this.least;
  }

  /**
   * The latency that a share `fraction` (0 to 1) of all did not exceed; 0 where nothing was
   * recorded.
   */
  percentile(fraction: number): number {
    if (this.count === 0) return 0;
    const wanted = Math.max(1, Math.ceil(this.count * fraction));
    let seen = 0;
    for (let index = 0; index < this.fine.length; index++) {
      seen += this.fine[index]!;
      if (seen < wanted) continue;
      const middle = 2 ** ((index + 0.5) / PER_DOUBLING) / 1000;
      return Math.min(Math.max(middle, this.least), this.max);
    }
    return this.max;
  }
}
