import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { VirtQueue } from '../virtio/queue.js';
import type { VirtioTransport } from '../virtio/transport.js';
import type { Workspace } from './pair.js';

/**
 * Class and command that set the number of queue pairs in use (VIRTIO_NET_CTRL_MQ, 5.1.6.5.6), with
 * a 16-bit argument.
 */
const MULTIQUEUE = 4;
const VQ_PAIRS_SET = 0;
const COMMAND_BYTES = 4;
const OK = 0;
const ERROR = 1;
/** Where the answer lies in the device's buffer. */
const ACK = COMMAND_BYTES;

/** The control queue (5.1.6.5): it knows how to set the number of pairs. */
export class ControlQueue {
  private readonly buffer: DmaBuffer;
  /** Sets the number of pairs in use; false: not valid. */
  private readonly setPairs: (pairs: number) => boolean;

  constructor(
    private readonly transport: VirtioTransport,
    private readonly work: Workspace,
    allocate: AllocateDma,
    setPairs: (pairs: number) => boolean,
  ) {
    this.buffer = allocate(COMMAND_BYTES + 1);
    this.setPairs = setPairs;
  }

  /** Carries out the next command, where there is one. */
  poll(queue: VirtQueue): boolean {
    if (!this.transport.awake(queue)) return false;
    if (!this.run(queue)) this.transport.breakDown();
    return true;
  }

  private run(queue: VirtQueue): boolean {
    const transport = this.transport;
    const { dma } = transport.endpoint;
    const { pages, reads, writes } = this.work;
    if (!pages.hasRings(queue)) return true;
    reads.clear();
    queue.appendLook(reads);
    if (!dma.read(reads, null) || !queue.looked()) return false;
    if (queue.takeInterrupt()) transport.interrupt(queue);
    if (queue.waiting === 0) queue.active = false;
    if (!pages.hasBuffers(queue, Math.min(queue.waiting, 1), COMMAND_BYTES)) return true;
    writes.clear();
    if (queue.waiting > 0 && !this.command(queue)) return false;
    queue.appendUsed(writes);
    return dma.write(writes, null);
  }

  /** One command: class, command and data to read, an answer of one byte to write. */
  private command(queue: VirtQueue): boolean {
    const { dma } = this.transport.endpoint;
    const { chain, reads, writes } = this.work;
    const { head } = queue;
    reads.clear();
    chain.appendIndirect(reads, queue, head, 0);
    if (!dma.read(reads, null) || !chain.load(queue, head, 0) || chain.writable === 0) return false;
    const { bytes } = this.buffer;
    bytes.fill(0);
    reads.clear();
    chain.appendReadable(reads, 0, Math.min(chain.readable, COMMAND_BYTES), this.buffer, 0);
    if (!dma.read(reads, null)) return false;
    const known =
      chain.readable === COMMAND_BYTES && bytes[0] === MULTIQUEUE && bytes[1] === VQ_PAIRS_SET;
    bytes[ACK] = known && this.setPairs(bytes[2]! | (bytes[3]! << 8)) ? OK : ERROR;
    chain.appendWritable(writes, 1, this.buffer, ACK);
    queue.take();
    queue.push(head, 1);
    return true;
  }
}
