/** What `--trace` writes, and when. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Observer } from '../../src/iommu/observer.js';
import { openTrace } from '../../src/trace/trace-file.js';

const folder = mkdtempSync(join(tmpdir(), 'iopf-trace-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const monotonic = (): number => Number(process.hrtime.bigint() / 1000n);

/** A trace whose clock is at 5 s, of a program with a long name. */
function trace(name: string) {
  let clock = 5e6;
  const task = { name: '/usr/bin/a-name-that-is-long\n', pid: 42 };
  const opened = openTrace(
    at(name),
    () => clock,
    () => task,
  );
  const pass = (us: number): void => {
    clock += us;
  };
  return { ...opened, pass, text: () => readFileSync(at(name), 'utf8') };
}

const device = { address: '0000:02:00.0' } as Parameters<Observer['pageRequest']>[0];

/** One of each, 1 ms apart. */
function everything({ observer, pass }: ReturnType<typeof trace>): void {
  const events = [
    () => observer.map(0x100, 0x7f, 2),
    () => observer.unmap(0x100, 2, 1),
    () => observer.pageRequest(device, 0x101, 3, -1, 7, true),
    () => observer.pageResponse(device, -1, 7, 0),
    () => observer.pageRequest(device, 0x102, 1, 5, 8, false),
    () => observer.pageResponse(device, 5, 8, 1),
    () => observer.invalidate?.(3, 0x200, 4, 2, true),
    () => observer.invalidate?.(3, 0x200, 4, 2, false),
    () => observer.faultMade?.('dma:refuse:2'),
  ];
  for (const event of events) {
    event();
    pass(1000);
  }
}

describe('the kernel’s text', () => {
  it('has ftrace’s head, and a line for each event: task, CPU, seconds, event', () => {
    const opened = trace('run.txt');
    const before = monotonic();
    everything(opened);
    expect(opened.close()).toBeNull();
    const lines = opened.text().split('\n');
    expect(lines[0]).toBe('# tracer: nop');
    expect(lines[2]).toBe('#           TASK-PID     CPU#     TIMESTAMP  FUNCTION');
    const events = lines.filter((line) => line !== '' && !line.startsWith('#'));
    const starts = events.map((line) => line.slice(0, line.indexOf(']') + 2));
    expect(starts).toEqual(Array(7).fill(' a-name-that-is--42      [000] '));
    const times = events.map((line) => Number(/\] +(\d+\.\d{6}): /.exec(line)![1]) * 1e6);
    expect(times.map((time) => Math.round(time - times[0]!))).toEqual([
      0, 1e3, 2e3, 3e3, 4e3, 5e3, 8e3,
    ]);
    // CLOCK_MONOTONIC.
    expect(Math.abs(times[0]! - before)).toBeLessThan(60e6);
    expect(events.map((line) => line.replace(/^.*?\d: /, ''))).toEqual([
      'map: IOMMU: iova=0x0000000000100000 - 0x0000000000102000 paddr=0x000000000007f000 size=8192',
      'unmap: IOMMU: iova=0x0000000000100000 - 0x0000000000102000 size=8192 unmapped_size=4096',
      'dev_fault: IOMMU:0000:02:00.0 type=2 reason=0 addr=0x0000000000101000 pasid=0 group=7 flags=2 prot=3',
      'dev_page_response: IOMMU:0000:02:00.0 code=0 pasid=0 group=7',
      'dev_fault: IOMMU:0000:02:00.0 type=2 reason=0 addr=0x0000000000102000 pasid=5 group=8 flags=1 prot=1',
      'dev_page_response: IOMMU:0000:02:00.0 code=1 pasid=5 group=8',
      'tracing_mark_write: iopf: injected dma:refuse:2',
    ]);
  });
});

describe('Chrome’s format', () => {
  it('has the process once, spans for page requests, and instants for the rest', () => {
    const opened = trace('run.json');
    everything(opened);
    opened.close();
    const [head, ...events] = JSON.parse(opened.text());
    const args = { name: '/usr/bin/a-name-that-is-long\n' };
    expect(head).toEqual({ name: 'process_name', ph: 'M', pid: 42, tid: 42, args });
    const first = events[0].ts;
    const all = { pid: 42, tid: 42 };
    const instant = { ph: 'i', s: 't', ...all };
    const request = { name: 'page request', cat: '0000:02:00.0', ...all };
    const ids = ['0000:02:00.0/-1/7', '0000:02:00.0/5/8'];
    const told = events.map(({ ts, ...event }: { ts: number }) => [Math.round(ts - first), event]);
    expect(told).toEqual([
      [0, { name: 'map', ...instant, args: { iova: '0x100000', paddr: '0x7f000', size: 8192 } }],
      [1e3, { name: 'unmap', ...instant, args: { iova: '0x100000', size: 8192, unmapped: 4096 } }],
      [
        2e3,
        {
          ...request,
          ph: 'b',
          id: ids[0],
          args: { iova: '0x101000', access: 3, pasid: -1, group: 7, last: true },
        },
      ],
      [3e3, { ...request, ph: 'e', id: ids[0], args: { code: 0 } }],
      [
        4e3,
        {
          ...request,
          ph: 'b',
          id: ids[1],
          args: { iova: '0x102000', access: 1, pasid: 5, group: 8, last: false },
        },
      ],
      [5e3, { ...request, ph: 'e', id: ids[1], args: { code: 1 } }],
      [
        6e3,
        {
          name: 'reclaim',
          ...instant,
          args: { space: 3, vaddr: '0x200000', size: 16384, removed: 8192 },
        },
      ],
      [8e3, { name: 'injected', ...instant, args: { rule: 'dma:refuse:2' } }],
    ]);
  });

  it('opens without its end, too: what is there is whole events', () => {
    const opened = trace('killed.json');
    opened.observer.map(1, 2, 3);
    opened.pass(500_000);
    opened.tick();
    expect(JSON.parse(`${opened.text()}]`)).toHaveLength(2);
  });
});

describe('the file', () => {
  it('gets what happened when it is half a second old, or 64 KiB long', () => {
    const opened = trace('ages.txt');
    const length = (): number => opened.text().length;
    opened.observer.map(1, 2, 3);
    opened.pass(499_999);
    opened.tick();
    expect(length()).toBe(0);
    opened.pass(1);
    opened.tick();
    const first = length();
    expect(first).toBeGreaterThan(0);
    // Its age begins anew.
    opened.observer.map(1, 2, 3);
    opened.pass(499_999);
    opened.tick();
    expect(length()).toBe(first);
    for (let i = 0; i < 2000 && length() === first; i++) opened.observer.map(1, 2, 3);
    expect(length() - first).toBeGreaterThanOrEqual(65536);
    expect(length() - first).toBeLessThan(65536 + 200);
  });

  it('is as it was where nothing ran, and is not there where it was not', () => {
    writeFileSync(at('old.txt'), 'old');
    for (const name of ['old.txt', 'new.txt']) trace(name).discard();
    expect(readFileSync(at('old.txt'), 'utf8')).toBe('old');
    expect(existsSync(at('new.txt'))).toBe(false);
    // A run in which nothing happened has begun all the same.
    trace('old.txt').close();
    expect(readFileSync(at('old.txt'), 'utf8')).toMatch(/^# tracer/);
  });

  it('says what is missing where there is no room, and the run goes on', () => {
    const opened = openTrace(
      '/dev/full',
      () => 0,
      () => ({ name: 'p', pid: 1 }),
    );
    opened.observer.map(1, 2, 3);
    expect(opened.close()).toBe('the trace /dev/full is incomplete: ENOSPC');
  });
});
