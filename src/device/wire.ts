/**
 * Wires between devices of one run: each frame that an end sends comes to every other end. An end
 * that does not take its frames loses those for which there is no room.
 */
import type { DmaBuffer } from '../mm/frame-memory.js';
import type { NetworkPort } from './device-host.js';

/** Frames, and bytes of them, that wait at an end. */
const FRAMES = 4096;
const BYTES = 2 ** 22;

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
  /** What has come and has not been taken: a ring of bytes, each frame in one piece. */
  private readonly bytes = new Uint8Array(BYTES);
  private readonly starts = new Int32Array(FRAMES);
  private readonly lengths = new Int32Array(FRAMES);
  private first = 0;
  private count = 0;

  constructor(private readonly ends: readonly WireEnd[]) {}

  send(buffer: DmaBuffer, offset: number, length: number): void {
    const frame = buffer.bytes.subarray(offset, offset + length);
    for (const end of this.ends) if (end !== this) end.arrive(frame);
  }

  receive(buffer: DmaBuffer, offset: number, room: number): number {
    if (this.count === 0) return 0;
    const start = this.starts[this.first]!;
    const length = Math.min(this.lengths[this.first]!, room);
    buffer.bytes.set(this.bytes.subarray(start, start + length), offset);
    this.first = (this.first + 1) % FRAMES;
    this.count--;
    return length;
  }

  private arrive(frame: Uint8Array): void {
    const start = this.roomFor(frame.length);
    if (start < 0) return;
    this.bytes.set(frame, start);
    const slot = (this.first + this.count) % FRAMES;
    this.starts[slot] = start;
    this.lengths[slot] = frame.length;
    this.count++;
  }

  /** Where a frame goes: behind the last one, or at the start; -1: nowhere. */
  private roomFor(length: number): number {
    if (this.count === 0) return length <= BYTES ? 0 : -1;
    if (this.count === FRAMES) return -1;
    const last = (this.first + this.count - 1) % FRAMES;
    const end = this.starts[last]! + this.lengths[last]!;
    const oldest = this.starts[this.first]!;
    if (end > oldest) {
      if (end + length <= BYTES) return end;
      return length < oldest ? 0 : -1;
    }
    return end + length < oldest ? end : -1;
  }
}
