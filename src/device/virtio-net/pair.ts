import type { AllocateDma } from '../../mm/frame-memory.js';
import type { FrameCapture, NetworkPort } from '../device-host.js';
import { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import type { Attachment } from '../network.js';
import { Chain, chainPieces } from '../virtio/chain.js';
import type { VirtQueue } from '../virtio/queue.js';
import { QueuePages } from '../virtio/queue-pages.js';
import type { VirtioTransport } from '../virtio/transport.js';
import { Frames } from './frames.js';
import {
  BATCH_FRAMES,
  FRAME_LEAST,
  FRAME_MOST,
  HEADER_BYTES,
  LIST_PIECES,
  NUM_BUFFERS,
} from './limits.js';

/** Batches of one pair before the others get their turn. */
const BATCHES_PER_TURN = 4;
const FRAME_PIECES = chainPieces(HEADER_BYTES + FRAME_MOST);
/**
 * The used rings behind the frames: at most two runs of each, which may lie over several pages,
 * with index and event.
 */
const RING_PIECES = 16;

/** Memory and lists that the pairs of a card share: one works at a time. */
export class Workspace {
  readonly frames: Frames;
  readonly chain: Chain;
  readonly reads = new DmaList(LIST_PIECES);
  readonly writes = new DmaList(LIST_PIECES);
  readonly pages: QueuePages;
  /** Whose DMA it is at the moment, for what is refused. */
  asking: string | null = null;

  constructor(allocate: AllocateDma, dma: DmaPort) {
    this.frames = new Frames(allocate);
    this.chain = new Chain(allocate, BATCH_FRAMES);
    this.pages = new QueuePages(dma, this.chain, this.reads, this.frames.buffer);
  }
}

/**
 * A receive and a transmit queue. A batch of frames takes three calls: one look at both queues, one
 * read of what is sent, one write of what is received with the used rings behind it, which is the
 * order that the driver sees.
 *
 * A frame for which the driver's buffers are too few or too small is dropped, as a card without
 * memory does. Only where no buffer is left at all does a network's frame wait where it is.
 */
export class QueuePair {
  /** Frames may be spread over several receive buffers (VIRTIO_NET_F_MRG_RXBUF). */
  private mergeable = false;
  /** Of the driver's header; the card's is HEADER_BYTES, and has what is left out in front. */
  private headerBytes = HEADER_BYTES;
  readonly rx: VirtQueue;
  readonly tx: VirtQueue;
  private readonly transport: VirtioTransport;
  private readonly work: Workspace;
  private readonly name: string;
  /** Null: what is sent comes back. */
  private readonly network: NetworkPort | null;
  private readonly capture: FrameCapture | null;

  constructor(
    transport: VirtioTransport,
    index: number,
    work: Workspace,
    { network, capture }: Attachment,
  ) {
    this.transport = transport;
    this.rx = transport.queues[2 * index]!;
    this.tx = transport.queues[2 * index + 1]!;
    this.work = work;
    this.name = `a ring or a buffer of queues ${this.rx.index} and ${this.tx.index}`;
    this.network = network;
    this.capture = capture;
  }

  /**
   * DRIVER_OK. The driver need not tell of receive buffers: they are looked for when there is a
   * frame.
   */
  start(mergeable: boolean, headerBytes: number): void {
    this.mergeable = mergeable;
    this.headerBytes = headerBytes;
    this.rx.quiet = true;
    this.tx.quiet = false;
  }

  /** Hot where there is nothing to do. True: frames have moved. */
  poll(): boolean {
    this.work.asking = this.name;
    const isAwake = this.transport.awake(this.tx);
    if (this.network === null) return isAwake && this.loop();
    const hasSent = isAwake && this.send(this.network);
    return (this.rx.enabled && this.transport.running && this.arrive(this.network)) || hasSent;
  }

  /** What is sent comes back. */
  private loop(): boolean {
    const { tx, rx } = this;
    let found = false;
    for (let batch = 0; batch < BATCHES_PER_TURN && tx.active; batch++) {
      // Receive buffers that an earlier look found are as good as new ones, where each takes a
      // frame.
      const needsRx = this.mergeable || rx.undecided || rx.waiting < BATCH_FRAMES;
      if (!this.look(true, needsRx)) return true;
      if (tx.waiting === 0) {
        tx.active = false;
        break;
      }
      found = true;
      if (!this.hasPages(true, true)) return true;
      if (!this.takeSent() || !this.give(true)) return true;
      this.rest();
    }
    return found;
  }

  /** What is sent goes out to the network. */
  private send(network: NetworkPort): boolean {
    const { tx } = this;
    const { frames } = this.work;
    if (!this.look(true, false)) return true;
    if (tx.waiting === 0) {
      tx.active = false;
      return false;
    }
    if (!this.hasPages(true, false) || !this.takeSent()) return true;
    for (let index = 0; index < frames.count; index++)
      network.send(frames.buffer, frames.start[index]! + HEADER_BYTES, frames.length[index]!);
    if (this.give(false)) this.rest();
    return true;
  }

  /** What has arrived comes in, as far as there are buffers. */
  private arrive(network: NetworkPort): boolean {
    const { rx } = this;
    const { frames } = this.work;
    if ((rx.waiting === 0 || rx.undecided) && !this.look(false, true)) return true;
    if (!this.hasPages(false, true)) return true;
    frames.clear();
    while (frames.count < rx.waiting && frames.room) {
      const length = network.receive(frames.buffer, frames.next, FRAME_MOST);
      if (length === 0) break;
      frames.add(length);
    }
    if (frames.count === 0) return false;
    this.note(false);
    if (this.give(true)) this.rest();
    return true;
  }

  /** Whether the buffers that a batch may take are there. False: see `look`. */
  private hasPages(tx: boolean, rx: boolean): boolean {
    const { pages } = this.work;
    const bytes = HEADER_BYTES + FRAME_MOST;
    const sent = tx ? Math.min(this.tx.waiting, BATCH_FRAMES) : 0;
    const free = rx && this.rx.enabled ? this.rx.waiting : 0;
    return pages.hasBuffers(this.tx, sent, bytes) && pages.hasBuffers(this.rx, free, bytes);
  }

  /**
   * Looks at the queues and sends the interrupts that are due since the last look. False: something
   * is wrong with them, or a program has yet to bring pages of them.
   */
  private look(tx: boolean, rx: boolean): boolean {
    const transport = this.transport;
    const list = this.work.reads;
    const looksAtRx = rx && this.rx.enabled;
    const { pages } = this.work;
    if ((tx && !pages.hasRings(this.tx)) || (looksAtRx && !pages.hasRings(this.rx))) return false;
    list.clear();
    if (tx) this.tx.appendLook(list);
    if (looksAtRx) this.rx.appendLook(list);
    const isRead = transport.endpoint.dma.read(list, null);
    if (!isRead || (tx && !this.tx.looked()) || (looksAtRx && !this.rx.looked()))
      return this.breakDown();
    if (looksAtRx && this.rx.takeInterrupt()) transport.interrupt(this.rx);
    if (tx && this.tx.takeInterrupt()) transport.interrupt(this.tx);
    return true;
  }

  /** Takes a batch of the driver's frames. False: it broke a rule. */
  private takeSent(): boolean {
    const { tx } = this;
    const { frames, chain, reads } = this.work;
    const { dma } = this.transport.endpoint;
    const count = Math.min(tx.waiting, BATCH_FRAMES);
    const header = this.headerBytes;
    frames.clear();
    reads.clear();
    if (tx.indirect) {
      for (let slot = 0; slot < count; slot++)
        chain.appendIndirect(reads, tx, tx.headAt(slot), slot);
      if (reads.count > 0 && !dma.read(reads, null)) return this.breakDown();
      reads.clear();
    }
    for (let slot = 0; slot < count && frames.room && reads.room >= FRAME_PIECES; slot++) {
      const { head } = tx;
      if (!chain.load(tx, head, slot) || chain.writable > 0 || chain.readable < header)
        return this.breakDown();
      const length = chain.readable - header;
      if (length >= FRAME_LEAST && length <= FRAME_MOST) {
        // Its header is empty, because no offload is offered.
        chain.appendReadable(reads, header, length, frames.buffer, frames.next);
        frames.add(length);
      }
      tx.take();
      tx.push(head, 0);
    }
    reads.together = reads.count;
    if (!dma.read(reads, null)) return this.breakDown();
    this.note(true);
    return true;
  }

  /** The batch's frames, for whoever captures. */
  private note(isSent: boolean): void {
    const { capture } = this;
    if (capture === null) return;
    const { frames } = this.work;
    for (let index = 0; index < frames.count; index++)
      capture(
        frames.buffer.bytes,
        frames.start[index]! + HEADER_BYTES,
        frames.length[index]!,
        isSent,
      );
  }

  /**
   * Writes the frames of the batch to receive buffers, where it is asked to, and then the used
   * rings.
   */
  private give(receives: boolean): boolean {
    const { tx, rx } = this;
    const { frames, writes } = this.work;
    writes.clear();
    if (receives && rx.enabled) {
      for (let index = 0; index < frames.count; index++)
        if (!this.receive(frames.start[index]!, frames.length[index]!)) return this.breakDown();
      writes.together = writes.count;
      rx.appendUsed(writes);
    }
    tx.appendUsed(writes);
    return this.transport.endpoint.dma.write(writes, null) || this.breakDown();
  }

  /**
   * Puts a frame of `length` bytes, whose header is at `start`, into buffers of the driver, or
   * drops it. False: a rule was broken.
   */
  private receive(start: number, length: number): boolean {
    const { rx } = this;
    const header = this.headerBytes;
    const first = start + HEADER_BYTES - header;
    const bytes = header + length;
    const { chain, frames, writes } = this.work;
    const before = writes.count;
    let buffers = 0;
    let done = 0;
    while (done < bytes) {
      const fits = rx.waiting > 0 && (buffers === 0 || this.mergeable);
      if (!fits || writes.room < FRAME_PIECES + RING_PIECES) {
        rx.undo(buffers);
        writes.count = before;
        return true;
      }
      const { head } = rx;
      if (!this.loadReceive(head) || (buffers === 0 && chain.writable < header)) return false;
      const part = Math.min(bytes - done, chain.writable);
      chain.appendWritable(writes, part, frames.buffer, first + done);
      rx.take();
      rx.push(head, part);
      buffers++;
      done += part;
    }
    if (header !== HEADER_BYTES) return true;
    frames.buffer.bytes[start + NUM_BUFFERS] = buffers & 0xff;
    frames.buffer.bytes[start + NUM_BUFFERS + 1] = buffers >>> 8;
    return true;
  }

  private loadReceive(head: number): boolean {
    const { rx } = this;
    const { chain, reads } = this.work;
    if (rx.indirect) {
      reads.clear();
      chain.appendIndirect(reads, rx, head, 0);
      if (reads.count > 0 && !this.transport.endpoint.dma.read(reads, null)) return false;
    }
    return chain.load(rx, head, 0) && chain.readable === 0;
  }

  /**
   * After a batch: another look is due only for an interrupt, or for buffers of which the driver
   * may have said nothing.
   */
  private rest(): void {
    const { tx, rx } = this;
    if (!this.transport.canInterrupt(tx)) tx.skipInterrupt();
    if (!this.transport.canInterrupt(rx)) rx.skipInterrupt();
    if (tx.waiting === 0 && !tx.eventIndex && !tx.undecided && !rx.undecided) tx.active = false;
  }

  private breakDown(): false {
    this.transport.breakDown();
    return false;
  }
}
