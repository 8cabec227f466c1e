/** Recordings of live runs, and their replays. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/report/html.js';
import { compare } from '../../src/sim/compare.js';
import { exportRecording } from '../../src/sim/export.js';
import { eventsOf, parseRecording, type Recording } from '../../src/trace/recording.js';
import { have } from '../skip.js';
import { until } from '../until.js';
import { edu, iopf, nvme, program, qemuBench, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-record-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'run.rec');

function recording(): Recording {
  return parseRecording(readFileSync(file), 'run.rec');
}

/**
 * What a recording of these events may take: three bytes for a run and three for a step of time,
 * whatever the machine's speed. Bytes for each access tell nothing of the format: a slow or busy
 * machine has longer pauses between shorter runs.
 */
function mostBytes(of: Recording): number {
  let [bytes, last] = [1024, 0];
  for (const { kind, time } of eventsOf(of)) {
    if (time !== last) bytes += 3;
    bytes += kind === 'access' ? 3 : 24;
    last = time;
  }
  return bytes;
}

test.each([
  'munmap',
  'munmap and mmap again',
  'mmap fixed',
  'dontneed',
  'mremap away',
  'mremap over',
  'mprotect none',
  'mprotect read',
  'fork',
])(
  'a recording of %s under a live mapping replays to the same faults and invalidations',
  async (event) => {
    const live = await runIopf(
      ['--device', `edu@${edu}`, '--record', file],
      ['node', program('memory-event'), event],
    );
    expect(live.code, live.stderr).toBe(0);
    const order = { inputs: [file], policies: ['iopf'], model: null, seed: 1, jobs: 1 };
    const { faults, invalidations } = live.summary!;
    expect(invalidations).toBeGreaterThan(0);
    expect((await compare(order)).comparison.runs[0]).toMatchObject({ faults, invalidations });
  },
);

/**
 * The shell lives on, so that the run does: the process's end is handled before its files' (R5.11).
 */
test('a recording of a process that ends before the run does replays to the same invalidations: its end is none', async () => {
  const live = await runIopf(
    ['--device', `edu@${edu}`, '--record', file],
    ['sh', '-c', `node ${program('memory-event')} 'mprotect none'; true`],
  );
  expect(live.code, live.stderr).toBe(0);
  const { faults, invalidations } = live.summary!;
  expect(invalidations).toBe(1);
  const order = { inputs: [file], policies: ['iopf'], model: null, seed: 1, jobs: 1 };
  expect((await compare(order)).comparison.runs[0]).toMatchObject({ faults, invalidations });
});

test('--model lets page requests take the time at which compare prices them', async () => {
  const model = ['--model', 'odp'];
  const live = await runIopf(
    ['--device', `edu@${edu}`, ...model, '--record', file],
    ['node', 'dist/examples/dma-copy/main.js'],
  );
  expect(live.code, live.stderr).toBe(0);
  const order = { inputs: [file], policies: ['iopf'], model: 'odp', seed: 1, jobs: 1 };
  const [priced] = (await compare(order)).comparison.runs;
  const { faults, stallSecondsLive, stallSecondsPriced } = live.summary!;
  // 220 us each: what the model's file says.
  expect([faults, stallSecondsPriced]).toEqual([200, 0.044]);
  expect(priced).toMatchObject({ faults, stallSeconds: stallSecondsPriced });
  expect(stallSecondsLive).toBeGreaterThanOrEqual(stallSecondsPriced!);
  expect(live.stderr).toMatch(/\n {2}stalled {12}\d.* of the run\); priced by odp: 44\.0 ms\n/);
  const unknown = await runIopf(['--model', 'odd'], ['true']);
  expect(unknown.stderr).toMatch(/^iopf: unknown model "odd"; shipped: .*odp.*\n$/);
  expect(unknown.code).toBe(125);
});

const ofTheHead: readonly string[] = ['schema', 'version', 'verdict', 'hint'];

test('iopf exec --html writes the numbers of its summary, and what the run looked like', async () => {
  const html = join(folder, 'run.html');
  const live = await runIopf(
    ['--device', `edu@${edu}`, '--html', html],
    ['node', 'dist/examples/dma-copy/main.js'],
  );
  expect(live.code, live.stderr).toBe(0);
  const data = /id="data">(.*?)<\/script>/s.exec(readFileSync(html, 'utf8'))![1]!;
  const run = (JSON.parse(data) as Report).groups[0]!.runs[0]!;
  const { faultLatencyUs, ...rest } = live.summary!;
  const { buckets, ...latency } = faultLatencyUs;
  const named = Object.entries(latency).map(([name, value]) => [`faultLatencyUs.${name}`, value]);
  // What is no number, and no word about the run, has a place of its own on the page.
  const numbers = Object.entries(rest).filter(
    ([name, value]) => !ofTheHead.includes(name) && (value === null || typeof value !== 'object'),
  );
  expect(run.numbers).toEqual(Object.fromEntries([...numbers, ...named]));
  expect(run.latency).toEqual(buckets);
  const sum = (values: readonly number[]): number =>
    values.reduce((total, value) => total + value, 0);
  expect(sum(run.timeline.map(({ faults }) => faults))).toBe(rest.faults);
  expect(sum(run.map!.rows.flatMap(({ cells }) => cells.map(({ faulted }) => faulted)))).toBe(
    rest.faults,
  );
  expect(sum(run.map!.rows.flatMap(({ cells }) => cells.map(({ mapped }) => mapped)))).toBe(
    rest.pagesFaultedIn,
  );
});

describe.skipIf(!have('qemu-img', 'recordings of qemu-img'))('a recording of qemu-img', () => {
  const image = join(folder, 'image.raw');
  writeFileSync(image, randomBytes(8 * 2 ** 20));
  const device = ['--device', `nvme@${nvme},size=64M`, '--record', file];
  const convert = [
    'qemu-img',
    'convert',
    '-O',
    'raw',
    '-n',
    '-f',
    'raw',
    image,
    `nvme://${nvme}/1`,
  ];
  const bench = qemuBench(5000, 32);

  test.each([
    ['convert', '1', convert],
    ['convert', '64', convert],
    ['bench', '1', bench],
    ['bench', '8', bench],
  ])(
    '%s, pre-map %s, replays to the same faults and invalidations',
    async (_name, premap, command) => {
      const live = await runIopf(['--premap', premap, ...device], command);
      expect(live.code, live.stderr).toBe(0);
      const policy = premap === '1' ? 'iopf' : `iopf:premap=${premap}`;
      const order = { inputs: [file], policies: [policy], model: null, seed: 1, jobs: 1 };
      const { comparison, warnings } = await compare(order);
      expect(warnings).toEqual([]);
      const { faults, invalidations, mappedBytesPeak, residentBytesPeak } = live.summary!;
      expect(faults).toBeGreaterThan(0);
      expect(comparison.runs[0]).toMatchObject({
        faults,
        invalidations,
        mappedBytesPeak,
        residentBytesPeak,
      });
      const { end } = recording();
      expect(end).toMatchObject({ faults, invalidations });
      expect(statSync(file).size).toBeLessThanOrEqual(mostBytes(recording()));
    },
  );

  test('can be exported: as many page requests as there were, in the kernel’s form and in Chrome’s', async () => {
    const live = await runIopf(device, convert);
    let kernel = '';
    exportRecording(recording(), 'kernel', (text) => {
      kernel += text;
    });
    expect(kernel.match(/: dev_fault: IOMMU:/gm)).toHaveLength(live.summary!.faults);
    let chrome = '';
    exportRecording(recording(), 'chrome', (text) => {
      chrome += text;
    });
    const traceEvents = JSON.parse(chrome) as { ph: string }[];
    expect(traceEvents.filter(({ ph }) => ph === 'b')).toHaveLength(live.summary!.faults);
  });

  test('is readable up to the last second after a SIGKILL', async () => {
    rmSync(file, { force: true });
    const long = qemuBench(100000000, 4);
    const child = spawn(process.execPath, [iopf, 'exec', '--quiet', ...device, '--', ...long], {
      stdio: 'ignore',
    });
    const ended = new Promise((done) => child.on('close', done));
    await until(() => existsSync(file) && statSync(file).size > 10_000, 'the device works');
    child.kill('SIGKILL');
    await ended;
    const { end, header } = recording();
    expect(end).toBeNull();
    expect(header.program).toContain('qemu-img');
    let last = 0;
    for (const { time } of eventsOf(recording())) last = time;
    expect(last).toBeGreaterThan(100_000);
  });
});
