/**
 * Faults on purpose under drivers that others wrote: Linux's nvme in a guest, and DPDK's. What they
 * do about a fault is theirs; the data is right in the end, or the error is told.
 */
import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { have, moreIsAsked } from '../skip.js';
import { Guest, guestKernel } from './guest.js';
import { nvme } from './run-iopf.js';
import { Testpmd } from './testpmd.js';

const isAsked = moreIsAsked('drivers of others with faults on purpose');
const TEST_MS = 300_000;

const kernel = isAsked ? guestKernel() : null;
describe.skipIf(kernel === null)("a Linux guest's nvme driver", () => {
  let guest: Guest | null = null;
  afterEach(async () => {
    await guest?.dispose();
    guest = null;
  });

  test(
    'polls for what no interrupt told of, resets, tries again, and reports what cannot be done',
    async () => {
      const rules = [
        // The guest writes only what it is told to; what was lost is written again.
        'nvme:write:2=never',
        'nvme:write:5=status:0x6',
        'nvme:write:8=status:0x280',
        'nvme:CSTS.CFS:60@queue=1',
        'interrupt:drop:/40',
        // QEMU's own, before the guest begins.
        'call:DEVICE_RESET:1=EIO',
      ];
      guest = await Guest.boot({
        kernel: kernel!,
        files: { random: randomBytes(65536) },
        iopf: ['--device', `nvme@${nvme},size=32M`, ...rules.flatMap((rule) => ['--inject', rule])],
        devices: { [nvme]: '' },
        append: 'pci=nomsi nvme_core.io_timeout=2 nvme_core.admin_timeout=2',
      });
      const running = guest;
      const write = (block: number) =>
        running.run(
          `dd if=/random of=/dev/nvme0n1 bs=4k count=1 skip=${block} seek=${block} oflag=direct`,
        );
      const same = (blocks: number) =>
        running.run(
          `dd if=/dev/nvme0n1 bs=4k count=${blocks} iflag=direct 2>/dev/null | cmp -n ${blocks * 4096} - /random`,
        );
      /** Reads until the kernel has said so. */
      const untilTold = (pattern: string) =>
        running.run(
          `for try in $(seq 200); do dmesg | grep -qE '${pattern}' && break; ` +
            'dd if=/dev/nvme0n1 of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null; done; ' +
            `dmesg | grep -E '${pattern}'`,
        );
      await running.run(
        'for try in $(seq 100); do [ -b /dev/nvme0n1 ] && break; sleep 0.2; done; [ -b /dev/nvme0n1 ]',
      );
      // The second never completes: it is given up, the controller reset, and it comes again.
      for (const block of [0, 1, 2, 3]) await write(block);
      await same(4);
      await untilTold('nvme0: I/O [0-9]+ .*QID 1 timeout, (aborting|reset)');
      // An error that may pass: tried again. One that does not: told.
      await write(4);
      await same(5);
      await expect(write(5)).rejects.toThrow(/ended with 1:/);
      await untilTold('error, dev nvme0n1, sector 40 op 0x1');
      await write(5);
      await untilTold('controller is down; will reset: CSTS=0x3');
      await untilTold('timeout, completion polled');
      await same(6);
      const { code, stderr, summary } = await running.powerOff();
      expect(code, stderr).toBe(0);
      expect(summary!.injected.map(({ count, rule }) => [rule, count > 0])).toEqual(
        rules.map((rule) => [rule, true]),
      );
    },
    TEST_MS,
  );
});

describe.skipIf(!isAsked || !have('dpdk-testpmd', 'testpmd with faults on purpose'))(
  'dpdk-testpmd',
  () => {
    let testpmd: Testpmd | null = null;
    afterEach(async () => {
      await testpmd?.close();
      testpmd = null;
    });

    test.each(['igb@0000:01:00.0', 'virtio-net@0000:03:00.0'])(
      '%s: loses what it sends while its link is down, and goes on once it is up',
      async (device) => {
        const rule = 'link:down:33=2s';
        testpmd = new Testpmd('', ['--inject', rule], [], { devices: [device] });
        const running = testpmd;
        await running.command('set fwd rxonly');
        // Bursts of 32: the second is lost, and what comes until the link is up again.
        await running.command('start tx_first 2');
        for (;;) {
          await running.command('stop');
          await running.command('start tx_first 1');
          if ((await running.packets()).received > 32) break;
        }
        await running.command('stop');
        const { received, sent } = await running.packets();
        expect(sent - received).toBeGreaterThanOrEqual(32);
        const { code, said, summary } = await running.quit();
        expect(code, said).toBe(0);
        expect(summary.injected).toMatchObject([{ rule, count: 1 }]);
      },
      TEST_MS,
    );
  },
);
