/**
 * A device behind a socket (`iopf serve`): the round trip of a region read, and a polling driver on
 * the same nvme in iopf's own process and behind the socket. Client, server and program spin, so
 * on fewer than three cores they take turns.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { writeStruct } from '../src/abi/layout.js';
import { MessageSocket } from '../src/exec/vfio-user/message-socket.js';
import { connectTo } from '../src/exec/vfio-user/unix-socket.js';
import { allocateNative, poll } from '../src/mm/process/libc.js';
import { writeVersion } from '../src/vfio-user/capabilities.js';
import { Command } from '../src/vfio-user/protocol.js';
import { RegionAccess } from '../src/vfio-user/structs.js';
import { median } from './figures.js';

const dist = join(resolve(import.meta.dirname, '../..'), 'dist');
const iopf = join(dist, 'bundle/iopf.cjs');
const NVME = '0000:02:00.0';
const SECONDS = '1';
const READS = 20_000;
const POLLIN = 1;
const LOOK_MS = 20;

interface Figures {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

async function serve(folder: string): Promise<{ child: ChildProcess; path: string }> {
  const path = join(folder, 'socket');
  const words = [iopf, 'serve', 'nvme,size=64M', '--socket-path', path, '--quiet'];
  const child = spawn(process.execPath, words, { stdio: 'ignore' });
  while (!existsSync(path)) await new Promise((done) => setTimeout(done, LOOK_MS));
  return { child, path };
}

/** Microseconds of a read of a register, each waited for in poll(2). */
function roundTrips(path: string): number[] {
  const socket = new MessageSocket(connectTo(path));
  const polled = allocateNative(8);
  new Int32Array(polled.bytes.buffer, 0, 1)[0] = socket.fd;
  new Int16Array(polled.bytes.buffer, 4, 1)[0] = POLLIN;
  const ask = (command: number, body: Uint8Array): void => {
    socket.outgoing.bytes.set(body);
    socket.send({ id: 1, command, flags: 0, error: 0 }, body.length, [], () => true);
    while (socket.receive() !== 'message') poll(polled.address, 1, -1);
  };
  ask(Command.VERSION, writeVersion(2, {}));
  const read = writeStruct(RegionAccess, { offset: 8, region: 0, count: 4 });
  const times = Array.from({ length: READS }, () => {
    const began = performance.now();
    ask(Command.REGION_READ, read);
    return (performance.now() - began) * 1000;
  });
  socket.close();
  return times.slice(READS / 2);
}

/** A way to the device: options of iopf, and of the driver. */
interface Way {
  readonly name: string;
  readonly device: string;
  readonly iopf?: readonly string[];
  readonly driver?: readonly string[];
}

function drive({ device, driver = [], iopf: more = [] }: Way): Figures {
  const program = [process.execPath, join(dist, 'examples/nvme-poll/main.js'), NVME];
  const options = ['--seconds', SECONDS, '--depth', '32', ...driver];
  const run = ['exec', '--quiet', '--device', device, ...more];
  const words = [iopf, ...run, '--', ...program, ...options];
  const { stdout, stderr, status } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`nvme-poll: ${stderr}`);
  return JSON.parse(stdout) as Figures;
}

export async function benchVfioUser(rounds: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-vfio-user-'));
  const { child, path } = await serve(folder);
  try {
    const times = Array.from({ length: rounds }, () => median(roundTrips(path)));
    console.log(`\nregion read of 4 bytes over a socket: ${median(times).toFixed(1)} us, median`);
    const own = `nvme@${NVME},size=64M`;
    const socket = `vfio-user@${NVME},socket=${path}`;
    const pwrite = ['--pwrite'];
    const off = ['--iopf', 'off'];
    const shared = `${socket},dma=shared`;
    const ways: readonly Way[] = [
      { name: 'own process', device: own },
      { name: 'own process, doorbells by pwrite', device: own, driver: pwrite },
      { name: 'own process, pinned', device: own, iopf: off },
      { name: 'socket, DMA by /proc/PID/mem', device: shared },
      { name: 'the same, doorbells by pwrite', device: shared, driver: pwrite },
      { name: 'socket, pinned (/proc/PID/mem)', device: socket, iopf: off },
      { name: 'socket, DMA by messages', device: socket },
      { name: 'the same, doorbells by pwrite', device: socket, driver: pwrite },
    ];
    const runs = ways.map((): Figures[] => []);
    for (let round = 0; round < rounds; round++)
      for (const [index, way] of ways.entries()) runs[index]!.push(drive(way));
    console.log(
      `4 KiB reads, 1 queue, depth 32, doorbells mapped unless said, medians of ${rounds} rounds`,
    );
    for (const [index, { name }] of ways.entries()) {
      const of = (pick: (one: Figures) => number): number => median(runs[index]!.map(pick));
      const times = `p50 ${of(({ p50 }) => p50)} p99 ${of(({ p99 }) => p99)} us`;
      console.log(`  ${name.padEnd(42)} ${times}, ${of(({ perSecond }) => perSecond)} IOPS`);
    }
  } finally {
    child.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  }
}
