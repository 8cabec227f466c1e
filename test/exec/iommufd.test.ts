/** Programs that use iommufd, as users run them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { have } from '../skip.js';
import { edu, program as nodeProgram, repository, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-iommufd-'));
const program = join(folder, 'iommufd');
const device = ['--device', `edu@${edu}`];
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!have('cc', 'the program of iommufd.c'))('a program with iommufd', () => {
  beforeAll(() => {
    const source = join(import.meta.dirname, 'programs/iommufd.c');
    const { stderr } = spawnSync('cc', ['-O1', '-Wall', '-o', program, source]);
    expect(`${stderr}`).toBe('');
  });

  test('opens /dev/iommu, and maps and unmaps memory in an IOAS', async () => {
    const { code, stdout, stderr } = await runIopf(device, [program]);
    expect(stderr).toMatch(/exit code 0/);
    expect(stdout).toBe('ioas 1, mapped at a page: 1, unmapped 1048576 bytes\n');
    expect(code).toBe(0);
  });

  test('binds a device by its own file, and its DMA reaches what an IOAS maps', async () => {
    const { stdout, stderr, summary } = await runIopf(device, [program, edu]);
    expect(stderr).toMatch(/exit code 0/);
    expect(stdout.split('\n').slice(1, 3)).toEqual([
      'device 2 of 9 regions, page table 4: sixteen bytes..',
      'detached: 0',
    ]);
    expect(summary!.pinnedBytesPeak).toBe(0);
  });

  test('has all of it pinned with IOPF off', async () => {
    const { stdout, summary } = await runIopf(['--iopf', 'off', ...device], [program, edu]);
    expect(stdout).toMatch(/sixteen bytes/);
    expect(summary!.pinnedBytesPeak).toBe(1 << 20);
  });

  // Of an nvme its queues are asked for as well, those of the admin queue before the first copy.
  test.each([
    ['ats', 0, 0],
    ['nvme', 2, 2],
  ])(
    'examples/on-demand: maps what its %s asks for, or leaves that to IOPF',
    async (kind, admin, io) => {
      const main = join(repository, 'dist/examples/on-demand/main.js');
      const on = ['--device', `${kind}@${edu}`];
      const asked = await runIopf(['--kernel', '7.2', ...on], [process.execPath, main, edu]);
      const copied = '500 pages copied by the device, 0 wrong';
      expect(asked.stdout).toBe(`${copied}; ${256 + io} page requests here\n`);
      expect(asked.summary!.pagesFaultedIn).toBe(0);
      expect(asked.summary!.pinnedBytesPeak).toBe((256 + admin + io) * 4096);
      expect(asked.summary!.faultLatencyUs.min).toBeGreaterThan(0);
      const left = await runIopf(on, [process.execPath, main, edu, 'iopf']);
      expect(left.stdout).toBe(`${copied}; 0 page requests here\n`);
      const pagesFaultedIn = 256 + admin + io;
      expect(left.summary).toMatchObject({ pagesFaultedIn, pinnedBytesPeak: 0 });
    },
  );

  test('examples/on-demand: a device with ATS and PRI has a fault queue without IOPF too', async () => {
    const main = join(repository, 'dist/examples/on-demand/main.js');
    const options = ['--kernel', '7.2', '--iopf', 'off', '--device', `ats@${edu}`];
    const { stdout } = await runIopf(options, [process.execPath, main, edu]);
    expect(stdout).toBe('500 pages copied by the device, 0 wrong; 256 page requests here\n');
  });

  test('has a first stage of its own, whose entries it makes when they are asked for', async () => {
    const nested = [process.execPath, nodeProgram('nested'), edu];
    const { stdout, stderr, summary } = await runIopf(['--device', `ats@${edu}`], nested);
    expect(stdout, stderr).toBe('asked for 0x100000 1, 0x101000 2; copied true\n');
    // Its four tables and the two pages.
    expect(summary).toMatchObject({ pagesFaultedIn: 6, pinnedBytesPeak: 0 });
    const off = await runIopf(['--iopf', 'off', '--device', `ats@${edu}`], nested);
    expect(off.stderr).toMatch(/IOMMU_HWPT_ALLOC: .*EOPNOTSUPP/);
  });

  test('finds none where the kernel has none', async () => {
    const { code, stderr } = await runIopf(['--kernel', '6.1', ...device], [program]);
    expect(stderr).toMatch(/open: No such file or directory/);
    expect(code).toBe(1);
  });
});
