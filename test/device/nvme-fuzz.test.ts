import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { CHUNK_BYTES } from '../../src/device/block-store.js';
import { Namespace } from '../../src/device/nvme/namespace.js';
import { Register } from '../../src/device/nvme/registers.js';
import { NvmeDriver, pseudoRandom } from './nvme-driver.js';
import { command } from './program.js';

describe('a program can do what it likes', () => {
  const offset = fc.oneof(
    fc.constantFrom(
      Register.CC,
      Register.AQA,
      Register.ASQ,
      Register.ACQ,
      Register.INTMS,
      Register.INTMC,
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

  /** Lets a program do all that at random. */
  function garbage() {
    let commandsDone = 0;
    let succeeded = 0;
    let adminDone = 0;
    const result = fc.check(
      fc.property(fc.array(action, { maxLength: 60 }), fc.nat(), (actions, seed) => {
        const driver = new NvmeDriver({ size: '1M' }, { pages: 512, faulting: seed % 2 === 0 });
        driver.enable();
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
            const io = [0, 1, 2, 5, 8, 9, 1, 0x7f][value & 7]!;
            const opcode = kind === 'queue' ? io : (value & 0x1f) === 0 ? 0x80 : value & 0xf;
            driver.view.setUint32(at, opcode | (slot << 16), true);
            driver.view.setUint32(at + 4, (value & 0x7000000) === 0 ? 0 : 1, true);
            driver.view.setUint32(at + 28, 0, true);
            driver.view.setUint32(at + 36, 0, true);
            driver.view.setUint32(at + 24, driver.iova(garbage) + (value & 0x7ffc), true);
            driver.view.setUint32(at + 32, driver.iova(garbage) + ((value >> 8) & 0x7ff8), true);
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
      { numRuns: 250, seed: 20210409 },
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
    expect(garbage().result.failed).toBe(true);
    holds.mockRestore();
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

  it('random reads and writes of all shapes on two queues agree with a plain array', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            write: fc.boolean(),
            block: fc.nat(200),
            blocks: fc.integer({ min: 1, max: 56 }),
            shift: fc.nat(1023),
            list: fc.constantFrom(0, 8, 4088, 4080),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        fc.nat(),
        (steps, seed) => {
          const driver = new NvmeDriver({ size: '128K' }, { pages: 1024, faulting: true });
          driver.enable();
          const queues = [driver.createQueue(1, 4), driver.createQueue(2, 7)];
          const model = new Uint8Array(256 * 512);
          for (const [index, step] of steps.entries()) {
            const bytes = step.blocks * 512;
            const memory = driver.pages(9) + step.shift * 4;
            const fields = { namespace: 1, dw10: step.block, dw12: step.blocks - 1 };
            const data = pseudoRandom(bytes, seed + index);
            if (step.write) driver.bytes(memory, bytes).set(data);
            const prp = driver.prp(memory, bytes, step.list);
            const opcode = step.write ? 1 : 2;
            expect(queues[index % 2]!.run({ opcode, ...prp, ...fields }).status).toBe(0);
            const part = model.subarray(step.block * 512, step.block * 512 + bytes);
            if (step.write) part.set(data);
            else expect(Buffer.compare(driver.bytes(memory, bytes), part)).toBe(0);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
