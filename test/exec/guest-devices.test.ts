/**
 * What QEMU's vfio-pci asks of devices while a Linux guest runs: interrupts of every kind, resets,
 * power, hot plug, groups. What it asked of a real kernel is test/vfio/clients.
 */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { moreIsAsked } from '../skip.js';
import { Guest, guestKernel } from './guest.js';
import { nvme, repository } from './run-iopf.js';

const TEST_MS = 300_000;
/** Where the guest finds a device that QEMU was given with `addr=`. */
const inSlot = (slot: string): string => `/sys/bus/pci/devices/0000:00:${slot}`;

const folder = mkdtempSync(join(tmpdir(), 'test-guest-devices-'));
let guest: Guest | null = null;
afterEach(async () => {
  await guest?.dispose();
  guest = null;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Ends the run as a user would. */
async function expectGoodEnd(running: Guest): Promise<void> {
  const { code, stderr, summary } = await running.powerOff();
  // QEMU warns of what vfio refuses it.
  expect(stderr).toMatch(/^iopf: .*: exit code 0/m);
  expect(code).toBe(0);
  expect(summary!.pinnedBytesPeak).toBe(0);
  expect(running.temporaryFiles()).toEqual([]);
}

/** The guest has these disks, and no other. */
async function untilDisks(running: Guest, ...names: string[]): Promise<void> {
  const list = 'echo $(cd /dev; ls nvme*n1 2>/dev/null)';
  await running.run(
    `for try in $(seq 100); do [ "$(${list})" = "${names.join(' ')}" ] && break; sleep 0.2; done; ` +
      `[ "$(${list})" = "${names.join(' ')}" ]`,
  );
}

const random = randomBytes(2 ** 20);
const files = { random };
const writeRandom = 'dd if=/random of=/dev/nvme0n1 bs=64k oflag=direct 2>/dev/null';
const readsTheSame = 'dd if=/dev/nvme0n1 bs=64k count=16 iflag=direct 2>/dev/null | cmp - /random';
/**
 * Reads and writes without end, away from what the test compares; says so when it fails. A write
 * that comes just after the disk has gone makes a plain file of its name, which goes.
 */
const keepBusy =
  '(while dd if=/dev/nvme0n1 of=/dev/null bs=64k count=16 iflag=direct && ' +
  'dd if=/random of=/dev/nvme0n1 seek=64 bs=64k oflag=direct; do :; done 2>/dev/null; ' +
  '[ ! -f /dev/nvme0n1 ] || rm /dev/nvme0n1; echo "<no disk>") &';

const kernel = moreIsAsked('a guest with several devices') ? guestKernel() : null;
describe.skipIf(kernel === null)('QEMU gives a Linux guest our nvme', () => {
  test(
    'without MSI-X (pci=nomsi): INTx, its BAR moved, reset by FLR, asleep in D3hot and awake again',
    async () => {
      guest = await Guest.boot({
        kernel: kernel!,
        files,
        iopf: ['--device', `nvme@${nvme},size=32M`],
        devices: { [nvme]: ',addr=05.0' },
        append: 'pci=nomsi',
      });
      await untilDisks(guest, 'nvme0n1');
      const lines = await guest.run('grep nvme /proc/interrupts');
      expect(lines).toMatch(/IO-APIC .* nvme0q0, nvme0q1$/);
      await guest.run(`${writeRandom}; ${readsTheSame}`);

      const place = inSlot('05.0');
      expect(await guest.run(`cat ${place}/reset_method`)).toBe('flr');
      await guest.run(`echo 1 > ${place}/reset`);
      await guest.run(readsTheSame);

      const bar = `cut -d' ' -f1 ${place}/resource | head -n 1`;
      const before = await guest.run(bar);
      await guest.run(`echo 1 > ${place}/remove; echo 1 > /sys/bus/pci/rescan`);
      await untilDisks(guest, 'nvme0n1');
      expect(await guest.run(bar)).not.toBe(before);
      await guest.run(readsTheSame);

      const asleep = guest.monitor().then(async (monitor) => {
        await monitor.event('SUSPEND');
        await monitor.execute('system_wakeup');
      });
      await guest.run('echo mem > /sys/power/state');
      await asleep;
      await guest.run(readsTheSame);
      await expectGoodEnd(guest);
    },
    TEST_MS,
  );

  test(
    'with MSI-X; resets the machine and takes the device out with I/O going on, puts it back, and gives it up to the host',
    async () => {
      const fifo = join(folder, 'fifo');
      execFileSync('mkfifo', [fifo]);
      guest = await Guest.boot({
        kernel: kernel!,
        files,
        iopf: ['--device', `nvme@${nvme},size=32M`],
        devices: { [nvme]: ',id=disk,addr=05.0' },
        beside: `read now < ${fifo}; echo ${nvme} > /sys/bus/pci/drivers/vfio-pci/unbind`,
      });
      const monitor = await guest.monitor();
      await untilDisks(guest, 'nvme0n1');
      expect(await guest.run('grep nvme0q1 /proc/interrupts')).toMatch(/PCI-MSI/);
      await guest.run(`${writeRandom}; ${readsTheSame}`);
      await guest.run(keepBusy);

      await monitor.execute('system_reset');
      await guest.untilUp();
      await untilDisks(guest, 'nvme0n1');
      await guest.run(readsTheSame);

      await guest.run(keepBusy);
      await monitor.execute('device_del', { id: 'disk' });
      await monitor.event('DEVICE_DELETED');
      await guest.says(/<no disk>\n/);
      await untilDisks(guest);

      await monitor.execute('device_add', {
        driver: 'vfio-pci',
        host: nvme,
        id: 'disk',
        addr: '06.0',
      });
      await untilDisks(guest, 'nvme0n1');
      await guest.run(readsTheSame);

      // The host takes the device from vfio-pci: QEMU is asked for it by the REQ interrupt, and
      // asks the guest.
      writeFileSync(fifo, 'now\n');
      await monitor.event('DEVICE_DELETED');
      await untilDisks(guest);
      await expect(
        monitor.execute('device_add', { driver: 'vfio-pci', host: nvme, id: 'disk' }),
      ).rejects.toThrow(nvme);
      await expectGoodEnd(guest);
    },
    TEST_MS,
  );

  test(
    'beside an edu in its group, and another nvme and an e1000e in groups of their own; what has no FLR is reset with its bus',
    async () => {
      const machine = join(folder, 'machine.yaml');
      const e1000e = join(repository, 'models/devices/e1000e.yaml');
      writeFileSync(
        machine,
        `groups:
  - number: 9
    devices:
      - { kind: nvme, address: '0000:02:00.0', options: { size: 32M } }
      - { kind: edu, address: '0000:02:00.1' }
  - number: 10
    devices:
      - { kind: nvme, address: '0000:03:00.0', options: { size: 64M } }
  - number: 11
    devices:
      - { kind: recorded, address: '0000:04:00.0', options: { file: ${e1000e} } }
`,
      );
      guest = await Guest.boot({
        kernel: kernel!,
        files,
        iopf: ['--machine', machine],
        devices: {
          '0000:02:00.0': ',addr=05.0',
          '0000:02:00.1': ',addr=06.0',
          '0000:03:00.0': ',addr=07.0',
          '0000:04:00.0': ',addr=08.0',
        },
      });
      await untilDisks(guest, 'nvme0n1', 'nvme1n1');
      const sectors = await guest.run('cat /sys/block/nvme*n1/size | sort -n');
      expect(sectors.split('\n')).toEqual([`${32 * 2048}`, `${64 * 2048}`]);
      await guest.run(`${writeRandom}; ${readsTheSame}`);

      const rom = `${inSlot('08.0')}/rom`;
      expect(await guest.run(`echo 1 > ${rom}; head -c 4 ${rom} | hexdump -e '4/1 "%02x"'`)).toBe(
        '55aa93e9',
      );

      const place = inSlot('06.0');
      const enable = `printf '\\002\\000' | dd of=${place}/config bs=1 seek=4 conv=notrunc 2>/dev/null`;
      const address = `cut -d' ' -f1 ${place}/resource | head -n 1`;
      const liveness = `devmem $(($(${address}) + 4)) 32`;
      await guest.run(`${enable}; ${liveness} 0x12345678`);
      expect(await guest.run(liveness)).toBe('0xEDCBA987');
      await (await guest.monitor()).execute('system_reset');
      await guest.untilUp();
      await untilDisks(guest, 'nvme0n1', 'nvme1n1');
      await guest.run(enable);
      expect(await guest.run(liveness)).toBe('0x00000000');
      await expectGoodEnd(guest);
    },
    TEST_MS,
  );
});
