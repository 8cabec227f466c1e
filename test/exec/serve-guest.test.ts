/**
 * A Linux guest in QEMU, whose vfio-user-pci is a client of `iopf serve`: its memory shared as a
 * file, and not shared at all (the device asks for it by messages).
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServeSummary } from '../../src/serve/serve.js';
import { moreIsAsked } from '../skip.js';
import { until } from '../until.js';
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

interface Mode {
  readonly name: string;
  readonly qemu: readonly string[];
  readonly append?: string;
  /** The device reaches memory by messages. */
  readonly asks: boolean;
  /** The server ends before the guest does. */
  readonly dies: boolean;
}
const modes: readonly Mode[] = [
  { name: 'shares its memory', qemu: shared, asks: false, dies: true },
  { name: 'is asked by messages (two processors)', qemu: ['-smp', '2'], asks: true, dies: true },
  {
    name: 'has an IOMMU of its own',
    qemu: [...shared, '-machine', 'q35', '-device', 'intel-iommu,caching-mode=on'],
    append: 'intel_iommu=on',
    asks: false,
    // QEMU gives up where it cannot map memory when the guest takes its IOMMU down.
    dies: false,
  },
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

/** The server goes. Reads find all ones, and the machine goes on. */
async function lives(running: Guest, server: ServedDevice): Promise<void> {
  server.child.kill('SIGTERM');
  await server.ended;
  const config = '/sys/class/nvme/nvme0/device/config';
  expect(await running.run(`od -An -tx1 -N4 ${config}`)).toMatch(/ff ff ff ff/);
}

describe.skipIf(command === null)("QEMU's vfio-user-pci on iopf serve", () => {
  test.each(modes)(
    'a guest that $name: writes, reads, interrupts, a reset, an end',
    async ({ append = '', asks, dies, qemu }) => {
      const [first, second] = [randomBytes(MIB), randomBytes(MIB)];
      served = await new ServedDevice(`nvme,file=${join(folder, 'disk')},size=64M`, [
        '--json',
        join(folder, 'summary.json'),
      ]).listening();
      guest = await Guest.boot({
        kernel: kernel!,
        command: command!,
        memoryMib: GUEST_MIB,
        qemu: [...qemu, ...client(served.socket)],
        append,
        files: { first, second },
      });
      await writesAndReads(guest, '/first', 0);
      expect(disk().subarray(0, MIB).equals(first)).toBe(true);
      expect(await guest.run('grep nvme0q /proc/interrupts')).toMatch(/ [1-9]\d* .*PCI-MSI/);

      await guest.run('echo 1 > /sys/class/nvme/nvme0/reset_controller');
      expect(await guest.run('cat /sys/class/nvme/nvme0/device/reset_method')).toContain('flr');
      await guest.run('echo 1 > /sys/class/nvme/nvme0/device/reset');
      await writesAndReads(guest, '/second', 16);
      expect(
        disk()
          .subarray(MIB, 2 * MIB)
          .equals(second),
      ).toBe(true);

      if (dies) await lives(guest, served);
      const { code, stderr } = await guest.powerOff();
      expect(code, stderr).toBe(0);
      expect(stderr.includes('Broken pipe')).toBe(dies);
      served.child.kill('SIGTERM');
      expect([await served.ended, served.said]).toEqual([
        0,
        expect.not.stringContaining('given up'),
      ]);
      const { clients, dmaMessages, mappedBytesPeak, refusedAccesses } = summary();
      expect([clients, dmaMessages > 0, refusedAccesses]).toEqual([1, asks, 0]);
      expect(mappedBytesPeak).toBeGreaterThanOrEqual(GUEST_MIB * MIB);
    },
    TEST_MS,
  );

  // By messages, this QEMU ends on an assertion of its own where its server is killed meanwhile.
  test.each(modes.filter(({ dies }) => dies))(
    'a guest that $name goes on when the server goes in the middle of its I/O',
    async ({ asks, qemu }) => {
      writeFileSync(join(folder, 'disk'), Buffer.alloc(64 * MIB, 0xff));
      served = await new ServedDevice(`nvme,file=${join(folder, 'disk')}`).listening();
      guest = await Guest.boot({
        kernel: kernel!,
        command: command!,
        memoryMib: GUEST_MIB,
        qemu: [...qemu, ...client(served.socket)],
        append: 'nvme_core.io_timeout=2 nvme_core.max_retries=0',
      });
      await guest.run('until [ -b /dev/nvme0n1 ]; do sleep 0.2; done');
      const write = 'dd if=/dev/zero of=/dev/nvme0n1 bs=64k count=1000 conv=fsync 2> /tmp/dd';
      await guest.run(`while ${write}; do :; done & writer=$!`);
      await until(() => disk()[0] === 0, 'the guest writes');
      served.child.kill(asks ? 'SIGTERM' : 'SIGKILL');
      await served.ended;
      await guest.run('wait $writer');
      expect(await guest.run('cat /tmp/dd')).toMatch(/error|can't open/);
      expect(await guest.run('dmesg')).toMatch(/I\/O error, dev nvme0n1/);
      const { code, stderr } = await guest.powerOff();
      expect(code, stderr).toBe(0);
      expect(stderr).toMatch(/Broken pipe|Connection reset/);
    },
    TEST_MS,
  );

  test.skipIf(igb === null)(
    "a guest's igb, by messages: it binds, has a link, and passes its own test",
    async () => {
      served = await new ServedDevice('igb').listening();
      guest = await Guest.boot({
        kernel: igb!.kernel,
        files: igb!.files,
        command: command!,
        memoryMib: GUEST_MIB,
        qemu: client(served.socket),
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
