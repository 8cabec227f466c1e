/**
 * Reads the first blocks of an NVMe disk, several at a time, and writes them to a file, or ends
 * with an error: what a driver has to notice. `iopf exec --inject-each` tries it (docs/inject.md).
 *
 * Usage: node save.js FILE [BDF] [--blocks N] [--depth N] [--patience MS]; blocks are of 4 KiB, at
 * most 65,535: no identifier comes twice, so that a late or repeated completion is noticed.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { IoOpcode } from '../../src/device/nvme/command.js';
import { VfioClient } from '../dma-copy/vfio.js';
import { NvmePollDriver } from './driver.js';

const IO_BYTES = 4096;
const BLOCK_BYTES = 512;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    blocks: { type: 'string', default: '8' },
    depth: { type: 'string', default: '4' },
    patience: { type: 'string', default: '1000' },
  },
});
const [path = 'disk.raw', address = '0000:02:00.0'] = positionals;
const [blocks, depth] = [Number(values.blocks), Number(values.depth)];

const vfio = new VfioClient(address);
const memoryBytes = 16384 + 2 * 4096 + depth * IO_BYTES;
const driver = new NvmePollDriver(vfio, memoryBytes, undefined, Number(values.patience));
const queue = driver.createQueue(1, 2 * depth);
const buffers = driver.allocate(depth * IO_BYTES);
const saved = Buffer.alloc(blocks * IO_BYTES);

/** By block, which is its command's identifier: the buffer that it comes to. */
const slotOf = new Uint32Array(blocks);
function submit(slot: number, block: number): void {
  slotOf[block] = slot;
  const first = block * (IO_BYTES / BLOCK_BYTES);
  const iova = driver.iova(buffers + slot * IO_BYTES);
  queue.push(IoOpcode.READ, block, 1, iova, 0, first, 0, IO_BYTES / BLOCK_BYTES - 1);
  queue.ring();
}

let next = 0;
while (next < Math.min(depth, blocks)) submit(next, next++);
for (let done = 0; done < blocks; done++) {
  const block = queue.wait();
  const slot = slotOf[block]!;
  if (queue.status !== 0) throw new Error(`block ${block}: status 0x${queue.status.toString(16)}`);
  saved.set(driver.bytes(buffers + slot * IO_BYTES, IO_BYTES), block * IO_BYTES);
  if (next < blocks) submit(slot, next++);
}
driver.shutDown();
vfio.close();
writeFileSync(path, saved);
