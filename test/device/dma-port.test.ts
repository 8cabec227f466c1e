import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bug } from '../../src/abi/bug.js';
import { DmaList } from '../../src/device/dma-list.js';
import { DmaPort } from '../../src/device/dma-port.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { allocatePlain } from '../../src/mm/frame-memory.js';
import { IOVA_BASE_PAGE, Program } from './program.js';

function portOf(program: Program): DmaPort {
  const port = new DmaPort(program.iommu, program.memory);
  port.enabled = true;
  return port;
}

describe('a DMA list', () => {
  it('takes no piece beyond its buffer, and none over the end of a page', () => {
    const list = new DmaList(4);
    const buffer = allocatePlain(8192);
    list.append(1, 0, 4096, buffer, 4096, 0);
    expect(() => list.append(1, 0, 4096, buffer, 4097, 0)).toThrow(Bug);
    expect(() => list.appendRange(1, 100, 2 ** 32 - 1, buffer, 0, 0)).toThrow(Bug);
    expect(() => list.append(1, 1, 4096, buffer, 0, 0)).toThrow(Bug);
  });
});

describe('the DMA port', () => {
  it('copies any range in both directions', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 60 * 4096 }),
        fc.integer({ min: 1, max: 300 * 4096 }),
        fc.boolean(),
        (offset, length, faulting) => {
          const program = new Program({ pages: 400, faulting });
          const port = portOf(program);
          const buffer = allocatePlain(length + 2);
          for (let at = 0; at < length; at++)
            program.memory.bytes[offset + at] = (at * 7 + 1) & 0xff;
          expect(port.readRange(program.iova(offset), length, buffer, 1)).toBe(true);
          expect(
            Buffer.compare(
              buffer.bytes.subarray(1, length + 1),
              program.memory.bytes.subarray(offset, offset + length),
            ),
          ).toBe(0);
          expect([buffer.bytes[0], buffer.bytes[length + 1]]).toEqual([0, 0]);
          buffer.bytes.fill(0x5a, 1, length + 1);
          expect(port.writeRange(program.iova(offset), length, buffer, 1)).toBe(true);
          const written = program.memory.bytes.subarray(offset, offset + length);
          expect(written.every((byte) => byte === 0x5a)).toBe(true);
          expect(program.memory.bytes[offset + length]).toBe(0);
          const { dmaBytesRead, dmaBytesWritten } = program.iommu.counters;
          expect([dmaBytesRead, dmaBytesWritten]).toEqual([length, length]);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('a refused page does not keep the others of a range from being copied', () => {
    const program = new Program({ pages: 8 });
    program.unmapFrame(1);
    const buffer = allocatePlain(3 * 4096);
    program.memory.bytes.fill(1);
    expect(portOf(program).readRange(program.iova(0), 3 * 4096, buffer)).toBe(false);
    expect([0, 4096, 8192].map((at) => buffer.bytes[at])).toEqual([1, 0, 1]);
  });

  it('of a tag that is refused the rest is skipped, and its owner is told once', () => {
    const program = new Program({ pages: 8, faulting: true });
    program.refusedFrames.add(2).add(3);
    const buffer = allocatePlain(8 * 4096);
    const list = new DmaList();
    list.appendRange(IOVA_BASE_PAGE, 0, 4096, buffer, 0, 1);
    list.appendRange(IOVA_BASE_PAGE + 2, 0, 3 * 4096, buffer, 0, 2);
    list.appendRange(IOVA_BASE_PAGE + 1, 0, 4096, buffer, 4096, 3);
    program.memory.bytes.fill(9);
    const told: number[] = [];
    const owner = { refused: (tag: number) => told.push(tag) };
    expect(portOf(program).read(list, owner)).toBe(false);
    expect(told).toEqual([2]);
    expect(program.faults).toEqual([0x100, 0x102, 0x101]);
    expect([buffer.bytes[0], buffer.bytes[4096], buffer.bytes[8192]]).toEqual([9, 9, 0]);
  });

  it('the IOMMU is told where an access was refused, and by whose wish it was', () => {
    const program = new Program({ pages: 8, faulting: true });
    const port = portOf(program);
    const told: unknown[] = [];
    Object.assign(program.iommu, {
      refused: (iova: number, access: number, cause: string, asker: () => string | null) =>
        told.push([iova - IOVA_BASE_PAGE * PAGE_SIZE, access, cause, asker()]),
    });
    program.refusedFrames.add(2).add(5);
    port.readRange(program.iova(4096), 8192, allocatePlain(8192));
    port.asker = () => 'a ring';
    port.writeRange(program.iova(2 * 4096 + 10), 20, allocatePlain(20));
    const list = new DmaList(1);
    list.append(IOVA_BASE_PAGE + 5, 7, 9, allocatePlain(9), 0, 3);
    port.read(list, { refused: () => {}, asking: (tag) => `command ${tag}` });
    port.enabled = false;
    list.clear();
    list.append(IOVA_BASE_PAGE + 1, 7, 9, allocatePlain(9), 0, 3);
    port.read(list, null);
    expect(told).toEqual([
      [8192, READ, 'no translation', null],
      [8202, WRITE, 'no translation', 'a ring'],
      [5 * 4096 + 7, READ, 'no translation', 'command 3'],
      [4096 + 7, READ, 'bus mastering off', 'a ring'],
    ]);
  });

  it('with bus mastering off everything is refused and nothing is asked of the IOMMU', () => {
    const program = new Program({ pages: 8, faulting: true });
    const port = portOf(program);
    port.enabled = false;
    expect(port.readRange(program.iova(0), 10, allocatePlain(10))).toBe(false);
    expect(program.faults).toEqual([]);
    expect(program.memory.calls).toBe(0);
  });

  it('a page that is lost again and again is refused in the end, and what lies before and behind it is copied', () => {
    const program = new Program({ pages: 8 });
    program.memory.bytes.fill(4);
    program.memory.gone.add(1);
    const buffer = allocatePlain(3 * 4096);
    const list = new DmaList();
    for (const page of [0, 1, 2])
      list.append(IOVA_BASE_PAGE + page, 0, 4096, buffer, page * 4096, page);
    const told: number[] = [];
    expect(portOf(program).read(list, { refused: (tag) => told.push(tag) })).toBe(false);
    expect(told).toEqual([1]);
    expect([0, 4096, 8192].map((at) => buffer.bytes[at])).toEqual([4, 0, 4]);
    expect(program.memory.calls).toBeLessThan(40);
  });

  it('cold pages are faulted in first and then copied together', () => {
    const program = new Program({ pages: 64, faulting: true });
    const port = portOf(program);
    const buffer = allocatePlain(32 * 4096);
    program.memory.bytes.fill(6);
    expect(port.readRange(program.iova(0), 32 * 4096, buffer)).toBe(true);
    expect(program.faults).toHaveLength(32);
    expect(program.memory.calls).toBe(1);
    expect(buffer.bytes.every((byte) => byte === 6)).toBe(true);
  });

  it('R3.1: where there is not room for all pages at once, every one is copied while it is there', () => {
    const program = new Program({ pages: 64, faulting: true });
    const port = portOf(program);
    const buffer = allocatePlain(32 * 4096);
    for (let page = 0; page < 32; page++) program.memory.bytes[page * 4096] = page + 1;
    const resident: number[] = [];
    program.beforeFault = (iovaPage) => {
      resident.push(iovaPage - IOVA_BASE_PAGE);
      if (resident.length > 3) program.unmapFrame(resident.shift()!);
    };
    const wild: number[] = [];
    program.memory.beforeCopy = ({ count, frame, length }) => {
      for (let index = 0; index < count; index++) {
        for (let page = 0; page < length[index]! / 4096; page++) {
          const touched = frame[index]! + page;
          if (program.domain.frameAt(touched + IOVA_BASE_PAGE) < 0) wild.push(touched);
        }
      }
    };
    expect(port.readRange(program.iova(0), 32 * 4096, buffer)).toBe(true);
    expect(wild).toEqual([]);
    expect([...Array(32).keys()].map((page) => buffer.bytes[page * 4096])).toEqual(
      [...Array(32).keys()].map((page) => page + 1),
    );
    expect(program.faults.length).toBeLessThanOrEqual(64);
  });

  it('translates anew what was to be copied after a lost page', () => {
    const program = new Program({ pages: 16, faulting: true });
    const port = portOf(program);
    const buffer = allocatePlain(3 * 4096);
    port.readRange(program.iova(0), 3 * 4096, buffer);
    program.memory.bytes.fill(1, 0, 4096);
    program.memory.bytes.fill(7, 8 * 4096, 9 * 4096);
    program.memory.gone.add(1);
    // Bringing page 1 back moves page 2 to frame 8.
    program.beforeFault = (iovaPage) => {
      if (iovaPage !== IOVA_BASE_PAGE + 1) return;
      program.unmapFrame(2);
      program.domain.map(IOVA_BASE_PAGE + 2, 8, 1, 3);
    };
    expect(port.readRange(program.iova(0), 3 * 4096, buffer)).toBe(true);
    expect(buffer.bytes[8192]).toBe(7);
  });

  it('more pieces than a segment list holds go in several calls', () => {
    const program = new Program({ pages: 2048 });
    const list = new DmaList(4096);
    const buffer = allocatePlain(4096);
    // Descending pages, so that no two are neighbours.
    for (let page = 2047; page >= 0; page--)
      list.append(IOVA_BASE_PAGE + page, 0, 1, buffer, page, 0);
    for (let page = 0; page < 2048; page++) program.memory.bytes[page * 4096] = page & 0xff;
    expect(portOf(program).read(list, null)).toBe(true);
    expect(program.memory.calls).toBe(2);
    expect([...buffer.bytes.subarray(0, 2048)].every((byte, page) => byte === (page & 0xff))).toBe(
      true,
    );
  });
});

describe('R8.1: behind a first stage', () => {
  it('a recording is told the page of the container, and not of an access that gets to none', () => {
    const program = new Program({ pages: 4 });
    const seen: unknown[] = [];
    const iommu = {
      counters: program.iommu.counters,
      dmaBytesRead: 0,
      dmaBytesWritten: 0,
      translate: (page: number) => (page === 7 ? 0 : -1),
      fault: () => false,
      pageLost: () => {},
      stage2Page: (page: number) => (page === 9 ? -1 : page + 100),
      observer: { accessed: (...event: unknown[]) => seen.push(event) },
    };
    const port = new DmaPort(iommu, program.memory);
    port.enabled = true;
    expect(port.readRange(7 * 4096, 3 * 4096, allocatePlain(3 * 4096))).toBe(false);
    expect(seen).toEqual([
      [107, 1, false],
      [108, 1, true],
    ]);
  });

  it('a range stops at the page that must wait, and goes on there; INVALID is kept to whatever is there by then', () => {
    const program = new Program({ pages: 4 });
    const there = new Set([7]);
    const requests: { page: number; result: boolean | null }[] = [];
    const iommu = {
      counters: program.iommu.counters,
      dmaBytesRead: 0,
      dmaBytesWritten: 0,
      translate: (page: number) => (there.has(page) ? page - 7 : -1),
      fault: () => false,
      pageLost: () => {},
      request: (page: number) => {
        const request = { page, result: null };
        requests.push(request);
        return request;
      },
    };
    const port = new DmaPort(iommu, program.memory);
    port.enabled = true;
    program.memory.bytes.fill(3);
    const buffer = allocatePlain(3 * 4096);
    const from = 7 * 4096 + 96;
    const length = 2 * 4096;
    expect([
      port.readRange(from, length, buffer),
      port.stalled,
      port.stalledAt,
      port.ready,
    ]).toEqual([false, true, 4000, false]);
    expect([buffer.bytes[3999], buffer.bytes[4000]]).toEqual([3, 0]);
    // Asked again without an answer it makes no second request.
    port.readRange(from + 4000, length - 4000, buffer, 4000);
    expect(requests.map(({ page }) => page)).toEqual([8]);
    there.add(8).add(9);
    requests[0]!.result = false;
    expect(port.ready).toBe(true);
    expect([port.readRange(from + 4000, length - 4000, buffer, 4000), port.stalled]).toEqual([
      false,
      false,
    ]);
    expect([buffer.bytes[4000], buffer.bytes[4000 + 4096]]).toEqual([0, 3]);
    port.readRange(from, length, buffer);
    expect(requests.length).toBe(1);
    port.forgetStall();
    expect(port.ready).toBe(true);
  });
});
