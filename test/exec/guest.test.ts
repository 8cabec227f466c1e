/**
 * A whole Linux guest in QEMU with our nvme passed through: its data is right, whatever becomes of
 * its memory.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { available, hasSwap, have, isWhole, moreIsAsked } from '../skip.js';
import { until } from '../until.js';
import {
  Guest,
  type GuestOptions,
  guestKernel,
  isAlive,
  memoryOnFile,
  takeMemoryAway,
} from './guest.js';
import { nvme, program } from './run-iopf.js';

const MIB = 2 ** 20;
const GUEST_MIB = 256;
const DISK_MIB = 128;
/** Where busybox's fdisk begins the first partition that it is asked for from sector 2048 on. */
const PARTITION_BYTES = 2048 * 512;
const TEST_MS = 240_000;

const folder = mkdtempSync(join(tmpdir(), 'test-guest-'));
let guest: Guest | null = null;
afterEach(async () => {
  await guest?.dispose();
  guest = null;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const kernel = guestKernel();

async function boot(disk: string, options: Partial<GuestOptions>): Promise<Guest> {
  const device = ['--device', `nvme@${nvme},file=${join(folder, disk)},size=${DISK_MIB}M`];
  guest = await Guest.boot({
    kernel: kernel!,
    memoryMib: GUEST_MIB,
    devices: { [nvme]: '' },
    ...options,
    iopf: [...device, ...(options.iopf ?? [])],
  });
  return guest;
}

/**
 * The guest's data, every page of it another: random bytes, repeated behind a count that shifts
 * them. Where memory is taken away there is as much as makes the guest use all of its own.
 */
const PIECE_BYTES = 4 * MIB;
const PIECES = 4;
const PIECES_TAKEN = 16;
const head = (piece: number): string => `piece ${11 + piece}\n`;
const random = randomBytes(PIECE_BYTES - head(0).length);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const dataSum = (pieces: number): string =>
  sha256(
    Buffer.concat(
      Array.from({ length: pieces }, (_, at) => [Buffer.from(head(at)), random]).flat(),
    ),
  );

/**
 * Partitions, formats, mounts, writes the data, and returns the SHA-256 of what it reads back once
 * that is not in memory any more.
 */
async function useDisk(running: Guest, pieces: number): Promise<string> {
  await running.run('for try in $(seq 50); do [ -b /dev/nvme0n1 ] && break; sleep 0.2; done');
  await running.run(`printf 'o\\nn\\np\\n1\\n2048\\n\\nw\\n' | fdisk -u /dev/nvme0n1 > /dev/null`);
  await running.run('mke2fs -b 4096 /dev/nvme0n1p1 > /dev/null');
  await running.run('mount -t ext2 /dev/nvme0n1p1 /mnt');
  await running.run(
    `for i in $(seq 11 ${10 + pieces}); do echo "piece $i"; cat /random; done > /mnt/data; sync`,
  );
  await running.run('echo 3 > /proc/sys/vm/drop_caches');
  const sum = await running.run('sha256sum /mnt/data');
  await running.run('umount /mnt');
  return sum.split(' ')[0]!;
}

/**
 * What the file of the disk holds, read by the host's e2fsprogs: the file system is sound, and this
 * is the SHA-256 of its data.
 */
function dataOnDisk(disk: string): string {
  const partition = `${join(folder, disk)}?offset=${PARTITION_BYTES}`;
  execFileSync('e2fsck', ['-fn', partition], { stdio: 'pipe' });
  const dump = join(folder, 'dump');
  execFileSync('debugfs', ['-R', `dump /data ${dump}`, partition], { stdio: 'pipe' });
  return sha256(readFileSync(dump));
}

/** Whether we may take memory of another process away. */
function mayTakeMemory(): boolean {
  const words = [program('page-out'), `${process.pid}`, '0', '0'];
  const may = spawnSync(process.execPath, words, { stdio: 'ignore', timeout: 20_000 }).status === 0;
  return available(may, 'a guest whose memory is taken away', 'process_madvise needs CAP_SYS_NICE');
}

/**
 * Whether memory of a tmpfs can leave: written pages of a file on a disk are written back first,
 * and stay where nobody does that.
 */
function haveSwap(): boolean {
  return available(hasSwap(), 'a guest whose memory is taken away from outside', 'no swap is on');
}

describe.skipIf(kernel === null)('a Linux guest with our nvme passed through', () => {
  const RECLAIM = '--iopf auto --reclaim 128M --reclaim-scan 50';
  const modes: [name: string, iopf: string[], isTakenAway: boolean][] = [
    ['--iopf auto', ['--iopf', 'auto'], false],
    ['--iopf off', ['--iopf', 'off'], false],
    ['--iopf auto, and memory taken away all the time', ['--iopf', 'auto'], true],
    [RECLAIM, ['--iopf', 'auto', '--reclaim', '128M', '--reclaim-scan', '50'], true],
  ];

  const taken = modes.filter(
    ([name, , isTakenAway]) => isTakenAway && mayTakeMemory() && (name === RECLAIM || haveSwap()),
  );
  const untouched = modes.filter(([, , isTakenAway]) => !isTakenAway);
  // Each mode takes ten to twenty seconds: without all of them, the hardest that is possible.
  const possible = isWhole ? [...untouched, ...taken] : [taken[0] ?? untouched[0]!];
  test
    .skipIf(!have('debugfs', 'a guest, and the file of its disk (Debian: e2fsprogs)'))
    .each(possible)(
    'partitions, formats, writes, reads the same back, and the file has it too: %s',
    async (name, iopf, isTakenAway) => {
      const pieces = isTakenAway ? PIECES_TAKEN : PIECES;
      const dataBytes = pieces * PIECE_BYTES;
      const disk = name.replace(/\W+/g, '-');
      const fromOutside = isTakenAway && name !== RECLAIM;
      // Memory of a disk's file cannot be pinned for writing since Linux 6.5, a tmpfs's can.
      const onTmpfs = fromOutside || iopf.includes('off');
      const memory = memoryOnFile(GUEST_MIB, onTmpfs ? '/dev/shm' : '/var/tmp');
      const running = await boot(disk, { iopf, files: { random }, qemu: memory });
      const stop = fromOutside ? takeMemoryAway(running) : null;
      const readBack = await useDisk(running, pieces);
      const takenBytes = (await stop?.()) ?? 0;
      const { code, stderr, summary } = await running.powerOff();
      expect(code, stderr).toBe(0);
      expect(running.temporaryFiles()).toEqual([]);
      expect(readBack).toBe(dataSum(pieces));
      expect(dataOnDisk(disk)).toBe(dataSum(pieces));

      const { mappedBytesPeak, pinnedBytesPeak, residentBytesPeak, dmaBytesRead } = summary!;
      expect(mappedBytesPeak).toBeGreaterThanOrEqual(GUEST_MIB * MIB);
      expect(dmaBytesRead).toBeGreaterThanOrEqual(dataBytes);
      expect(pinnedBytesPeak).toBe(name.includes('off') ? mappedBytesPeak : 0);
      if (!name.includes('off')) expect(residentBytesPeak).toBeLessThan(mappedBytesPeak);
      // As much as everything that the guest wrote and read, and then some.
      if (stop !== null) expect(takenBytes).toBeGreaterThan(2 * dataBytes);
      if (name === RECLAIM) expect(summary!.pagesReclaimed).toBeGreaterThan(1000);
    },
    TEST_MS,
  );
});

/** The guest numbers records, one per block, and tells of each that the disk says is durable. */
const RECORD_BYTES = 512;
const writeRecords =
  'i=0; while :; do i=$((i+1)); ' +
  'printf "record %08d\\n" $i | dd of=/dev/nvme0n1 bs=512 seek=$i conv=sync,fsync,notrunc 2>/dev/null && echo "durable $i"; done';

function recordsOnDisk(disk: string, count: number): string[] {
  const file = openSync(join(folder, disk), 'r');
  try {
    return Array.from({ length: count }, (_, index) => {
      const bytes = Buffer.alloc(RECORD_BYTES);
      readSync(file, bytes, 0, RECORD_BYTES, (index + 1) * RECORD_BYTES);
      return bytes.toString('latin1').replace(/\0+$/, '');
    });
  } finally {
    closeSync(file);
  }
}

describe.skipIf(kernel === null)('killed with SIGKILL in the middle of I/O,', () => {
  const victims = ['qemu', 'iopf'] as const;
  test.each(moreIsAsked('a guest whose iopf is killed') ? victims : victims.slice(0, 1))(
    '%s leaves nothing behind but a disk with every write that was flushed',
    async (victim) => {
      const disk = `records-${victim}`;
      const running = await boot(disk, { memoryMib: 128 });
      running.type(writeRecords);
      await running.says(/durable 100\n/);
      const processes = running.processes();
      expect(processes.length).toBeGreaterThanOrEqual(2);
      process.kill(victim === 'qemu' ? running.qemuPid : running.iopfPid, 'SIGKILL');
      const { code, summary } = await running.ended;
      if (victim === 'qemu') {
        expect(code).toBe(137);
        expect(summary).toMatchObject({ exitCode: null, signal: 'SIGKILL', pinnedBytesPeak: 0 });
      }

      await until(() => !processes.some(isAlive), 'no process is left');
      await until(() => running.temporaryFiles().length === 0, 'no temporary file is left');
      const told = [...running.console.matchAll(/^durable (\d+)$/gm)].map(([, number]) =>
        Number(number),
      );
      const last = told.at(-1)!;
      expect(told).toEqual(Array.from({ length: last }, (_, index) => index + 1));
      expect(recordsOnDisk(disk, last)).toEqual(
        told.map((number) => `record ${String(number).padStart(8, '0')}\n`),
      );
    },
    TEST_MS,
  );
});
