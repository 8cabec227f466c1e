import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { CHUNK_BYTES } from '../../src/device/block-store.js';
import { Namespace } from '../../src/device/nvme/namespace.js';
import { Register } from '../../src/device/nvme/registers.js';
import { Sgl } from '../../src/device/nvme/sgl.js';
import { OwnMemory } from '../../src/device/own-memory.js';
import {
  type CommandFields,
  NvmeDriver,
  pseudoRandom,
  type SglDescriptor,
  SglKind,
  setDescriptor,
} from './nvme-driver.js';
import { command } from './program.js';

/** Where the controller memory buffer is. */
const BUFFER = 2 ** 48;

describe('a program can do what it likes', () => {
  const offset = fc.oneof(
    fc.constantFrom(
      Register.CC,
      Register.AQA,
      Register.ASQ,
      Register.ACQ,
      Register.INTMS,
      Register.INTMC,
      Register.CMBMSC,
      Register.CMBMSC + 4,
    ),
    fc.integer({ min: Register.DOORBELLS, max: Register.DOORBELLS + 32 }),
    fc.integer({ min: 0, max: Register.SIZE - 4 }),
  );
  const value = fc.oneof(
    fc.integer({ min: 0, max: 20 }),
    fc.constantFrom(0x00460001, 0x001f001f),
    fc.nat(0xffffffff),
  );
  const action = fc.oneof(
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constantFrom('mapped', 'config', 'write'), offset, value }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom('queue', 'admin'),
        offset: fc.nat(31),
        value: fc.nat(0xffffffff),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constantFrom('reset', 'enable'),
        offset: fc.constant(0),
        value: fc.constant(0),
      }),
    },
  );

  /** Gives the controller memory buffer of 16 KiB its addresses. */
  function placeBuffer(driver: NvmeDriver): void {
    driver.write(Register.CMBMSC + 4, BUFFER / 2 ** 32);
    driver.write(Register.CMBMSC, 3);
  }

  /** Makes an SGL of the command at `at` that has a chance. */
  function makeSgl(driver: NvmeDriver, at: number, garbage: number, value: number): void {
    const kinds = [0x00, 0x10, 0x20, 0x30, 0x00, 0x30, 0x30, 0x01];
    driver.view.setUint8(at + 1, value & 0x20000000 ? 0x40 : 0x80);
    const length = [512, 512, 1024, 48, 16, 4096, 16384, 7][(value >>> 8) & 7]!;
    driver.view.setUint32(at + 32, length, true);
    driver.view.setUint32(at + 36, kinds[(value >>> 5) & 7]! << 24, true);
    const places = [0, 4088, 8192, 12288];
    for (let index = 0; index < 3; index++) {
      const entry = driver.view.getUint32(at + 24, true) - driver.iova(0) + 16 * index;
      if (driver.view.getUint32(at + 28, true) !== 0 || entry < garbage || entry > garbage + 0x7000)
        return;
      setDescriptor(driver.view, entry, {
        kind: kinds[(value >>> (3 * index)) & 7]!,
        address: driver.iova(garbage) + places[(value >>> index) & 3]!,
        length: index === 2 ? 48 : 256,
      });
    }
  }

  /** Lets a program do all that at random. */
  function garbage(isCanary = false) {
    let commandsDone = 0;
    let succeeded = 0;
    let adminDone = 0;
    const result = fc.check(
      fc.property(fc.array(action, { maxLength: 60 }), fc.nat(), (actions, seed) => {
        const driver = new NvmeDriver(
          { size: '1M', cmb: '16K' },
          { pages: 512, faulting: seed % 2 === 0 },
        );
        driver.enable();
        placeBuffer(driver);
        let queue = driver.createQueue(1, 32);
        const bar = new DataView(driver.program.regions.get(0)!.bytes.buffer);
        const garbage = driver.pages(8);
        driver.bytes(garbage, 8 * 4096).set(pseudoRandom(8 * 4096, seed));
        for (const { kind, offset, value } of actions) {
          if (kind === 'mapped') bar.setUint32(offset & ~3, value, true);
          if (kind === 'write') driver.write(offset, value);
          if (kind === 'config')
            driver.device.writeRegion(7, offset & 0xfc, Uint8Array.of(value & 0xff, value >> 8));
          if (kind === 'reset') driver.device.reset();
          if (kind === 'enable') {
            driver.device.reset();
            command(driver.device, 6);
            driver.enable();
            placeBuffer(driver);
            queue = driver.createQueue(1, 32);
          }
          if (kind === 'queue' || kind === 'admin') {
            // Garbage that has a chance: opcode, namespace and addresses near to what is valid.
            const { submission, id } = kind === 'queue' ? queue : driver.admin;
            // Mostly the next entry, sometimes one that the device does not expect.
            const slot =
              offset > 1 ? bar.getUint32(Register.DOORBELLS + 8 * id, true) % 32 : offset;
            const at = submission + slot * 64;
            driver.bytes(at, 64).set(pseudoRandom(64, value));
            const io = [0, 1, 2, 5, 8, 9, 2, 0x7f, 4, 0x0c, 0x19, 1, 2, 0x19, 1, 5][value & 15]!;
            const opcode = kind === 'queue' ? io : (value & 0x1f) === 0 ? 0x80 : value & 0xf;
            driver.view.setUint32(at, opcode | (slot << 16), true);
            driver.view.setUint32(at + 4, (value & 0x7000000) === 0 ? 0 : 1, true);
            driver.view.setUint32(at + 28, 0, true);
            driver.view.setUint32(at + 36, 0, true);
            driver.view.setUint32(at + 24, driver.iova(garbage) + (value & 0x7ffc), true);
            driver.view.setUint32(at + 32, driver.iova(garbage) + ((value >> 8) & 0x7ff8), true);
            // Some lie in the buffer, or over its edges.
            if ((value & 0x6000000) === 0) {
              driver.view.setUint32(at + 28, BUFFER / 2 ** 32, true);
              driver.view.setUint32(at + 24, (value >>> 3) & 0x7ffc, true);
            }
            if (kind === 'queue' && (value & 0x18000000) === 0) makeSgl(driver, at, garbage, value);
            // Some blocks exist, some lie behind the last, some are far away.
            if (kind === 'queue' && (value & 0x300) !== 0) {
              driver.view.setUint32(at + 40, (value >>> 3) & 0xfff, true);
              driver.view.setUint32(at + 44, 0, true);
            }
            driver.view.setUint32(at + 48, (value >>> 4) & (value & 0x10000 ? 0x4ff : 0x7), true);
            if (kind === 'admin') driver.view.setUint32(at + 40, (value >>> 8) & 0xf01ff, true);
            bar.setUint32(Register.DOORBELLS + 8 * id, (slot + 1) % 32, true);
          }
          driver.device.poll();
          for (const { status } of queue.takeAll()) {
            commandsDone++;
            if (status === 0) succeeded++;
          }
          adminDone += driver.admin.takeAll().length;
        }
        command(driver.device, 6);
        driver.device.reset();
        driver.disable();
        driver.enable();
        expect(driver.admin.run({ opcode: 0x80, namespace: 1 }).status).toBe(0);
        const again = driver.createQueue(1, 8);
        const page = driver.pages(2);
        driver.bytes(page, 4096).set(pseudoRandom(4096, seed));
        const fields = { namespace: 1, dw12: 7 };
        expect(again.run({ opcode: 1, ...driver.prp(page, 4096), ...fields }).status).toBe(0);
        expect(again.run({ opcode: 2, ...driver.prp(page + 4096, 4096), ...fields }).status).toBe(
          0,
        );
        expect(Buffer.compare(driver.bytes(page, 4096), driver.bytes(page + 4096, 4096))).toBe(0);
      }),
      { numRuns: 250, seed: 20210409, endOnFailure: isCanary },
    );
    return { result, commandsDone, succeeded, adminDone };
  }

  it('garbage in queues, registers, doorbells and config space ends in status codes, and a reset makes it good', () => {
    const { result, commandsDone, succeeded, adminDone } = garbage();
    if (result.failed) throw result.errorInstance;
    expect(commandsDone).toBeGreaterThan(300);
    expect(succeeded).toBeGreaterThan(30);
    expect(adminDone).toBeGreaterThan(300);
  });

  it('canary: a controller that does not look whether blocks exist is found', () => {
    const holds = vi.spyOn(Namespace.prototype, 'holds').mockReturnValue(true);
    expect(garbage(true).result.failed).toBe(true);
    holds.mockRestore();
  });

  it('canary: a buffer whose addresses reach a page too far is found', () => {
    const place = OwnMemory.prototype.place;
    const spy = vi.spyOn(OwnMemory.prototype, 'place').mockImplementation(function (
      this: OwnMemory,
      first,
      pages,
      frame,
    ) {
      place.call(this, first, pages === 0 ? 0 : pages + 1, frame);
    });
    expect(garbage(true).result.failed).toBe(true);
    spy.mockRestore();
  });

  it('a disk that is larger than a chunk takes transfers across the chunk', () => {
    const driver = new NvmeDriver({ size: '1025M' });
    driver.enable();
    const queue = driver.createQueue(1, 16);
    const source = driver.pages(8) + 512;
    driver.bytes(source, 16384).set(pseudoRandom(16384));
    const fields = { namespace: 1, dw10: CHUNK_BYTES / 512 - 9, dw12: 31 };
    expect(queue.run({ opcode: 1, ...driver.prp(source, 16384), ...fields }).status).toBe(0);
    const target = driver.pages(5) + 1536;
    expect(queue.run({ opcode: 2, ...driver.prp(target, 16384), ...fields }).status).toBe(0);
    expect(Buffer.compare(driver.bytes(source, 16384), driver.bytes(target, 16384))).toBe(0);
    expect(queue.run({ opcode: 5, ...driver.prp(target, 16384), ...fields }).status).toBe(0);
  });

  /** Makes an SGL of `length` bytes at `memory` (the program's, or the buffer's), in odd parts. */
  function scatter(
    driver: NvmeDriver,
    address: number,
    length: number,
    parts: readonly number[],
  ): SglDescriptor {
    const descriptors: SglDescriptor[] = [{ kind: SglKind.BIT_BUCKET, length: 0 }];
    let done = 0;
    for (const part of parts) {
      const take = Math.min(part, length - done);
      descriptors.push({ kind: SglKind.DATA_BLOCK, address: address + done, length: take });
      done += take;
    }
    if (done < length)
      descriptors.push({
        kind: SglKind.DATA_BLOCK,
        address: address + done,
        length: length - done,
      });
    const list = driver.pages(1) + 1024;
    for (const [index, one] of descriptors.entries())
      setDescriptor(driver.view, list + 16 * index, one);
    const bytes = 16 * descriptors.length;
    return { kind: SglKind.LAST_SEGMENT, address: driver.iova(list), length: bytes };
  }

  /** Reads and writes at random, beside a plain array. */
  function agreement(isCanary = false) {
    return fc.check(
      fc.property(
        fc.array(
          fc.record({
            write: fc.boolean(),
            block: fc.nat(200),
            blocks: fc.integer({ min: 1, max: 56 }),
            shift: fc.nat(1023),
            list: fc.constantFrom(0, 8, 4088, 4080),
            how: fc.constantFrom('prp', 'sgl', 'buffer', 'discard'),
            parts: fc.array(fc.integer({ min: 0, max: 9000 }), { maxLength: 6 }),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        fc.nat(),
        (steps, seed) => {
          const driver = new NvmeDriver(
            { size: '128K', cmb: '64K' },
            { pages: 1024, faulting: true },
          );
          driver.enable();
          placeBuffer(driver);
          const buffer = driver.program.regions.get(2)!.bytes;
          const queues = [driver.createQueue(1, 4), driver.createQueue(2, 7)];
          const model = new Uint8Array(256 * 512);
          for (const [index, step] of steps.entries()) {
            const bytes = step.blocks * 512;
            const memory = driver.pages(9) + step.shift * 4;
            const isBuffer = step.how === 'buffer';
            const place = isBuffer
              ? buffer.subarray(step.shift, step.shift + bytes)
              : driver.bytes(memory, bytes);
            const fields = { namespace: 1, dw10: step.block, dw12: step.blocks - 1 };
            const data = pseudoRandom(bytes, seed + index);
            if (step.write) place.set(data);
            const address = isBuffer ? BUFFER + step.shift : driver.iova(memory);
            const opcode = step.write ? 1 : 2;
            const part = model.subarray(step.block * 512, step.block * 512 + bytes);
            const run = (pointer: Partial<CommandFields>) =>
              expect(queues[index % 2]!.run({ opcode, ...pointer, ...fields }).status).toBe(0);
            if (step.how === 'prp') run(driver.prp(memory, bytes, step.list));
            else if (step.how === 'discard' && !step.write) {
              // The last 100 bytes are not wanted.
              const list = driver.pages(1);
              const data = { kind: SglKind.DATA_BLOCK, address, length: bytes - 100 };
              setDescriptor(driver.view, list, data);
              setDescriptor(driver.view, list + 16, { kind: SglKind.BIT_BUCKET, length: 100 });
              place.fill(0xd1);
              const sgl = { kind: SglKind.LAST_SEGMENT, address: driver.iova(list), length: 32 };
              run({ sgl });
              expect(place.subarray(bytes - 100).every((byte) => byte === 0xd1)).toBe(true);
              expect(Buffer.compare(place.subarray(0, -100), part.subarray(0, -100))).toBe(0);
              continue;
            } else run({ sgl: scatter(driver, address, bytes, step.parts) });
            if (step.write) part.set(data);
            else expect(Buffer.compare(place, part)).toBe(0);
          }
        },
      ),
      { numRuns: 80, endOnFailure: isCanary },
    );
  }

  it('random reads and writes of all shapes on two queues agree with a plain array', () => {
    const { failed, errorInstance } = agreement();
    if (failed) throw errorInstance;
  });

  it('canary: an SGL whose parts after the first begin a byte late is found', () => {
    const append = Sgl.prototype.append;
    const spy = vi.spyOn(Sgl.prototype, 'append').mockImplementation(function (
      this: Sgl,
      list,
      skip,
      length,
      buffer,
      offset,
      tag,
    ) {
      append.call(this, list, skip, length, buffer, offset, tag);
      const last = list.count - 1;
      if (last > 0 && list.length[last]! > 1) list.offset[last]! ^= 1;
    });
    expect(agreement(true).failed).toBe(true);
    spy.mockRestore();
  });
});
