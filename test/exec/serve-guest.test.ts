/**
 * A Linux guest in QEMU, whose vfio-user-pci is a client of `iopf serve`: its memory shared as a
 * file, and not shared at all (the device asks for it by messages).
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServeSummary } from '../../src/serve/serve.js';
import { moreIsAsked } from '../skip.js';
import { Guest, guestKernel, qemuWithVfioUser } from './guest.js';
import { igbKernel, loadIgb } from './igb-kernel.js';
import { ServedDevice } from './served-device.js';

const MIB = 2 ** 20;
const GUEST_MIB = 256;
const TEST_MS = 300_000;

const what = 'a guest on iopf serve';
const kernel = moreIsAsked(what) ? guestKernel() : null;
const command = kernel === null ? null : qemuWithVfioUser(what);
const igb = command === null ? null : igbKernel(`igb in ${what}`);

/** For QEMU: the guest's memory is a file that it shares. */
const shared = [
  '-object',
  `memory-backend-memfd,id=memory,size=${GUEST_MIB}M,share=on`,
  '-machine',
  'memory-backend=memory',
];

const client = (path: string): string[] => [
  '-device',
  JSON.stringify({ driver: 'vfio-user-pci', socket: { type: 'unix', path } }),
];

let folder: string;
let guest: Guest | null = null;
let served: ServedDevice | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'test-serve-guest-'));
});
afterEach(async () => {
  await guest?.dispose();
  await served?.close();
  guest = served = null;
  rmSync(folder, { recursive: true, force: true });
});

const disk = (): Buffer => readFileSync(join(folder, 'disk'));
const summary = (): ServeSummary =>
  JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8')) as ServeSummary;

/** Writes what is in a file of the guest's to the disk, and reads the same back from there. */
async function writesAndReads(running: Guest, file: string, at: number): Promise<void> {
  const block = 'bs=64k 2> /dev/null';
  await running.run('for try in $(seq 50); do [ -b /dev/nvme0n1 ] && break; sleep 0.2; done');
  await running.run(`dd if=${file} of=/dev/nvme0n1 seek=${at} conv=fsync ${block}`);
  await running.run('echo 3 > /proc/sys/vm/drop_caches');
  await running.run(`dd if=/dev/nvme0n1 of=/tmp/back skip=${at} count=16 ${block}`);
  await running.run(`cmp ${file} /tmp/back`);
}

describe.skipIf(command === null)("QEMU's vfio-user-pci on iopf serve", () => {
  test.each([
    ['shares its memory', shared],
    ['is asked for its memory by messages', []],
  ])(
    'a guest that %s: writes, reads, interrupts, a reset, and the server dies',
    async (_, memory) => {
      const [first, second] = [randomBytes(MIB), randomBytes(MIB)];
      served = await new ServedDevice(`nvme,file=${join(folder, 'disk')},size=64M`, [
        '--json',
        join(folder, 'summary.json'),
      ]).listening();
      guest = await Guest.boot({
        kernel: kernel!,
        command: command!,
        memoryMib: GUEST_MIB,
        qemu: [...memory, ...client(served.socket)],
        files: { first, second },
      });
      await writesAndReads(guest, '/first', 0);
      expect(disk().subarray(0, MIB).equals(first)).toBe(true);
      expect(await guest.run('grep nvme0q /proc/interrupts')).toMatch(/\s[1-9]\d*\s+PCI-MSI/);

      await guest.run('echo 1 > /sys/class/nvme/nvme0/reset_controller');
      await writesAndReads(guest, '/second', 16);
      expect(
        disk()
          .subarray(MIB, 2 * MIB)
          .equals(second),
      ).toBe(true);

      served.child.kill('SIGTERM');
      expect(await served.ended).toBe(0);
      const isShared = memory.length > 0;
      expect(summary()).toMatchObject({ clients: 1, refusedAccesses: 0, pinnedBytesPeak: 0 });
      expect(summary().mappedBytesPeak).toBeGreaterThanOrEqual(GUEST_MIB * MIB);
      expect(summary().dmaMessages > 0).toBe(!isShared);
      // Reads find all ones, writes are lost, and the machine goes on.
      expect(await guest.run('cat /sys/class/nvme/nvme0/device/config | od -An -tx1 -N4')).toMatch(
        /ff ff ff ff/,
      );
      const { code, stderr } = await guest.powerOff();
      expect(code, stderr).toBe(0);
      expect(stderr).toContain('Broken pipe');
    },
    TEST_MS,
  );

  test.skipIf(igb === null)(
    "a guest's igb: it binds, has a link, and passes its own test",
    async () => {
      served = await new ServedDevice('igb').listening();
      guest = await Guest.boot({
        kernel: igb!.kernel,
        files: igb!.files,
        command: command!,
        memoryMib: GUEST_MIB,
        qemu: [...shared, ...client(served.socket)],
      });
      await guest.run(loadIgb);
      await guest.run(
        'ip link set eth0 up; until grep -q 1 /sys/class/net/eth0/carrier; do sleep 0.1; done',
      );
      const said = await guest.run('ethtool -t eth0 offline');
      expect(said).toMatch(/result is PASS/);
      expect(await guest.run('cat /proc/interrupts')).toMatch(/[1-9]\d*\s+PCI-MSI .* eth0-rx-0/);
      const { code, stderr } = await guest.powerOff();
      expect(code, stderr).toBe(0);
    },
    TEST_MS,
  );
});
