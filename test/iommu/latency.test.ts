import { expect, test } from 'vitest';
import { LATENCY_BUCKET_NAMES, LatencyHistogram } from '../../src/iommu/latency.js';

test('latencies fall into VT-d’s buckets, lower bound included', () => {
  const histogram = new LatencyHistogram();
  for (const latency of [0, 0.099, 0.1, 0.9, 1, 10, 100, 1000, 9999, 10_000, 1e7])
    histogram.record(latency);
  expect([...histogram.buckets]).toEqual([2, 2, 1, 1, 1, 2, 2]);
  expect(LATENCY_BUCKET_NAMES.length).toBe(histogram.buckets.length);
  expect(histogram.min).toBe(0);
  expect(histogram.max).toBe(1e7);
  expect(histogram.count).toBe(11);
});

test('percentiles are within 5 % of the true ones', () => {
  const histogram = new LatencyHistogram();
  for (let i = 1; i <= 10_000; i++) histogram.record(i / 10);
  for (const fraction of [0.01, 0.5, 0.9, 0.99, 1]) {
    expect(histogram.percentile(fraction) / (1000 * fraction)).toBeGreaterThan(0.95);
    expect(histogram.percentile(fraction) / (1000 * fraction)).toBeLessThan(1.05);
  }
});

test('an empty histogram is all zeros', () => {
  const histogram = new LatencyHistogram();
  expect([histogram.min, histogram.max, histogram.percentile(0.5)]).toEqual([0, 0, 0]);
});
