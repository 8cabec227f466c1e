/**
 * What Debian's qemu-img and QEMU asked of a real Linux 6.1, asked of ours: the same answers, byte
 * for byte.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { errnoName, VfioError } from '../../src/abi/errno.js';
import {
  ContainerIoctl,
  DeviceIoctl,
  GroupIoctl,
  REGION_OFFSET,
  Type1Ioctl,
} from '../../src/abi/vfio.js';
import { ownDevice, recorded } from '../../src/conformance/fixtures.js';
import { EventFile, OpenFile, Process } from '../../src/conformance/process.js';
import { ProcessMemory } from '../../src/conformance/process-memory.js';
import { bytesHex, hexBytes } from '../../src/conformance/vectors.js';
import type { VfioFile } from '../../src/file/file.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { SimulatedMemory } from '../../src/mm/simulated-memory.js';
import { createMachine, type Machine } from '../../src/vfio/machine.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';

const ARGUMENTS = 0x10_0000;
/** Pages of the arguments: a ROM is read at once. */
const ARGUMENT_PAGES = 64;
const MAP_FLAGS_SHARED = 1;

const requests: Readonly<Record<string, number>> = Object.fromEntries(
  [ContainerIoctl, GroupIoctl, DeviceIoctl, Type1Ioctl]
    .flatMap((table) => Object.entries(table))
    .map(([name, number]) => [name.replace(/^VFIO_(DEVICE_(GET_)?(?=PCI_))?/, ''), number]),
);

const CALL = /^\d+ ([cgd])(\d+) (\w+)(.*) = (-?\d+)( \w+)?$/;
const OPEN = /^\d+ open (\S+) flags=\S+ = (\d+)$/;
const ACCESS =
  /^\d+ d(\d+) p(read|write) region (\d+) \+(0x[0-9a-f]+|0) len (\d+) ?(\S*) = (\d+)(?: (\S+))?$/;
const MMAP = /^\d+ d(\d+) mmap .*len=(\S+) prot=(\d) flags=0x1 region (\d+) \+(\S+) = /;

/** A process whose descriptors have the recorded numbers. */
class Client {
  private readonly memory = new SimulatedMemory();
  readonly process: Process;
  private readonly machine: Machine;
  private readonly files = new Map<string, VfioFile>();

  /**
   * `numbers`: those that the log's descriptors of VFIO have, in the order of their opening; the
   * others up to 15 are eventfds.
   */
  constructor(
    group: number,
    makeFunction: (memory: SimulatedMemory) => PciFunction,
    numbers: readonly number[],
  ) {
    const mm = ProcessMemory.create(this.memory, {
      zeroPageUnshared: false,
      lockLimitPages: 2048,
      ipcLock: true,
    });
    mm.mmap(ARGUMENTS / PAGE_SIZE, ARGUMENT_PAGES, 'anon', READ | WRITE);
    this.process = new Process(mm);
    while (this.process.add(new OpenFile(new EventFile())) < 15);
    for (const number of numbers) this.process.close(number);
    this.machine = createMachine({
      kernel: '6.1',
      iopf: 'off',
      groups: [{ number: group, functions: [makeFunction(this.memory)] }],
    });
  }

  open(path: string): string {
    const file =
      path === '/dev/vfio/vfio'
        ? this.machine.openContainer()
        : this.machine.openGroup(Number(path.split('/').at(-1)));
    return this.remember(this.process.install(file));
  }

  ioctl(fd: string, name: string, text: string): { ret: number; errno: string; out: string } {
    const file = this.files.get(fd)!;
    const value = /^\((0x[0-9a-f]+)\)$/.exec(text)?.[1];
    const string = /^\("(.*)"\)$/.exec(text)?.[1];
    const input = /in=([0-9a-f]+)/.exec(text)?.[1];
    const bytes = string === undefined ? hexBytes(input ?? '') : Buffer.from(`${string}\0`);
    if (name === 'IOMMU_MAP_DMA') this.backMemory(bytes);
    this.process.mm.copyTo(ARGUMENTS, bytes);
    const argument = value === undefined ? ARGUMENTS : Number(value);
    let ret = -1;
    let errno = '';
    try {
      ret = file.ioctl(this.process, requests[name]!, argument);
      if (name === 'GROUP_GET_DEVICE_FD') this.remember(ret);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      errno = errnoName(error.errno);
    }
    const out = new Uint8Array(bytes.length);
    this.process.mm.copyFrom(ARGUMENTS, out);
    return { ret, errno, out: bytesHex(out) };
  }

  access(
    fd: string,
    isWrite: boolean,
    offset: number,
    length: number,
    data: string,
  ): { ret: number; data: string } {
    const file = this.files.get(fd)!;
    this.process.mm.copyTo(ARGUMENTS, hexBytes(isWrite ? data : '00'.repeat(length)));
    const ret = isWrite
      ? file.write(this.process, ARGUMENTS, length, offset)
      : file.read(this.process, ARGUMENTS, length, offset);
    const out = new Uint8Array(length);
    this.process.mm.copyFrom(ARGUMENTS, out);
    return { ret, data: bytesHex(out) };
  }

  mmap(fd: string, offset: number, length: number, protection: number): void {
    this.files.get(fd)!.mmap(this.process, { length, protection, flags: MAP_FLAGS_SHARED, offset });
  }

  close(fd: string): void {
    this.process.close(Number(fd));
  }

  /** The program's memory behind a mapping. */
  private backMemory(dmaMap: Uint8Array): void {
    const view = new DataView(dmaMap.buffer, dmaMap.byteOffset);
    const first = Number(view.getBigUint64(8, true)) / PAGE_SIZE;
    this.process.mm.mmap(
      first,
      Number(view.getBigUint64(24, true)) / PAGE_SIZE,
      'anon',
      READ | WRITE,
    );
  }

  private remember(fd: number): string {
    this.files.set(`${fd}`, this.process.get(fd).what as VfioFile);
    return `${fd}`;
  }
}

/** Replays a line; returns what was recorded and what came. */
function replay(client: Client, line: string): readonly [unknown, unknown] {
  const open = OPEN.exec(line);
  if (open) return [open[2], client.open(open[1]!)];
  const access = ACCESS.exec(line);
  if (access) {
    const [, fd, kind, region, at, length, sent, ret, got] = access;
    const offset = Number(region) * REGION_OFFSET + Number(at);
    const came = client.access(fd!, kind === 'write', offset, Number(length), sent!);
    const data = got ?? sent!;
    // Of long data the log has the beginning.
    return [
      { ret: Number(ret), data },
      { ...came, data: came.data.slice(0, data.length) },
    ];
  }
  const mmap = MMAP.exec(line);
  if (mmap) {
    const [, fd, length, protection, region, at] = mmap;
    client.mmap(
      fd!,
      Number(region) * REGION_OFFSET + Number(at),
      Number(length),
      Number(protection),
    );
    return [null, null];
  }
  const close = /^\d+ close [cgd](\d+) /.exec(line);
  if (close) return [undefined, client.close(close[1]!)];
  const [, , fd, name, rest, ret, errno] = CALL.exec(line)!;
  const input = /in=([0-9a-f]+)/.exec(rest!)?.[1];
  const output = /out=(\S+)/.exec(rest!)?.[1];
  const came = client.ioctl(fd!, name!, rest!.trim());
  const wantedOut = output === undefined || output === 'same' ? input : output;
  const wanted = { ret: Number(ret), errno: errno?.trim() ?? '', out: wantedOut ?? came.out };
  return [wanted, came];
}

/** Replays a log to its end. */
function replayAll(client: Client, lines: readonly string[]): void {
  for (const line of lines) {
    const [wanted, came] = replay(client, line);
    expect([line, came]).toEqual([line, wanted]);
  }
}

const readLog = (name: string): string[] =>
  readFileSync(new URL(`clients/${name}.vfiolog`, import.meta.url), 'utf8')
    .trim()
    .split('\n');

describe('qemu-img on its user-space NVMe driver', () => {
  it.each(['qemu-img-nvme-userspace', 'qemu-img-nvme-userspace-read'])(
    'gets the recorded answers: %s',
    (name) => {
      const client = new Client(
        9,
        (memory) => ownDevice('nvme', '0000:02:00.0', memory),
        [8, 9, 10],
      );
      replayAll(client, readLog(name));
      expect(client.process.mm.lockedPages).toBe(0);
    },
  );
});

describe("QEMU's vfio-pci, which boots a guest with an e1000e,", () => {
  it('gets the recorded answers: regions and ROM, BARs that move, interrupts, resets, power, maps', () => {
    const header = hexBytes(
      '8680d310030110000000000200000000000024fe000026fe01c00000000028fe' +
        '00000000000000000000000086800000000020fec8000000000000000a010000',
    );
    const client = new Client(8, () => recorded('e1000e', '0000:01:00.0', header), [3, 8, 9]);
    // The guest's other device, a virtio-net, had a group and a device file of its own.
    const lines = readLog('qemu-vfio-pci-e1000e-virtio').filter(
      (line) => !/^\d+ ([gd]1[34] |open \/dev\/vfio\/2 )/.test(line),
    );
    expect(lines.length).toBeGreaterThan(150);
    replayAll(client, lines);
  });
});
