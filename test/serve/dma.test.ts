import { closeSync, openSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { writeStruct } from '../../src/abi/layout.js';
import { MFD_CLOEXEC } from '../../src/abi/linux.js';
import { PciCommand, PciConfig, PciRegionIndex } from '../../src/abi/pci.js';
import type { IncidentLog } from '../../src/exec/incidents/incident-log.js';
import type { Counters } from '../../src/iommu/observer.js';
import {
  allocateNative,
  close,
  ftruncate,
  mapShared,
  memfdCreate,
} from '../../src/mm/process/libc.js';
import type { ServedDevice } from '../../src/serve/served-device.js';
import { Command, UserDmaFlag, UserUnmapFlag } from '../../src/vfio-user/protocol.js';
import { RegionAccess, UserBitmap, UserDmaMap, UserDmaUnmap } from '../../src/vfio-user/structs.js';
import { Client, makeDevice } from './client.js';

const PAGE = 4096;
const PAGES = 16;
const IOVA = 0x10000;
/** edu's DMA engine (docs/devices.md): source, destination, count, command. */
const SOURCE = 0x80;
const DESTINATION = 0x88;
const COUNT = 0x90;
const DMA_COMMAND = 0x98;
const BUFFER = 0x40000;
const START = 1;
const TO_MEMORY = 2;

let device: ServedDevice;
let counters: Counters;
let incidents: IncidentLog;
let client: Client;

beforeEach(async () => {
  ({ device, counters, incidents } = await makeDevice('edu'));
  client = new Client(device);
});

const join = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));

function write(region: number, offset: number, value: bigint, count = 8): void {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, value, true);
  const head = writeStruct(RegionAccess, { offset, region, count });
  client.ask(Command.REGION_WRITE, join(head, data.subarray(0, count)));
}

function map(flags: number, descriptors: readonly number[], offset = 0): number {
  const size = PAGES * PAGE;
  const body = writeStruct(UserDmaMap, { argsz: 32, flags, offset, address: IOVA, size });
  return client.ask(Command.DMA_MAP, body, descriptors)!.error;
}

/** The device copies `count` bytes from one address to another by way of its buffer. */
function copy(from: number, to: number, count: number): void {
  const command = PciCommand.MEMORY | PciCommand.MASTER;
  write(PciRegionIndex.CONFIG, PciConfig.COMMAND, BigInt(command), 2);
  for (const [source, destination, direction] of [
    [from, BUFFER, 0],
    [BUFFER, to, TO_MEMORY],
  ] as const) {
    write(0, SOURCE, BigInt(source));
    write(0, DESTINATION, BigInt(destination));
    write(0, COUNT, BigInt(count));
    write(0, DMA_COMMAND, BigInt(START | direction));
  }
}

const text = Buffer.from('what the device shall copy');
const both = UserDmaFlag.READ | UserDmaFlag.WRITE;

describe('a device reaches what its client has shared', () => {
  it('through a file that the server maps', () => {
    const fd = memfdCreate('memory', MFD_CLOEXEC);
    ftruncate(fd, PAGES * PAGE);
    const { bytes } = mapShared(fd, 0, PAGES * PAGE);
    bytes.set(text, 100);
    expect(map(both, [fd])).toBe(0);
    copy(IOVA + 100, IOVA + 3 * PAGE, text.length);
    expect(Buffer.from(bytes.subarray(3 * PAGE, 3 * PAGE + text.length))).toEqual(text);
    expect([client.asked, counters.faults, counters.dmaBytesRead]).toEqual([0, 2, text.length]);
    client.close();
    close(fd);
    expect([counters.mappedPages, counters.residentPages]).toEqual([0, 0]);
  });

  it('through a descriptor that the server reads and writes', () => {
    const memory = allocateNative(PAGES * PAGE);
    memory.bytes.set(text, 100);
    const fd = openSync('/proc/self/mem', 'r+');
    expect(map(both | UserDmaFlag.FILE_IO, [fd], memory.address)).toBe(0);
    closeSync(fd);
    copy(IOVA + 100, IOVA + 3 * PAGE, text.length);
    expect(Buffer.from(memory.bytes.subarray(3 * PAGE, 3 * PAGE + text.length))).toEqual(text);
    expect(client.asked).toBe(0);
    client.close();
  });

  it('by messages where there is no descriptor, and is refused what the client refuses', () => {
    client.memory = new Uint8Array(IOVA + 8 * PAGE);
    client.memory.set(text, IOVA + 100);
    expect(map(both, [])).toBe(0);
    copy(IOVA + 100, IOVA + 3 * PAGE, text.length);
    const there = client.memory.subarray(IOVA + 3 * PAGE, IOVA + 3 * PAGE + text.length);
    expect([Buffer.from(there), client.asked]).toEqual([text, 2]);
    // The device asked once for what is not there, and writes what its buffer had.
    copy(IOVA + 8 * PAGE, IOVA, text.length);
    expect([client.asked, incidents.counts.refusedAccesses]).toEqual([4, 1]);
    expect(client.ask(Command.DEVICE_RESET, new Uint8Array(0))!.error).toBe(0);
    client.close();
  });

  it('but no file that its client has cut off meanwhile', () => {
    const fd = memfdCreate('memory', MFD_CLOEXEC);
    ftruncate(fd, PAGES * PAGE);
    expect(map(both, [fd])).toBe(0);
    ftruncate(fd, 0);
    copy(IOVA, IOVA + PAGE, 8);
    expect(counters.dmaBytesRead).toBe(0);
    client.close();
    close(fd);
  });

  it('answers a write before the device asks, and a read while it does', () => {
    client.memory = new Uint8Array(IOVA + PAGES * PAGE);
    map(both, []);
    const seen: number[] = [];
    client.crossing = () => {
      seen.push(client.replies.length);
      if (seen.length > 1) return;
      const { outgoing } = client.socket;
      const before = outgoing.bytes.slice(0, 4096);
      client.send(
        Command.REGION_READ,
        writeStruct(RegionAccess, { offset: 0, region: 0, count: 4 }),
      );
      client.send(Command.DEVICE_GET_INFO, Uint8Array.of(16, 0, 0, 0, ...new Array(12).fill(0)));
      outgoing.bytes.set(before);
    };
    const data = new Uint8Array(8);
    data[0] = START;
    for (const [offset, value] of [
      [SOURCE, IOVA],
      [DESTINATION, BUFFER],
      [COUNT, 8],
    ] as const)
      write(0, offset, BigInt(value));
    write(
      PciRegionIndex.CONFIG,
      PciConfig.COMMAND,
      BigInt(PciCommand.MEMORY | PciCommand.MASTER),
      2,
    );
    const head = writeStruct(RegionAccess, { offset: DMA_COMMAND, region: 0, count: 8 });
    expect(client.ask(Command.REGION_WRITE, join(head, data))!.error).toBe(0);
    // The write's reply was there when the question came; the read's before the write was done.
    expect(seen).toEqual([1]);
    expect(client.replies.map(({ command }) => command)).toEqual([
      Command.REGION_READ,
      Command.DEVICE_GET_INFO,
    ]);
    client.close();
  });

  it('and a client that does not answer is given up', () => {
    expect(map(both, [])).toBe(0);
    expect(() => copy(IOVA, IOVA + PAGE, 8)).not.toThrow();
    expect([client.session.isOver, client.session.complaint]).toEqual([
      true,
      'did not answer in time',
    ]);
    client.close();
  });
});

describe('an UNMAP with a bitmap', () => {
  const unmap = (pageBytes: number, bytes: number) =>
    client.ask(
      Command.DMA_UNMAP,
      join(
        writeStruct(UserDmaUnmap, {
          argsz: 40 + bytes,
          flags: UserUnmapFlag.GET_DIRTY_BITMAP,
          address: IOVA,
          size: PAGES * PAGE,
        }),
        writeStruct(UserBitmap, { pgsize: pageBytes, size: bytes }),
      ),
    )!;
  const feature = (flags: number, pageBytes: number) => {
    const body = new Uint8Array(24);
    const view = new DataView(body.buffer);
    view.setUint32(0, 24, true);
    view.setUint32(4, flags, true);
    view.setBigUint64(8, BigInt(pageBytes), true);
    return client.ask(Command.DEVICE_FEATURE, body)!.error;
  };
  const LOGGING_START = 0x20006;

  it('tells what was written, and of nothing else in the server', () => {
    client.memory = new Uint8Array(IOVA + PAGES * PAGE);
    map(both, []);
    expect(feature(LOGGING_START, PAGE)).toBe(0);
    copy(IOVA, IOVA + 5 * PAGE, 8);
    for (const pageBytes of [1, 3, 2048, 0]) expect(unmap(pageBytes, 8).error).toBe(Errno.EINVAL);
    // What is left of an earlier reply is where the bitmap will be.
    client.ask(
      Command.REGION_READ,
      writeStruct(RegionAccess, { offset: 0, region: 0, count: 2048 }),
    );
    const { body, error } = unmap(8192, 1024);
    expect([error, body.length]).toEqual([0, 40 + 1024]);
    expect([...body.subarray(40, 41)]).toEqual([1 << 2]);
    expect(body.subarray(41).every((byte) => byte === 0)).toBe(true);
    client.close();
  });

  it('is refused where the bitmap is too large for a message, or too small', () => {
    map(both, []);
    feature(LOGGING_START, PAGE);
    expect(unmap(PAGE, 0).error).toBe(Errno.EINVAL);
    expect(unmap(PAGE, 2 ** 20).error).toBe(Errno.EINVAL);
    expect(counters.mappedPages).toBe(PAGES);
    client.close();
  });
});
