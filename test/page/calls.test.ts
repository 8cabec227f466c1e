import { describe, expect, it } from 'vitest';
import type { LiveCall } from '../../src/live/live.js';
import { CallStore, everything, line, passes } from '../../src/page/call-filter.js';

const call = (number: number, more: Partial<LiveCall> = {}): LiveCall => ({
  number,
  seconds: 0.25,
  pid: 7,
  call: 'ioctl(VFIO_IOMMU_MAP_DMA)',
  descriptor: 960,
  text: 'ioctl(960</dev/vfio/vfio>, VFIO_IOMMU_MAP_DMA, {argsz=32})',
  result: 0,
  error: null,
  microseconds: 12.5,
  ...more,
});
const failed = call(1, { result: -22, error: 'EINVAL', descriptor: 961 });

describe('the log of calls', () => {
  it.each([
    [{}, true, true],
    [{ call: 'ioctl(VFIO_IOMMU_MAP_DMA)' }, true, true],
    [{ call: 'mmap' }, false, false],
    [{ result: 'ok' }, true, false],
    [{ result: 'failed' }, false, true],
    [{ result: 'EINVAL' }, false, true],
    [{ result: 'EBUSY' }, false, false],
    [{ descriptor: '960' }, true, false],
    [{ text: 'MAP_dma' }, true, true],
    [{ text: '= -1 einval' }, false, true],
    [{ descriptor: '960', result: 'failed' }, false, false],
  ])('filter %j shows a call that succeeded: %s, one that failed: %s', (filter, ok, bad) => {
    expect([
      passes({ ...everything, ...filter }, call(0)),
      passes({ ...everything, ...filter }, failed),
    ]).toEqual([ok, bad]);
  });

  it('writes a call as strace does', () => {
    const text = 'ioctl(960</dev/vfio/vfio>, VFIO_IOMMU_MAP_DMA, {argsz=32})';
    expect(line(call(0))).toBe(`  0.250000 [7] ${text} = 0 <0.000013>`);
    expect(line(failed)).toBe(`  0.250000 [7] ${text} = -1 EINVAL <0.000013>`);
    expect(line(call(0, { result: null }))).toContain(' = ? ');
    expect(line(call(0, { result: 0x7f0000000000 }))).toContain(' = 0x7f0000000000 ');
  });

  it('keeps the newest, counts all, and takes none twice', () => {
    const store = new CallStore(100);
    for (let from = 0; from < 1000; from += 50) {
      // Told again after a reconnect.
      const calls = Array.from({ length: 60 }, (_, index) => call(Math.max(0, from - 10) + index));
      const { added, gone } = store.add(calls, from + 50);
      expect(added.length).toBeGreaterThan(0);
      expect(gone).toBeLessThanOrEqual(120);
      expect(store.calls.length).toBeLessThanOrEqual(120);
    }
    expect(store.total).toBe(1000);
    const numbers = store.calls.map(({ number }) => number);
    expect(numbers).toEqual(
      Array.from({ length: numbers.length }, (_, index) => 1000 - numbers.length + index),
    );
    expect(numbers.length).toBeGreaterThanOrEqual(100);
  });
});
