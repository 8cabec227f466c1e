/** Debian's unmodified qemu-img and qemu-io, whose NVMe driver is a VFIO program, on our nvme. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { have } from '../skip.js';
import { nvme, qemuBench, runIopf } from './run-iopf.js';

const IMAGE_BYTES = 32 * 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'test-qemu-'));
const disk = `nvme://${nvme}/1`;
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!have('qemu-img', 'qemu-img, qemu-io (Debian: qemu-utils, qemu-block-extra)'))(
  'qemu-img',
  () => {
    const image = join(folder, 'image.raw');
    writeFileSync(image, randomBytes(IMAGE_BYTES));

    test.each(['auto', 'off'])(
      'writes and reads back 32 MiB byte by byte, --iopf %s',
      async (mode) => {
        const backing = join(folder, `disk-${mode}.raw`);
        const back = join(folder, `back-${mode}.raw`);
        const device = ['--iopf', mode, '--device', `nvme@${nvme},file=${backing},size=32M`];

        const write = await runIopf(device, [
          'qemu-img',
          'convert',
          '-O',
          'raw',
          '-n',
          image,
          disk,
        ]);
        expect(write.code, write.stderr).toBe(0);
        const read = await runIopf(device, ['qemu-img', 'convert', '-O', 'raw', disk, back]);
        expect(read.code, read.stderr).toBe(0);
        const original = readFileSync(image);
        expect(readFileSync(backing).subarray(0, IMAGE_BYTES).equals(original)).toBe(true);
        expect(readFileSync(back).subarray(0, IMAGE_BYTES).equals(original)).toBe(true);

        for (const { summary } of [write, read]) {
          if (mode === 'auto') {
            expect(summary!.pinnedBytesPeak).toBe(0);
            expect(summary!.pagesFaultedIn).toBeGreaterThanOrEqual(IMAGE_BYTES / 4096);
            // What the device touched: the image's pages, and a few of queues and lists.
            expect(summary!.pagesFaultedIn).toBeLessThan((IMAGE_BYTES / 4096) * 1.1);
          } else {
            expect(summary!.pinnedBytesPeak).toBe(summary!.mappedBytesPeak);
            expect(summary!.faults).toBe(0);
          }
        }
        expect(write.summary!.dmaBytesRead).toBeGreaterThanOrEqual(IMAGE_BYTES);
        expect(read.summary!.dmaBytesWritten).toBeGreaterThanOrEqual(IMAGE_BYTES);
      },
    );

    test('bench at depth 32 does what it was told', async () => {
      const run = await runIopf(['--device', `nvme@${nvme},size=64M`], qemuBench(20000, 32));
      expect(run.stdout).toMatch(/Run completed in/);
      expect(run.code).toBe(0);
      expect(run.summary!.dmaBytesWritten).toBeGreaterThanOrEqual(20000 * 4096);
      expect(run.summary!.pinnedBytesPeak).toBe(0);
    });

    test('pre-mapping makes fewer faults of the same work (R4.1)', async () => {
      const faults = async (pages: number): Promise<number> => {
        const run = await runIopf(
          ['--premap', `${pages}`, '--device', `nvme@${nvme},size=64M`],
          ['qemu-img', 'convert', '-O', 'raw', '-n', image, disk],
        );
        expect(run.code).toBe(0);
        return run.summary!.faults;
      };
      expect(await faults(64)).toBeLessThan((await faults(1)) / 20);
    });

    test.skipIf(!have('qemu-io', 'qemu-io patterns')).each([512, 4096])(
      'qemu-io reads the patterns that it wrote, in any size and place, with blocks of %d bytes',
      (block) => {
        const commands: string[] = [];
        for (let index = 0; index < 60; index++) {
          const offset = (index * 977 * 512) % (60 * 2 ** 20);
          const length = 512 * (1 + ((index * 37) % 300));
          commands.push(
            '-c',
            `write -q -P ${1 + (index % 250)} ${offset} ${length}`,
            '-c',
            `read -q -P ${1 + (index % 250)} ${offset} ${length}`,
          );
        }
        commands.push(
          '-c',
          'write -q -z 1M 2M',
          '-c',
          'read -q -P 0 1M 2M',
          '-c',
          'discard -q 4M 1M',
          '-c',
          'flush',
        );
        return runIopf(
          ['--device', `nvme@${nvme},size=64M,block=${block}`],
          ['qemu-io', '-f', 'raw', ...commands, disk],
        ).then((run) => {
          expect(run.stdout).toBe('');
          expect(run.code, run.stderr).toBe(0);
        });
      },
    );

    test('the trace has kernel-form lines, and Chrome JSON by its ending', async () => {
      const text = join(folder, 'trace.txt');
      const json = join(folder, 'trace.json');
      const bench = qemuBench(10, 1);
      const run = await runIopf(['--trace', text, '--device', `nvme@${nvme},size=64M`], bench);
      const lines = readFileSync(text, 'utf8').trim().split('\n');
      const before = / +qemu-img-\d+ +\[000\] +\d+\.\d{6}: /.source;
      const fault = /dev_fault: IOMMU:0000:02:00\.0 type=2 reason=0 addr=0x[0-9a-f]{16} /.source;
      const rest = /pasid=0 group=\d+ flags=2 prot=[123]/.source;
      const whole = new RegExp(`^${before}${fault}${rest}$`);
      const requests = lines.filter((line) => whole.test(line));
      expect(requests).toHaveLength(run.summary!.faults);
      expect(
        lines.some((line) =>
          /: map: IOMMU: iova=0x[0-9a-f]{16} - 0x[0-9a-f]{16} paddr=0x[0-9a-f]{16} size=4096$/.test(
            line,
          ),
        ),
      ).toBe(true);
      await runIopf(['--trace', json, '--device', `nvme@${nvme},size=64M`], bench);
      const events = JSON.parse(readFileSync(json, 'utf8')) as { ph: string }[];
      expect(events.filter(({ ph }) => ph === 'b')).toHaveLength(run.summary!.faults);
    });

    test('killed in the middle of its work ends the run', async () => {
      // The recording grows with what the device does.
      const recording = join(folder, 'killed.rec');
      const works = `[ "$(stat -c %s ${recording})" -gt 10000 ]`;
      const { code, summary } = await runIopf(
        ['--device', `nvme@${nvme},size=64M`, '--record', recording],
        [
          'sh',
          '-c',
          `${qemuBench(100_000_000, 32).join(' ')} & until ${works}; do sleep 0.05; done; ` +
            'kill -9 $!; wait',
        ],
      );
      expect(code).toBe(0);
      expect(summary!.dmaBytesWritten).toBeGreaterThan(0);
    });
  },
);
