/** A Linux guest in QEMU with our nvme passed through by its own file and an iommufd. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Guest, guestKernel, qemuWithIommufd } from './guest.js';
import { nvme } from './run-iopf.js';

const MIB = 2 ** 20;
const GUEST_MIB = 256;
const folder = mkdtempSync(join(tmpdir(), 'test-guest-iommufd-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const kernel = guestKernel();
const command = kernel === null ? null : qemuWithIommufd();

describe.skipIf(command === null)('a Linux guest with our nvme passed through by iommufd', () => {
  test('boots, and what it writes is in the disk’s file; nothing is pinned', async () => {
    const random = randomBytes(MIB);
    const disk = join(folder, 'disk');
    const guest = await Guest.boot({
      kernel: kernel!,
      command: command!,
      memoryMib: GUEST_MIB,
      qemu: ['-object', 'iommufd,id=i0'],
      devices: { [nvme]: ',iommufd=i0' },
      iopf: ['--iopf', 'auto', '--device', `nvme@${nvme},file=${disk},size=64M`],
      files: { random },
    });
    try {
      await guest.run('for try in $(seq 50); do [ -b /dev/nvme0n1 ] && break; sleep 0.2; done');
      await guest.run('dd if=/random of=/dev/nvme0n1 bs=64k conv=fsync 2>/dev/null');
      await guest.run('echo 3 > /proc/sys/vm/drop_caches');
      await guest.run('dd if=/dev/nvme0n1 of=/tmp/back bs=64k count=16 2>/dev/null');
      await guest.run('cmp /random /tmp/back');
      const { code, stderr, summary } = await guest.powerOff();
      expect(code, stderr).toBe(0);
      expect(readFileSync(disk).subarray(0, MIB).equals(random)).toBe(true);
      expect(summary!.mappedBytesPeak).toBeGreaterThanOrEqual(GUEST_MIB * MIB);
      expect(summary!.pinnedBytesPeak).toBe(0);
      expect(summary!.pagesFaultedIn).toBeGreaterThan(256);
    } finally {
      await guest.dispose();
    }
  }, 240_000);
});
