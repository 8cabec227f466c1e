/** Faults on purpose, as programs see them: injected.c says what happens to it, round by round. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventsOf, parseRecording } from '../../src/trace/recording.js';
import { have } from '../skip.js';
import { nvme, qemuBench, type RunResult, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-inject-'));
const driver = join(folder, 'driver');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const device = ['--device', `nvme@${nvme},size=4M`];
const rules = (texts: readonly string[]): string[] => texts.flatMap((text) => ['--inject', text]);
const run = (texts: readonly string[], rounds: number, ...more: string[]): Promise<RunResult> =>
  runIopf([...device, ...rules(texts), ...more], [driver, nvme, `${rounds}`]);
const GOOD = 'write 0, read 0, interrupts 1, data right, errno 0';

describe.skipIf(!have('cc', 'a driver with faults on purpose'))('a driver', () => {
  beforeAll(() => {
    const source = join(import.meta.dirname, 'programs/injected.c');
    const { status, stderr } = spawnSync('cc', ['-O1', '-Wall', '-o', driver, source]);
    expect(`${stderr}`).toBe('');
    expect(status).toBe(0);
  });

  test('meets each fault at its time and place, and no other', async () => {
    const file = join(folder, 'rules.yaml');
    const recorded = join(folder, 'run.rec');
    const texts = [
      'nvme:write:1=status:0x280',
      'nvme:read:2=never',
      'interrupt:drop:3@vector=1',
      'interrupt:duplicate:4@vector=1',
      // The buffer of reads: its first page request is that of the first read.
      'iommu:request:1=INVALID@iova=0x605000',
      // The buffer of writes: the first that is carried out is the second.
      'dma:refuse:1@iova=0x604000,access=read',
      'call:VFIO_DEVICE_GET_INFO:6=EINTR',
    ];
    writeFileSync(file, `rules:\n${texts.map((text) => `  - ${text}\n`).join('')}`);
    const { code, stderr, stdout, summary } = await runIopf(
      [...device, '--inject', file, '--record', recorded],
      [driver, nvme, '7'],
    );
    expect(stdout.trimEnd().split('\n'), stderr).toEqual([
      'write 280, read 4, interrupts 1, data wrong, errno 0',
      'write 4, read -, interrupts 1, data wrong, errno 0',
      'write 0, read 0, interrupts 0, data right, errno 0',
      'write 0, read 0, interrupts 2, data right, errno 0',
      GOOD,
      'write 0, read 0, interrupts 1, data right, errno 4',
      GOOD,
    ]);
    expect(code).toBe(0);
    expect(summary!.injected.map(({ count, rule }) => [rule, count])).toEqual(
      texts.map((text) => [text, 1]),
    );
    expect(summary!.refused).toMatchObject([
      { iova: 0x605000, access: 'write', reason: 'injected' },
      { iova: 0x604000, access: 'read', reason: 'injected' },
    ]);
    expect(summary!.failedCalls).toEqual([
      { call: 'ioctl(VFIO_DEVICE_GET_INFO)', error: 'EINTR', count: 1 },
    ]);
    const recording = parseRecording(readFileSync(recorded), 'run.rec');
    expect(recording.header.inject).toEqual({ rules: texts, seed: 0 });
    const made = [...eventsOf(recording)].flatMap((e) => (e.kind === 'injected' ? [e.rule] : []));
    expect(made.sort()).toEqual([...texts].sort());
    expect(stderr).toContain('  injected           nvme:read:2=never\n');
    expect(stderr).toContain(`  again              iopf exec --json `);
  });

  test('never notices that its memory is taken away, whenever that is', async () => {
    const { stdout, summary } = await run(['memory:take'], 4);
    expect(stdout).toBe(`${GOOD}\n`.repeat(4));
    const [taken] = summary!.injected;
    expect(taken!.count).toBe(taken!.passed);
    expect(taken!.count).toBeGreaterThan(12);
    // Each page that went was asked for again; six are there at the end.
    expect(summary!.pagesInvalidated).toBeGreaterThan(taken!.count / 2);
    expect(summary!.faults).toBe(summary!.pagesInvalidated + 6);
  });

  test('never notices either that all of it goes between two accesses', async () => {
    const { stdout, summary } = await run(['memory:take-all:/5'], 3);
    expect(stdout).toBe(`${GOOD}\n`.repeat(3));
    const [taken] = summary!.injected;
    expect(taken!.count).toBeGreaterThan(1);
    expect(summary!.pagesInvalidated).toBeGreaterThan(taken!.count);
    expect(summary!.faults).toBeGreaterThan(6);
  });

  test('is refused where a page request is answered FAILURE, and waits where it is lost', async () => {
    // The buffers of reads and of writes.
    const texts = ['iommu:request:1=FAILURE@iova=0x605000', 'iommu:request:1=FULL@iova=0x604000'];
    const { stdout, summary } = await run(texts, 2);
    expect(stdout).toBe(`${GOOD.replace('read 0', 'read 4').replace('right', 'wrong')}\n${GOOD}\n`);
    expect(summary!.refused).toMatchObject([{ iova: 0x605000, reason: 'injected', count: 1 }]);
    expect(summary!.injected).toMatchObject([{ count: 1 }, { count: 1 }]);
  });

  test('is refused a page of a group that is answered in part, and finds it there then', async () => {
    const { stdout, summary } = await run(['iommu:request=PARTIAL@iova=0x604000'], 3);
    // The write of the first round; the page has come, and nobody asks for it again.
    expect(stdout.trimEnd().split('\n')).toEqual([
      'write 4, read 0, interrupts 1, data wrong, errno 0',
      GOOD,
      GOOD,
    ]);
    expect(summary!.injected).toMatchObject([{ count: 1, passed: 1 }]);
    expect(summary!.refused).toMatchObject([{ iova: 0x604000, reason: 'injected', count: 1 }]);
  });

  test('whose controller breaks down reads CSTS.CFS, and no completion', async () => {
    // Two commands make the queues; the sixth behind them is the read of the third round.
    const { code, stdout } = await run(['nvme:CSTS.CFS:8'], 9);
    expect(stdout.split('\n').slice(0, 2)).toEqual([GOOD, GOOD]);
    expect(stdout).toMatch(/\nended 5, ERR 0, REQ 0\n$/);
    expect(code).toBe(5);
  });

  test('whose device is pulled out reads ones and is told at ERR and REQ', async () => {
    const { code, stdout, summary } = await run(['device:unplug:60'], 10000);
    expect(stdout).toMatch(/^ended 6, ERR 1, REQ 1\n$/m);
    expect(code).toBe(6);
    expect(summary!.injected).toMatchObject([{ count: 1, passed: 60 }]);
  });

  test('whose device dies reads ones, and is told nothing', async () => {
    const { code, stdout } = await run(['device:dead:60'], 10000);
    expect(stdout).toMatch(/^ended 6, ERR 0, REQ 0\n$/m);
    expect(code).toBe(6);
  });

  test('whose device is pulled out at a time reads ones from then on', async () => {
    const { code, stdout, summary } = await run(['device:unplug@300ms'], 1000000);
    expect(stdout).toMatch(/^ended 6, /m);
    expect(code).toBe(6);
    expect(summary!.injected).toMatchObject([{ count: 1 }]);
  });

  test('reads a register as the rule has it, and takes the device for gone', async () => {
    const { stdout } = await run(['register:bar0+0x1c:1=0xffffffff'], 1);
    expect(stdout).toBe('ended 6, ERR 0, REQ 0\n');
  });

  test('is told by an interrupt of what never happened', async () => {
    // Before the first round, when the interrupts are armed.
    const { stdout } = await run(['interrupt:spurious:32@vector=1'], 2);
    expect(stdout).toBe(`${GOOD.replace('interrupts 1', 'interrupts 2')}\n${GOOD}\n`);
  });

  test('that cannot map is told the errno of the rule, with all else as it was', async () => {
    const { code, stdout, summary } = await run(['call:MAP_DMA:1=ENOMEM'], 1);
    expect(stdout).toBe('map: errno 12\n');
    expect(code).toBe(1);
    expect(summary!.mappedBytesPeak).toBe(0);
  });

  test('that gets no interrupts from the host is told so', async () => {
    const { code, stderr } = await run(['call:SET_IRQS:1=EAGAIN'], 1);
    expect(stderr).toMatch(/VFIO_DEVICE_SET_IRQS.*: Resource temporarily unavailable$/m);
    expect(code).toBe(1);
  });

  test('gets its answer late where the call takes a time, and only once', async () => {
    const late = await run(['call:DEVICE_GET_INFO:1=late:200ms', 'call:GET_INFO:2=EINTR'], 3);
    expect(late.stdout).toBe(`${GOOD}\n${GOOD.replace('errno 0', 'errno 4')}\n${GOOD}\n`);
    expect(late.summary!.injected).toMatchObject([
      { count: 1, passed: 4 },
      { count: 1, passed: 4 },
    ]);
    expect(late.summary!.wallSeconds).toBeGreaterThanOrEqual(0.2);
  });

  test('whose group is shared with the host is refused a container', async () => {
    const { code, stderr } = await run(['group:not-viable'], 1);
    expect(stderr).toMatch(
      /^ioctl\(group, VFIO_GROUP_SET_CONTAINER, .*: Operation not permitted$/m,
    );
    expect(code).toBe(1);
  });

  test('meets what comes by chance at the same times with the same seed', async () => {
    const first = await run(['call:GET_INFO:50%=EINTR'], 12);
    const { again, seed } = first.summary!;
    expect(again).toContain(`--seed ${seed} `);
    const second = await run(['call:GET_INFO:50%=EINTR'], 12, '--seed', `${seed}`);
    expect(second.stdout).toBe(first.stdout);
    expect(second.summary!.injected).toEqual(first.summary!.injected);
  });
});

describe.skipIf(!have('qemu-img', 'qemu-img with faults on purpose'))('qemu-img', () => {
  test('reports a read error', async () => {
    const options = [...device, ...rules(['nvme:read:5=status:0x281'])];
    const { code, stderr, summary } = await runIopf(options, qemuBench(50, 4));
    expect(stderr).toMatch(/^qemu-img: Failed request: /);
    expect(code).toBe(1);
    expect(summary!.injected).toMatchObject([{ count: 1 }]);
  });

  // Its driver has no time limit: a queue that is refused (CSTS.CFS) is the end of what it does.
  test('reports data that the device was refused', async () => {
    const image = join(folder, 'image.raw');
    writeFileSync(image, Buffer.alloc(1 << 20, 7));
    // Queues are below, data is above.
    const data = 'dma:refuse:100@access=read,iova=0x1000000-0x8000000000';
    const convert = ['qemu-img', 'convert', '-f', 'raw', '-O', 'raw', '-n', image];
    const { code, stderr, summary } = await runIopf(
      [...device, ...rules([data])],
      [...convert, `nvme://${nvme}/1`],
    );
    expect(stderr).toMatch(/^qemu-img: error while writing at byte 0: Input\/output error$/m);
    expect(code).toBe(1);
    expect(summary!.refused).toMatchObject([{ access: 'read', reason: 'injected', count: 1 }]);
  });
});

test('a wrong rule is one line, and nothing runs', async () => {
  const { code, stderr, summary } = await runIopf(rules(['nvme:raed:3=never']), ['true']);
  expect(stderr).toMatch(
    /^iopf: --inject: rule "nvme:raed:3=never": there is no command "raed"; .*\n$/,
  );
  expect(code).toBe(125);
  expect(summary).toBeNull();
});
