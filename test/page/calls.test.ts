import { describe, expect, it } from 'vitest';
import type { LiveCall } from '../../src/live/live.js';
import { CallStore, entriesOf, everything, line, passes } from '../../src/page/call-filter.js';
import { marksOf } from '../../src/page/marks.js';
import { sample } from '../ui/view.js';

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

  it('shows what was refused, and resets, between the calls before and after', () => {
    const refused = {
      device: '0000:02:00.0',
      kind: 'nvme',
      iova: 0x641000,
      access: 'write',
      reason: 'not mapped',
      count: 3,
      firstAtSeconds: 2.5,
      asker: 'read, command 5 of submission queue 1',
    };
    const marks = marksOf({
      ...sample(9),
      incidents: { refused: [refused], lostInterrupts: [], failedCalls: [] },
      events: [
        { kind: 'reset', device: '0000:02:00.0', seconds: 1 },
        { kind: 'injected', device: 'dma:refuse:3', seconds: 2.75 },
      ],
    });
    const calls = [call(0), call(1, { seconds: 2 }), call(2, { seconds: 3, error: 'EINVAL' })];
    const kinds = (filter: object): string[] =>
      entriesOf(calls, marks, { ...everything, ...filter }).map((entry) =>
        'kind' in entry ? entry.kind : `${entry.number}`,
      );
    expect(kinds({})).toEqual(['0', 'reset', '1', 'refused', 'injected', '2']);
    expect(kinds({ call: 'refused' })).toEqual(['refused']);
    expect(kinds({ result: 'failed' })).toEqual(['refused', '2']);
    expect(kinds({ result: 'ok' })).toEqual(['0', '1']);
    expect(kinds({ descriptor: '960' })).toEqual(['0', '1', '2']);
    expect(kinds({ text: '0X641000' })).toEqual(['refused']);
    expect(line(marks[2]!)).toBe('  2.750000 -- injected: dma:refuse:3 made a fault on purpose');
    expect(line(marks[1]!)).toBe(
      '  2.500000 -- refused: nvme 0000:02:00.0 wrote 0x641000 (not mapped), ' +
        'asked by read, command 5 of submission queue 1',
    );
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
