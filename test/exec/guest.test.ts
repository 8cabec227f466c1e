/** A whole Linux guest in Debian's unmodified QEMU, with our nvme passed through (vfio-pci); emulated (TCG), so no KVM is needed. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { have, nvme, runIopf } from './run-iopf.js';

const WRITTEN_BYTES = 8 * 2 ** 20;
const GUEST_BYTES = 512 * 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'test-guest-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A kernel with the nvme driver built in, such as Debian's linux-image-cloud-amd64. */
function guestKernel(): string | null {
  const installed = existsSync('/boot')
    ? readdirSync('/boot').filter((name) => /^vmlinuz-.*cloud/.test(name))
    : [];
  const kernel =
    process.env['IOPF_GUEST_KERNEL'] ?? (installed[0] === undefined ? null : `/boot/${installed[0]}`);
  if (kernel === null)
    console.warn('SKIPPED: a guest: no /boot/vmlinuz-*cloud*, and IOPF_GUEST_KERNEL is not set');
  return kernel;
}

/** Writes random bytes to the disk, drops them from memory and reads them back. */
const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for try in 1 2 3 4 5 6 7 8 9; do [ -b /dev/nvme0n1 ] && break; sleep 1; done
dd if=/dev/urandom of=/data bs=1M count=8 2>/dev/null
dd if=/data of=/dev/nvme0n1 bs=1M 2>/dev/null; sync; echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/nvme0n1 of=/back bs=1M count=8 2>/dev/null
cmp /data /back && echo "guest read $(sha256sum < /back)"
grep -q 'nvme0q1' /proc/interrupts && echo "guest got interrupts"
poweroff -f
`;

function makeInitrd(): string {
  const root = join(folder, 'root');
  for (const name of ['bin', 'proc', 'sys', 'dev']) mkdirSync(join(root, name), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  writeFileSync(join(root, 'init'), init);
  chmodSync(join(root, 'init'), 0o755);
  const path = join(folder, 'initrd');
  execFileSync('sh', ['-c', `find . | cpio -o -H newc --quiet > ${path}`], { cwd: root });
  return path;
}

function firstBytes(path: string): string {
  const bytes = Buffer.alloc(WRITTEN_BYTES);
  readSync(openSync(path, 'r'), bytes, 0, bytes.length, 0);
  return createHash('sha256').update(bytes).digest('hex');
}

const kernel = guestKernel();
const tools = ['qemu-system-x86_64', 'busybox', 'cpio'].every((command) => have(command, 'a guest'));

describe.skipIf(kernel === null || !tools)('a Linux guest with our nvme passed through', () => {
  test.each(['auto', 'off'])(
    'reads back what it wrote, and so does the file behind the disk, --iopf %s',
    async (mode) => {
      const disk = join(folder, `disk-${mode}`);
      const qemu = [
        'qemu-system-x86_64',
        '-m',
        '512M',
        '-nographic',
        '-no-reboot',
        '-nic',
        'none',
        '-kernel',
        kernel!,
        '-initrd',
        makeInitrd(),
      ];
      const run = await runIopf(
        ['--iopf', mode, '--device', `nvme@${nvme},file=${disk},size=64M`],
        [...qemu, '-append', 'console=ttyS0 quiet panic=-1', '-device', `vfio-pci,host=${nvme}`],
      );
      expect(run.code, run.stderr).toBe(0);
      expect(run.stdout).toContain(`guest read ${firstBytes(disk)}`);
      expect(run.stdout).toContain('guest got interrupts');
      const { mappedBytesPeak, pinnedBytesPeak, residentBytesPeak } = run.summary!;
      expect(mappedBytesPeak).toBeGreaterThanOrEqual(GUEST_BYTES);
      if (mode === 'auto') {
        expect(pinnedBytesPeak).toBe(0);
        expect(residentBytesPeak).toBeLessThan(GUEST_BYTES / 8);
      } else expect(pinnedBytesPeak).toBe(mappedBytesPeak);
    },
    120_000,
  );
});
