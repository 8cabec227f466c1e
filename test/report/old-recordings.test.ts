/** Recordings of older versions of iopf, as a user would use them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/report/html.js';
import { damageOf, eventsOf, parseRecording } from '../../src/trace/recording.js';
import { iopf } from '../exec/run-iopf.js';
import { oldRecording, oldRecordings, writeOldRecordings } from '../trace/old-recordings.js';

const folder = mkdtempSync(join(tmpdir(), 'test-old-recordings-'));
const paths = writeOldRecordings(folder);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (...words: string[]): string => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [iopf, ...words]);
  expect([status, `${stderr}`]).toEqual([0, '']);
  return `${stdout}`;
};

describe.each(oldRecordings)('a recording of an older iopf, $name,', (old) => {
  test('has its events, and an end with what its run had counted', () => {
    const recording = parseRecording(oldRecording(old.name), old.name);
    expect(damageOf(old.name, recording)).toBeNull();
    const events = [...eventsOf(recording)];
    expect(events).toHaveLength(old.events);
    expect([...new Set(events.map(({ kind }) => kind))].sort()).toEqual(old.kinds);
    const { faults, invalidations } = old.counted;
    expect(recording.end).toMatchObject({ faults, invalidations });
  });
});

test('iopf trace prints them: head, rules, faults on purpose and what came of them', () => {
  const texts = paths.map((path) => run('trace', path).trimEnd().split('\n'));
  const expected = oldRecordings.map(({ events }) => events);
  expect(texts.map((lines) => lines.filter((line) => !line.startsWith('#')).length)).toEqual(
    expected,
  );
  expect(texts[0]![0]).toBe(
    '# node dist/examples/dma-copy/main.js: Linux 6.12, IOPF auto, pre-map 1; ' +
      '200 faults, 0 invalidations, 200 page accesses',
  );
  expect(texts[4]!.slice(1, 8)).toEqual([
    '# faults on purpose, seed 7: dma:refuse:2 memory:take:3 call:GET_INFO:50%=EINTR',
    '0.674169 map iova=[0x100000, 0x101000) vaddr=0x7fd7956fd000 rw space=0',
    '0.678015 map iova=[0x101000, 0x105000) vaddr=0x7fd7956f9000 rw space=0',
    '0.683038 read iova=[0x102000, 0x103000)',
    '0.690067 injected dma:refuse:2',
    '0.690080 read iova=[0x100000, 0x101000) refused',
    '0.693327 injected memory:take:3',
  ]);
});

test('iopf compare replays them to what their runs counted, on paper and on a page', () => {
  const html = join(folder, 'old.html');
  const json = run(
    'compare',
    '--quiet',
    '--policy',
    'iopf',
    '--html',
    html,
    '--json',
    '-',
    ...paths,
  );
  const { runs } = JSON.parse(json) as { runs: object[] };
  expect(runs).toMatchObject(oldRecordings.map(({ counted }) => counted));
  const data = /id="data">(.*?)<\/script>/s.exec(readFileSync(html, 'utf8'))![1]!;
  const shown = (JSON.parse(data) as Report).groups.flatMap((group) => group.runs);
  expect(shown).toHaveLength(oldRecordings.length);
  // Runs of one program are drawn together.
  for (const { counted } of oldRecordings)
    expect(shown.map(({ numbers }) => numbers)).toContainEqual(expect.objectContaining(counted));
});
