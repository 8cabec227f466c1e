/**
 * `iopf exec --ui`: what the page of a run is told and can ask, how it ends, and that it costs the
 * run nothing.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { RunSummary } from '../../src/exec/run/summary.js';
import { moreIsAsked } from '../skip.js';
import { fuzz } from '../ui/fuzz.js';
import { Listening } from '../ui/view.js';
import { until } from '../until.js';
import { edu, iopf, program, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-ui-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const runs: WatchedRun[] = [];
const pages: Listening[] = [];
afterEach(() => {
  for (const page of pages.splice(0)) page.close();
  for (const run of runs.splice(0)) run.child.kill('SIGKILL');
});

/** `iopf exec --ui OPTIONS -- COMMAND` while it runs. */
class WatchedRun {
  readonly child: ChildProcessWithoutNullStreams;
  readonly code: Promise<number | null>;
  stdout = '';
  stderr = '';
  private readonly json = join(folder, `${runs.length}-${Math.random()}.json`);

  constructor(command: readonly string[], options: readonly string[] = []) {
    const words = [
      iopf,
      'exec',
      '--json',
      this.json,
      '--device',
      `edu@${edu}`,
      '--ui',
      ...options,
      '--',
    ];
    // In a session of its own: no terminal gives the program a Ctrl-C, so iopf passes SIGINT on.
    this.child = spawn(process.execPath, [...words, ...command], { detached: true });
    this.child.stdout.on('data', (text) => {
      this.stdout += text;
    });
    this.child.stderr.on('data', (text) => {
      this.stderr += text;
    });
    this.child.stdin.on('error', () => {});
    this.code = new Promise((resolve) => {
      this.child.on('close', resolve);
    });
    runs.push(this);
  }

  get summary(): RunSummary {
    return JSON.parse(readFileSync(this.json, 'utf8')) as RunSummary;
  }

  async url(): Promise<string> {
    await until(() => /at \S+/.test(this.stderr), 'the address');
    return /at (\S+)/.exec(this.stderr)![1]!;
  }

  async page(): Promise<Listening> {
    const page = new Listening(await this.url());
    pages.push(page);
    return page;
  }

  /** What the program printed. */
  // biome-ignore lint/suspicious/noExplicitAny: the program's own
  async printed(): Promise<any> {
    await until(() => this.stdout.includes('\n'), 'the program');
    return JSON.parse(this.stdout.split('\n')[0]!);
  }

  say(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON
  async ask(query: string): Promise<any> {
    const reply = await fetch((await this.url()) + query);
    expect(reply.status).toBe(200);
    return reply.json();
  }
}

const watched = [process.execPath, program('watched')];
const ended = (page: Listening): Promise<void> =>
  page.until((heard) => heard.at(-1)?.kind === 'end', 'end');

describe('a page that watches from the start', () => {
  test('hears start, samples, calls, report and end; the last numbers are those of --json', async () => {
    const run = new WatchedRun(watched, ['--premap', '2']);
    const page = await run.page();
    await run.printed();
    run.say('');
    await ended(page);
    page.close();
    expect(await run.code).toBe(7);

    expect(page.heard[0]).toEqual({
      kind: 'start',
      data: {
        kind: 'start',
        command: 'exec',
        title: `iopf exec ${process.execPath}`,
        facts: {
          program: process.execPath,
          arguments: program('watched'),
          iopf: 'auto',
          premap: 2,
          kernel: '6.12',
          devices: `edu ${edu}`,
        },
      },
    });
    const { summary } = run;
    expect(page.of('end').map(({ data }) => data)).toEqual([
      { kind: 'end', seconds: summary.wallSeconds, how: 'exit code 7', summary },
    ]);
    const last = page.of('sample').at(-1)!.data;
    for (const [name, value] of Object.entries(last.counters))
      expect({ [name]: value }).toEqual({ [name]: summary[name as keyof RunSummary] });
    expect(Object.keys(last.counters)).toEqual(
      expect.arrayContaining(['faults', 'pagesPremapped', 'mappedBytesPeak', 'interceptedCalls']),
    );
    expect(last.latency).toEqual(summary.faultLatencyUs.buckets);
    expect(last).toMatchObject({ mappedBytes: 0, residentBytes: 0, pinnedBytes: 0, ranges: [] });
    const [device] = last.devices;
    expect(device).toMatchObject({
      address: edu,
      kind: 'edu',
      open: false,
      faulting: false,
      pending: 0,
    });
    expect(device.faults).toBe(summary.faults);
    expect(device.dmaBytesRead).toBe(summary.dmaBytesRead);
    expect(device.dmaBytesWritten).toBe(summary.dmaBytesWritten);
    expect(summary).toMatchObject({ faults: 3, dmaBytesRead: 4096, dmaBytesWritten: 4096 + 64 });

    const [report] = page.of('report').map(({ data }) => data.report);
    expect(report.groups[0].runs[0]).toMatchObject({ latency: summary.faultLatencyUs.buckets });
    expect(report.groups[0].runs[0].numbers.faults).toBe(3);
    // Page 1 of the first buffer, pages 0 and 3 of the second.
    const rows = report.groups[0].runs[0].map.rows;
    const touched = rows.filter(({ cells }: { cells: { touched: number }[] }) =>
      cells.some((cell) => cell.touched),
    );
    expect(touched.length).toBeGreaterThan(0);
  });

  test('sees the VFIO calls as strace would show them', async () => {
    const run = new WatchedRun(watched);
    const page = await run.page();
    const { pid, first, second } = await run.printed();
    run.say('');
    await ended(page);
    const calls = page.of('calls').flatMap(({ data }) => data.calls);
    expect(calls.map(({ number }) => number)).toEqual(calls.map((_, index) => index));
    expect(page.of('calls').at(-1)!.data.total).toBe(calls.length);
    for (const call of calls) {
      expect(call.pid).toBe(pid);
      expect(call.microseconds).toBeGreaterThan(0);
    }
    const seconds = calls.map((call) => call.seconds);
    expect([...seconds].sort((a, b) => a - b)).toEqual(seconds);

    const container = '960</dev/vfio/vfio>';
    const group = calls.find(({ result }) => result === 961).text.match(/"(.*)"/)[1];
    const device = `962<anon_inode:[vfio-device]<${edu}>>`;
    const hex = (value: number): string => `0x${value.toString(16)}`;
    const lines = calls.map(
      ({ text, result, error }) => `${text} = ${result ?? '?'}${error ? ` ${error}` : ''}`,
    );
    expect(lines.slice(0, 12)).toEqual([
      'open("/dev/vfio/vfio", O_RDWR) = 960'.replace(
        'open(',
        lines[0]!.startsWith('openat') ? 'openat(AT_FDCWD, ' : 'open(',
      ),
      `ioctl(${container}, VFIO_GET_API_VERSION) = 0`,
      `openat(AT_FDCWD, "${group}", O_RDWR) = 961`,
      `ioctl(961<${group}>, VFIO_GROUP_GET_STATUS, {argsz=8, flags=0} => {flags=VFIO_GROUP_FLAGS_VIABLE}) = 0`,
      `ioctl(961<${group}>, VFIO_GROUP_SET_CONTAINER, [960]) = 0`,
      `ioctl(${container}, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) = 0`,
      `ioctl(961<${group}>, VFIO_GROUP_GET_DEVICE_FD, "${edu}") = 962`,
      `pwrite64(${device}, "\\x06\\x00", 2, 0x70000000004 /* config+0x4 */) = 2`,
      `pread64(${device}, "\\xed\\x00\\x00\\x01", 4, 0x0 /* BAR0+0x0 */) = 4`,
      `ioctl(${container}, VFIO_IOMMU_MAP_DMA, {iova=0x100000, argsz=32, flags=VFIO_DMA_MAP_FLAG_READ, vaddr=${hex(first)}, size=0x2000}) = 0`,
      `ioctl(${container}, VFIO_IOMMU_MAP_DMA, {iova=0x8000000, argsz=32, flags=VFIO_DMA_MAP_FLAG_READ|VFIO_DMA_MAP_FLAG_WRITE, vaddr=${hex(second)}, size=0x4000}) = 0`,
      `pwrite64(${device}, "\\x00\\x10\\x10\\x00\\x00\\x00\\x00\\x00", 8, 0x80 /* BAR0+0x80 */) = 8`,
    ]);
    expect(lines.at(-1)).toBe(
      `ioctl(${container}, VFIO_IOMMU_UNMAP_DMA, {argsz=24, flags=0, iova=0x8000000, size=0x4000}) = 0`,
    );
    expect(calls.at(-1)).toMatchObject({ call: 'ioctl(VFIO_IOMMU_UNMAP_DMA)', descriptor: 960 });
  });
});

describe('what a page can ask', () => {
  test('which pages are mapped, resident, touched, faulted and invalidated, down to single pages', async () => {
    const run = new WatchedRun(watched);
    await run.printed();
    const ask = (): Promise<unknown> =>
      run.ask('map?segments=256:2:2,32768:4:4,0:68719476736:2,0:524288:128,32767:3:3');
    const column = { pagesPerRow: 1, pagesPerCell: 1 };
    const before = (await ask()) as { columns: unknown[] };
    expect(before.columns.slice(0, 2)).toEqual([
      {
        ...column,
        first: 256,
        mapped: [1, 1],
        resident: [0, 1],
        touched: [0, 1],
        faulted: [0, 1],
        taken: [0, 0],
      },
      {
        ...column,
        first: 32768,
        mapped: [1, 1, 1, 1],
        resident: [1, 0, 0, 1],
        touched: [1, 0, 0, 1],
        faulted: [1, 0, 0, 1],
        taken: [0, 0, 0, 0],
      },
    ]);
    expect(before.columns[2]).toEqual({
      ...column,
      pagesPerRow: 2 ** 35,
      first: 0,
      mapped: [6, 0],
      resident: [3, 0],
      touched: [3, 0],
      faulted: [3, 0],
      taken: [0, 0],
    });
    const wide = before.columns[3] as { mapped: number[]; resident: number[] };
    expect(wide.mapped.flatMap((pages, row) => (pages === 0 ? [] : [[row, pages]]))).toEqual([
      [0, 2],
      [8, 4],
    ]);
    expect(before.columns[4]).toMatchObject({ mapped: [0, 1, 1], resident: [0, 1, 0] });

    run.say('take');
    await until(() => run.stdout.includes('taken'), 'the page to go');
    const after = (await ask()) as { columns: unknown[] };
    expect(after.columns[1]).toMatchObject({
      mapped: [1, 1, 1, 1],
      resident: [1, 0, 0, 0],
      taken: [0, 0, 0, 1],
    });
  });

  test('what stands in the I/O page tables, and where it leads', async () => {
    const run = new WatchedRun(watched);
    const { pid, first, second } = await run.printed();
    const entry = { container: 0, ioas: null, domain: 0, pid, dirty: null };
    expect(await run.ask('table?first=32768&pages=4')).toEqual({
      mapping: { iova: 0x8000000, bytes: 0x4000, vaddr: second, permission: 'rw', pinned: false },
      entries: [
        { ...entry, iova: 0x8000000, vaddr: second, permission: 'rw' },
        { ...entry, iova: 0x8003000, vaddr: second + 0x3000, permission: 'rw' },
      ],
      absent: 2,
    });
    expect(await run.ask('table?first=257&pages=32000')).toEqual({
      mapping: { iova: 0x100000, bytes: 0x2000, vaddr: first, permission: 'r', pinned: false },
      entries: [{ ...entry, iova: 0x101000, vaddr: first + 0x1000, permission: 'r' }],
      absent: 31999,
    });
    expect(await run.ask('table?first=0&pages=16')).toEqual({
      mapping: null,
      entries: [],
      absent: 16,
    });
  });

  test('pinned mappings are resident as a whole', async () => {
    const run = new WatchedRun(watched, ['--iopf', 'off']);
    const page = await run.page();
    await run.printed();
    const { columns } = await run.ask('map?segments=32768:4:4');
    expect(columns).toMatchObject([
      { mapped: [1, 1, 1, 1], resident: [1, 1, 1, 1], touched: [1, 0, 0, 1] },
    ]);
    const table = await run.ask('table?first=32768&pages=8');
    expect(table).toMatchObject({ mapping: { pinned: true }, absent: 4 });
    await page.until((heard) => heard.some(({ data }) => data.ranges?.length === 2), 'ranges');
    const sample = page.of('sample').at(-1)!.data;
    expect(sample).toMatchObject({
      mappedBytes: 0x6000,
      pinnedBytes: 0x6000,
      residentBytes: 0x6000,
    });
    expect(sample.ranges).toEqual([
      [0x100000, 0x2000],
      [0x8000000, 0x4000],
    ]);
    expect(sample.devices).toMatchObject([
      { open: true, faulting: false, faults: 0, space: { container: 0, ioas: null } },
    ]);
  });
});

describe('the end', () => {
  test('nobody looked: iopf ends with its program, with the exit code of that', async () => {
    const run = new WatchedRun(['sh', '-c', 'exit 3']);
    expect(await run.code).toBe(3);
    expect(run.stderr).toMatch(
      /^iopf: live view at http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/\niopf: sh: exit code 3/,
    );
  });

  test('a page that comes after the end gets the whole run, and can still ask; then Ctrl-C ends iopf', async () => {
    const run = new WatchedRun(watched);
    const first = await run.page();
    await run.printed();
    run.say('');
    await ended(first);
    const late = await run.page();
    await ended(late);
    const kinds = (page: Listening): string[] =>
      [...new Set(page.heard.map(({ kind }) => kind))].sort();
    expect(kinds(late)).toEqual(['calls', 'end', 'report', 'sample', 'start']);
    expect(late.of('sample')).toEqual(first.of('sample'));
    const calls = (page: Listening): unknown[] =>
      page.of('calls').flatMap(({ data }) => data.calls);
    expect(calls(late)).toEqual(calls(first));
    const { columns } = await run.ask('map?segments=32768:4:4');
    expect(columns).toMatchObject([
      { mapped: [0, 0, 0, 0], touched: [1, 0, 0, 1], taken: [1, 0, 0, 1] },
    ]);
    expect(await run.ask('table?first=0&pages=9')).toEqual({
      mapping: null,
      entries: [],
      absent: 9,
    });
    expect(run.child.exitCode).toBeNull();
    run.child.kill('SIGINT');
    expect(await run.code).toBe(7);
    await late.closed;
  });

  test('SIGINT and SIGTERM during the run are the program’s own', async () => {
    const run = new WatchedRun([
      'sh',
      '-c',
      'trap "echo INT" INT; trap "exit 5" TERM; echo {}; while :; do sleep 0.1; done',
    ]);
    await run.printed();
    run.child.kill('SIGINT');
    await until(() => run.stdout.includes('INT'), 'the program has the signal');
    expect((await fetch(await run.url())).status).toBe(200);
    expect(run.child.exitCode).toBeNull();
    run.child.kill('SIGTERM');
    expect(await run.code).toBe(5);
  });

  test('a program that cannot run is one message and exit code 127, and nothing stays behind', async () => {
    const run = new WatchedRun(['/nonexistent/program']);
    expect(await run.code).toBe(127);
    expect(run.stderr).toMatch(/program not found/);
  });
});

describe('the command line:', () => {
  test.each([
    [
      'a word that is no port',
      ['--ui', 'true'],
      /"true" is not a port \(0 to 65535\); .*before --/,
    ],
    ['a port that is too large', ['--ui', '65536'], /"65536" is not a port/],
    ['a port that is negative', ['--ui=-1'], /"-1" is not a port/],
  ])('%s', async (_, options, message) => {
    const run = await runIopf([...options], ['true']);
    expect(run.stderr).toMatch(message);
    expect(run.stderr.trim().split('\n')).toHaveLength(1);
    expect(run.code).toBe(125);
  });

  test('a port that is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const run = await runIopf(['--ui', `${port}`], ['true']);
    other.close();
    expect(run.stderr).toBe(`iopf: cannot serve the live view on port ${port}: EADDRINUSE\n`);
    expect(run.code).toBe(125);
  });

  test.each([[['--ui']], [['--ui', '0']], [['--ui=0']]])(
    '%j serves on a free port',
    async (options) => {
      const run = await runIopf(options, ['true']);
      expect(run.stderr).toMatch(/live view at http:\/\/127\.0\.0\.1:\d+\//);
      expect(run.code).toBe(0);
    },
  );
});

test('the program inherits nothing of the view', async () => {
  const run = new WatchedRun(watched);
  const { sockets } = await run.printed();
  const plain = new WatchedRun(watched);
  // Its stdin, stdout and stderr may be sockets here: the same ones without a view.
  expect(sockets).toEqual((await plain.printed()).sockets);
  expect(sockets.filter((fd: string) => Number(fd) > 2)).toEqual([]);
});

/** What does not depend on when things happen. */
const lasting = ({
  exitCode,
  signal,
  faults,
  dmaBytesRead,
  dmaBytesWritten,
  mappedBytesPeak,
}: RunSummary) => ({
  exitCode,
  signal,
  faults,
  dmaBytesRead,
  dmaBytesWritten,
  mappedBytesPeak,
});

test.skipIf(!moreIsAsked('a fuzzer of the live view'))(
  'three thousand requests that make no sense do not change the run, which ends as it would have',
  async () => {
    const quiet = new WatchedRun(watched);
    await quiet.printed();
    quiet.say('');
    await quiet.code;

    const run = new WatchedRun(watched);
    await run.printed();
    const page = await run.page();
    const answers = await fuzz(await run.url(), 1, 3000);
    // All kinds of answers: the requests got past each check.
    for (const status of ['200', '400', '403', '404', '405', '414', 'none'])
      expect({ [status]: answers.get(status) ?? 0 }).not.toEqual({ [status]: 0 });
    const { columns } = await run.ask('map?segments=32768:4:4');
    expect(columns).toMatchObject([{ resident: [1, 0, 0, 1], touched: [1, 0, 0, 1] }]);
    run.say('');
    await ended(page);
    page.close();
    expect(await run.code).toBe(7);
    expect(lasting(run.summary)).toEqual(lasting(quiet.summary));
    expect(run.stderr.replace(/^iopf: live view at.*\n/, '')).toMatch(
      /^iopf: \S+: exit code 7;[\s\S]*intercepted calls.*\n(iopf: over; .*\n)?$/,
    );
  },
);

test('canary: the same requests end a server that trusts what it is asked', async () => {
  const trusting = `const server = require('node:http').createServer((request, response) => {
    const rows = Number(new URL(request.url, 'http://x').searchParams.get('pages') ?? 1);
    response.end(JSON.stringify(new Array(rows).fill(0)));
  }).listen(0, '127.0.0.1', () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ['-e', trusting], { stdio: ['ignore', 'pipe', 'ignore'] });
  const code = new Promise((resolve) => {
    child.on('exit', resolve);
  });
  const port = await new Promise<string>((resolve) => {
    child.stdout.on('data', (text) => resolve(String(text).trim()));
  });
  await fuzz(`http://127.0.0.1:${port}/${'A'.repeat(32)}/`, 1, 300);
  expect(await code).not.toBe(0);
});
