import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  READ,
  type RecordedEvent,
  readRecording,
  WRITE,
  writeRecording,
} from '../../src/trace/api/index.js';

const folder = mkdtempSync(join(tmpdir(), 'iopf-recording-'));
const file = join(folder, 'run.rec');
afterAll(() => rmSync(folder, { recursive: true }));

const map = { kind: 'map', pages: 8, permission: READ | WRITE, pinned: false, space: 1 } as const;
const events: RecordedEvent[] = [
  { ...map, time: 0, iovaPage: 0x100, vaddrPage: 0x7f000 },
  { kind: 'access', time: 10, iovaPage: 0x100, count: 3, access: WRITE },
  { kind: 'refused', time: 11, iovaPage: 0x200, access: READ },
  { kind: 'invalidate', time: 20, space: 1, first: 0x7f000, count: 2, reclaimed: false },
  { kind: 'invalidate', time: 21, space: 1, first: 0x7f001, count: 1, reclaimed: true },
  { kind: 'page-lost', time: 30, iovaPage: 0x101 },
  { kind: 'unmap', time: 2 ** 40, iovaPage: 0x100, pages: 8 },
  { kind: 'space-ended', time: 2 ** 40 + 1, space: 1 },
];

test('what is written is read again: every kind of event, and what the run was', () => {
  writeRecording(file, { program: 'by hand', arguments: ['x'], assumptions: ['y'] }, events);
  for (const source of [file, readFileSync(file)]) {
    const { damage, end, header, events: read } = readRecording(source);
    expect([...read()]).toEqual(events);
    expect([...read()]).toHaveLength(events.length);
    expect(damage).toBeNull();
    expect(end).toMatchObject({ accesses: 3, invalidations: 2 });
    const about = { program: 'by hand', arguments: ['x'], iopf: 'auto', premap: 1 };
    expect(header).toMatchObject({ ...about, assumptions: ['y'] });
  }
});

test.each<[string, Partial<RecordedEvent>, RegExp]>([
  ['a time that goes back', { time: 9 }, /event 1 \(access\): time goes back to 9/],
  ['a time of no whole microseconds', { time: 10.5 }, /event 1 .*10\.5/],
  ['pages beyond 48 bits', { iovaPage: 2 ** 36 - 1 }, /iovaPage is 68719476735, with 3 pages/],
  ['no page', { iovaPage: Number.NaN }, /iovaPage is NaN/],
  ['too long a run', { count: 2 ** 20 + 1 }, /count is 1048577/],
  ['an access that is none', { access: 4 } as Partial<RecordedEvent>, /access is 4/],
  ['a kind that is none', { kind: 'acess' } as unknown as Partial<RecordedEvent>, /no such kind/],
])('%s is refused, and the file is no whole recording', (_, wrong, message) => {
  const all = [events[0]!, { ...events[1]!, ...wrong } as RecordedEvent];
  if (wrong.time === 9) all[0] = { ...events[0]!, time: 10 };
  expect(() => writeRecording(file, { program: 'x' }, all)).toThrow(message);
});

test('what is no recording, or damaged, is told', () => {
  expect(() => readRecording(Buffer.from('IOPF'))).toThrow('not a recording');
  expect(() => readRecording(join(folder, 'none'))).toThrow(/none.*ENOENT|no such/);
  writeRecording(file, { program: 'x' }, events);
  writeFileSync(file, readFileSync(file).subarray(0, -4));
  const { damage, end, events: read } = readRecording(file);
  expect(damage).toMatch(/damaged at offset/);
  expect(end).toBeNull();
  expect([...read()]).toEqual(events);
});
