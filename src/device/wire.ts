/**
 * Wires between devices of one run: each frame that an end sends comes to every other end. An end
 * that does not take its frames loses those for which there is no room.
 */
import type { DmaBuffer } from '../mm/frame-memory.js';
import type { NetworkPort } from './device-host.js';
import { FrameQueue, QUEUE_BYTES } from './frame-queue.js';

/** The wires of a run, by their names. */
export class Wires {
  private readonly ends = new Map<string, WireEnd[]>();

  /** A new end of the wire of this name, which is there from its first end on. */
  readonly open = (name: string): NetworkPort => {
    const ends = this.ends.get(name) ?? [];
    this.ends.set(name, ends);
    const end = new WireEnd(ends);
    ends.push(end);
    return end;
  };
}

class WireEnd implements NetworkPort {
  /** What has come and has not been taken. */
  private readonly bytes = new Uint8Array(QUEUE_BYTES);
  private readonly queue = new FrameQueue(this.bytes);

  constructor(private readonly ends: readonly WireEnd[]) {}

  send(buffer: DmaBuffer, offset: number, length: number): void {
    for (const end of this.ends) if (end !== this) end.queue.push(buffer, offset, length);
  }

  receive(buffer: DmaBuffer, offset: number, room: number): number {
    const { queue } = this;
    if (queue.isEmpty) return 0;
    const { start } = queue;
    const length = Math.min(queue.length, room);
    buffer.bytes.set(this.bytes.subarray(start, start + length), offset);
    queue.shift();
    return length;
  }
}
