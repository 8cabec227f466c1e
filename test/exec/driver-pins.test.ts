import { expect, test } from 'vitest';
import { edu, program, runIopf } from './run-iopf.js';

const PAGE = 4096;
const device = `edu@${edu},faultable=0x100000-0x101000`;
const command = [process.execPath, program('driver-pins')];

test('R7.1: a device that can wait only on a part of its accesses pins the rest, and an unmap takes its pins', async () => {
  const { code, stdout, summary, stderr } = await runIopf(['--device', device], command);
  expect(stderr).not.toContain('Bug');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ arrived: true, pinned: PAGE / 1024, after: 0 });
  // One page at a time; the other is faulted in, once for each mapping.
  expect(summary!.pinnedBytesPeak).toBe(PAGE);
  expect(summary!.faults).toBe(2);
});

test('R6.2: with IOPF off all is pinned and accounted once', async () => {
  const { stdout, summary } = await runIopf(['--iopf', 'off', '--device', device], command);
  expect(JSON.parse(stdout)).toEqual({ arrived: true, pinned: 0, after: -16 * (PAGE / 1024) });
  expect(summary!.pinnedBytesPeak).toBe(16 * PAGE);
  expect(summary!.faults).toBe(0);
});

test('R6.2: what cannot be accounted is not transferred', async () => {
  // Only root has a capability to lose.
  const asRoot = process.getuid?.() === 0;
  const without = asRoot
    ? ['setpriv', '--bounding-set', '-ipc_lock', '--inh-caps', '-ipc_lock']
    : [];
  const limited = ['prlimit', '--memlock=0:0', ...without, ...command];
  const { stdout, summary } = await runIopf(['--device', device], limited);
  expect(JSON.parse(stdout)).toEqual({ arrived: false, pinned: 0, after: 0 });
  expect(summary!.pinnedBytesPeak).toBe(0);
});

test('a range of pages that is none is refused', async () => {
  const { code, stderr } = await runIopf(
    ['--device', `edu@${edu},faultable=0x100-0x200`],
    ['true'],
  );
  expect(code).toBe(125);
  expect(stderr).toContain('faultable takes none, or ranges of addresses in whole pages');
});
