import { Random } from '../abi/random.js';
import type { AllocateDma, DmaBuffer } from '../mm/frame-memory.js';
import type { NetworkPort } from './device-host.js';
import { FrameQueue, QUEUE_BYTES } from './frame-queue.js';

/** What becomes of the frames that a card sends. */
export interface Impairment {
  /** Of one that is sent, 0 to 1: that it is lost. */
  readonly loss: number;
  /** Microseconds on the way. */
  readonly delayUs: number;
  /** Bits per second; Infinity: as fast as they come. */
  readonly rate: number;
  /** Of chance: the same seed loses the same ones. */
  readonly seed: number;
}

/** A network behind a line that loses frames, or takes time. What is received passes at once. */
export class ImpairedPort implements NetworkPort {
  private readonly random: Random;
  private readonly buffer: DmaBuffer;
  private readonly queue: FrameQueue;
  /** When the line has sent what came before. */
  private freeUs = 0;

  /** @param nowUs the clock in microseconds */
  constructor(
    private readonly network: NetworkPort,
    private readonly impairment: Impairment,
    allocate: AllocateDma,
    private readonly nowUs: () => number,
  ) {
    this.random = new Random(impairment.seed);
    this.buffer = allocate(QUEUE_BYTES);
    this.queue = new FrameQueue(this.buffer.bytes);
  }

  send(buffer: DmaBuffer, offset: number, length: number): void {
    const { loss, delayUs, rate } = this.impairment;
    if (loss > 0 && this.random.next() < loss) return;
    if (delayUs === 0 && rate === Number.POSITIVE_INFINITY) {
      this.network.send(buffer, offset, length);
      return;
    }
    const sentUs = Math.max(this.nowUs(), this.freeUs) + (length * 8e6) / rate;
    if (this.queue.push(buffer, offset, length, sentUs + delayUs)) this.freeUs = sentUs;
  }

  receive(buffer: DmaBuffer, offset: number, room: number): number {
    return this.network.receive(buffer, offset, room);
  }

  /** When the next frame arrives, in microseconds; Infinity: none is on its way. */
  get dueUs(): number {
    return this.queue.isEmpty ? Number.POSITIVE_INFINITY : this.queue.due;
  }

  /** Hands on what has been on its way for long enough. */
  deliver(nowUs: number): void {
    const { buffer, queue } = this;
    while (this.dueUs <= nowUs) {
      this.network.send(buffer, queue.start, queue.length);
      queue.shift();
    }
  }
}
