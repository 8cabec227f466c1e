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

test('a percentile is half a bucket off at most, a sixteenth of a doubling, and no value beyond', () => {
  for (let latency = 1; latency < 2; latency += 1 / 512) {
    const histogram = new LatencyHistogram();
    for (const each of [latency / 1000, latency, latency * 1000]) histogram.record(each);
    const doublings = Math.log2(histogram.percentile(0.5) / latency);
    expect(Math.abs(doublings)).toBeLessThanOrEqual(1 / 32 + 1e-9);
  }
  const hours = new LatencyHistogram();
  for (const each of [1e10, 1e12]) hours.record(each);
  expect([hours.percentile(0.5), hours.max]).toEqual([1e10, 1e12]);
});

test('what took no time is told as a nanosecond where others took longer', () => {
  const histogram = new LatencyHistogram();
  for (const latency of [0, 0, 5]) histogram.record(latency);
  expect(histogram.percentile(0.5)).toBeCloseTo(0.00102, 5);
});

test('an empty histogram is all zeros', () => {
  const histogram = new LatencyHistogram();
  expect([histogram.min, histogram.max, histogram.percentile(0.5)]).toEqual([0, 0, 0]);
});
