/** A network behind a link that goes down on purpose. */
import type { AllocateDma, DmaBuffer } from '../mm/frame-memory.js';
import type { NetworkPort } from './device-host.js';
import type { LinkFaults } from './faults.js';
import { FrameQueue, QUEUE_BYTES } from './frame-queue.js';

/** While the link is down, what is sent is lost, and so is what has come by when it is up again. */
export class CutPort implements NetworkPort {
  private isStale = false;

  constructor(
    private readonly network: NetworkPort,
    private readonly link: LinkFaults,
  ) {
    link.watch(() => {
      this.isStale = true;
    });
  }

  send(buffer: DmaBuffer, offset: number, length: number): void {
    this.link.sending();
    if (!this.link.isDown) this.network.send(buffer, offset, length);
  }

  receive(buffer: DmaBuffer, offset: number, room: number): number {
    if (this.isStale) {
      while (this.network.receive(buffer, offset, room) > 0);
      this.isStale = this.link.isDown;
    }
    return this.link.isDown ? 0 : this.network.receive(buffer, offset, room);
  }
}

/** What is sent comes back: in place of a card's own way, which no link is in. */
export class LoopPort implements NetworkPort {
  private readonly buffer: DmaBuffer;
  private readonly queue: FrameQueue;

  constructor(allocate: AllocateDma) {
    this.buffer = allocate(QUEUE_BYTES);
    this.queue = new FrameQueue(this.buffer.bytes);
  }

  send(buffer: DmaBuffer, offset: number, length: number): void {
    this.queue.push(buffer, offset, length);
  }

  receive(buffer: DmaBuffer, offset: number, room: number): number {
    const { queue } = this;
    if (queue.isEmpty) return 0;
    const length = Math.min(queue.length, room);
    buffer.bytes.set(this.buffer.bytes.subarray(queue.start, queue.start + length), offset);
    queue.shift();
    return length;
  }
}
