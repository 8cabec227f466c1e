/**
 * Programs on our virtio network card: one that polls, as DPDK does; a Linux guest in Debian's
 * QEMU; and a tap.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { canDropPrivilege, needsToPin } from '../skip.js';
import { iopf, program, repository, runIopf } from './run-iopf.js';

const net = '0000:03:00.0';
const client = join(repository, 'dist/examples/packet-loop/main.js');

describe('a program that polls', () => {
  test.for<[mode: string, how: string]>([
    ['auto', 'map'],
    ['off', 'map'],
    ['auto', 'call'],
  ])(
    'has 10,000 packets back, each as it was, --iopf %s, telling by %s',
    async ([mode, how], context) => {
      if (mode === 'off') needsToPin(context, 65 * 2 ** 20);
      const run = await runIopf(
        ['--iopf', mode, '--device', `virtio-net@${net}`],
        [process.execPath, client, net, '10000', '64', how],
      );
      expect(run.stdout, run.stderr).toMatch(
        /^10000 of 10000 packets of 64 bytes came back, 0 wrong/,
      );
      expect(run.code).toBe(0);
      const { mappedBytesPeak, pinnedBytesPeak, residentBytesPeak, faults } = run.summary!;
      if (mode === 'off') {
        expect(pinnedBytesPeak).toBe(mappedBytesPeak);
        expect(faults).toBe(0);
      } else {
        expect(pinnedBytesPeak).toBe(0);
        expect(faults).toBeGreaterThan(0);
        // Rings, and the buffers that were used, of 64 MiB.
        expect(residentBytesPeak).toBeLessThan(2 ** 20);
      }
    },
  );

  test('with one mapped page needs no call for a packet', async () => {
    const calls = async (count: number): Promise<number> => {
      const run = await runIopf(
        ['--device', `virtio-net@${net}`],
        [process.execPath, client, net, `${count}`, '1500'],
      );
      expect(run.code, run.stderr).toBe(0);
      return run.summary!.interceptedCalls;
    };
    // Node's own calls vary by some hundred.
    expect(Math.abs((await calls(30_000)) - (await calls(1)))).toBeLessThan(1000);
  });

  test.skipIf(!canDropPrivilege('a run without privilege'))(
    'may be run by a user without privilege',
    () => {
      const user = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
      const exec = [
        process.execPath,
        iopf,
        'exec',
        '--quiet',
        '--device',
        `virtio-net@${net}`,
        '--',
      ];
      const run = spawnSync('setpriv', [...user, ...exec, process.execPath, client, net, '2000'], {
        encoding: 'utf8',
      });
      expect(run.stdout, run.stderr).toMatch(
        /^2000 of 2000 packets of 64 bytes came back, 0 wrong/,
      );
    },
  );
});

test('R3.1: packets are right though their buffers are taken away after each burst; each page is asked for again', async () => {
  const rounds = 50;
  const run = await runIopf(
    ['--device', `virtio-net@${net}`],
    [process.execPath, program('packet-pressure'), `${rounds}`],
  );
  expect(run.stdout, run.stderr).toBe(`${JSON.stringify({ right: rounds * 32, wrong: 0 })}\n`);
  const { pinnedBytesPeak, invalidations, pagesInvalidated, faults } = run.summary!;
  expect(pinnedBytesPeak).toBe(0);
  expect(invalidations).toBeGreaterThanOrEqual(rounds);
  // 64 buffers of a page each, and 6 pages of rings.
  expect(pagesInvalidated).toBeGreaterThanOrEqual(rounds * 64);
  expect(faults).toBeGreaterThanOrEqual(rounds * 64 + 6);
});

test('a tap that cannot be joined is named, with what to do, and nothing runs', async () => {
  const run = await runIopf(['--device', `virtio-net@${net},tap=lo`], ['true']);
  expect(run.code).toBe(125);
  expect(run.stderr).toMatch(
    existsSync('/dev/net/tun')
      ? /cannot join the tap lo: E\w+/
      : /cannot open \/dev\/net\/tun: E\w+/,
  );
  expect(run.summary).toBeNull();
});
