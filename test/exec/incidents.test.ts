/** What a user is told first when a driver has a bug: nvme-bugs.c has one of each. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { have } from '../skip.js';
import { nvme, type RunResult, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-incidents-'));
const driver = join(folder, 'driver');
const source = join(import.meta.dirname, 'programs/nvme-bugs.c');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (bug: string, ...options: string[]): Promise<RunResult> =>
  runIopf(['--device', `nvme@${nvme},size=4M`, ...options], [driver, nvme, bug]);

test('a program that does not use VFIO is told so, and what to do', async () => {
  const { stderr } = await runIopf([], ['true']);
  expect(stderr.split('\n').slice(0, 3)).toEqual([
    'iopf: true: exit code 0; IOPF auto, pre-map 1, Linux 6.12 ABI',
    '  Nothing was seen: no file in /dev/vfio was opened.',
    '  try                add a device, like --device edu@0000:00:04.0, and give its address to the program',
  ]);
});

describe.skipIf(!have('cc', 'drivers with bugs'))('a driver', () => {
  beforeAll(() => {
    const { status, stderr } = spawnSync('cc', ['-O1', '-Wall', '-o', driver, source]);
    expect(`${stderr}`).toBe('');
    expect(status).toBe(0);
  });

  test('without a bug has nothing refused, lost or failed', async () => {
    const { code, stderr, summary } = await run('none');
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/^iopf: .*driver: exit code 0/);
    expect(summary).toMatchObject({
      refusedAccesses: 0,
      refused: [],
      lostInterrupts: [],
      failedCalls: [],
    });
  });

  test('whose buffer is not mapped: the first line names device, address and reason', async () => {
    const { code, stderr, summary } = await run('hole');
    expect(code).toBe(1);
    expect(stderr.split('\n').slice(0, 3)).toEqual([
      `iopf: refused 1 access: nvme ${nvme} wrote 0x641000 (not mapped)`,
      '  nearest mapping    4 KiB behind the end of [0x620000, 0x640000)',
      '  asked by           read, command 1 of submission queue 1',
    ]);
    expect(summary!.refusedAccesses).toBe(1);
    expect(summary!.refused).toEqual([
      {
        device: nvme,
        kind: 'nvme',
        iova: 0x641000,
        access: 'write',
        reason: 'not mapped',
        count: 1,
        firstAtSeconds: expect.any(Number),
        nearest: '4 KiB behind the end of [0x620000, 0x640000)',
        asker: 'read, command 1 of submission queue 1',
      },
    ]);
  });

  test.each(['auto', 'off'])(
    'whose buffer may only be read is told so, --iopf %s',
    async (mode) => {
      const { stderr } = await run('read-only', '--iopf', mode);
      expect(stderr).toContain(
        `iopf: refused 1 access: nvme ${nvme} wrote 0x63f000 (permission)\n` +
          '  nearest mapping    [0x620000, 0x640000) is read-only\n',
      );
    },
  );

  test('that forgets bus mastering is told so, once, though the device only waits', async () => {
    const { code, stderr, summary } = await run('master');
    expect(code).toBe(3);
    expect(stderr).toMatch(
      new RegExp(`^iopf: refused 1 access: nvme ${nvme} read 0x600000 \\(bus mastering off\\)\n`),
    );
    expect(summary!.refused).toMatchObject([{ asker: 'entries of submission queue 0' }]);
  });

  test('whose queue has a vector without an eventfd is told which', async () => {
    const { code, stderr, summary } = await run('vector');
    expect(code).toBe(1);
    expect(summary!.lostInterrupts).toEqual([
      { device: nvme, kind: 'nvme', interrupt: 'MSI-X', vector: 1, count: 1 },
    ]);
    expect(stderr).toContain(`  no eventfd for     MSI-X vector 1 of nvme ${nvme}\n`);
  });

  test('whose calls fail is told which, how and how often', async () => {
    const { code, stderr, summary } = await run('calls');
    expect(code).toBe(0);
    expect(summary!.failedCalls).toEqual([
      { call: 'ioctl(VFIO_IOMMU_MAP_DMA)', error: 'EEXIST', count: 2 },
      { call: 'ioctl(VFIO_IOMMU_MAP_DMA)', error: 'EINVAL', count: 1 },
    ]);
    expect(stderr).toContain(
      '  failed calls       ioctl(VFIO_IOMMU_MAP_DMA) EEXIST × 2, ioctl(VFIO_IOMMU_MAP_DMA) EINVAL\n',
    );
  });
});
