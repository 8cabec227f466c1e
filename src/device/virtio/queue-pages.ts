import { READ, WRITE } from '../../mm/address-space.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import type { AskedAhead } from '../asked-ahead.js';
import type { DmaList } from '../dma-list.js';
import type { DmaPort } from '../dma-port.js';
import type { Chain } from './chain.js';
import type { VirtQueue } from './queue.js';

/**
 * The pages that a batch reaches, asked for before it begins where a program answers page requests:
 * rings, indirect tables, buffers. What is refused the batch itself finds out.
 */
export class QueuePages {
  private readonly ahead: AskedAhead;

  /**
   * @param list is used meanwhile
   * @param buffer stands for the device's side, and is not touched
   */
  constructor(
    private readonly dma: DmaPort,
    private readonly chain: Chain,
    private readonly list: DmaList,
    private readonly buffer: DmaBuffer,
  ) {
    this.ahead = dma.askAhead();
  }

  /** A program has yet to answer. */
  get isWaiting(): boolean {
    return this.ahead.isWaiting;
  }

  /** Whether a look at a queue finds all of its rings. False: a program has yet to answer. */
  hasRings(queue: VirtQueue): boolean {
    const { ahead, list } = this;
    if (!ahead.isNeeded) return true;
    list.clear();
    queue.appendLook(list);
    if (!this.ask(READ)) return false;
    list.clear();
    queue.appendUsedRing(list);
    return this.ask(WRITE);
  }

  /** The same of `count` buffers that the last look found, as far as `bytes` of each. */
  hasBuffers(queue: VirtQueue, count: number, bytes: number): boolean {
    if (!this.ahead.isNeeded) return true;
    for (let index = 0; index < count; index++)
      if (!this.hasBuffer(queue, queue.headAt(index), bytes)) return false;
    return true;
  }

  private hasBuffer(queue: VirtQueue, head: number, bytes: number): boolean {
    const { buffer, chain, dma, list } = this;
    list.clear();
    if (queue.indirect) chain.appendIndirect(list, queue, head, 0);
    if (!this.ask(READ)) return false;
    if ((list.count > 0 && !dma.read(list, null)) || !chain.load(queue, head, 0)) return true;
    list.clear();
    chain.appendReadable(list, 0, Math.min(chain.readable, bytes), buffer, 0);
    if (!this.ask(READ)) return false;
    list.clear();
    chain.appendWritable(list, Math.min(chain.writable, bytes), buffer, 0);
    return this.ask(WRITE);
  }

  private ask(access: number): boolean {
    const { ahead, list } = this;
    for (let piece = 0; piece < list.count; piece++)
      if (!ahead.ask(list.page[piece]!, access)) return false;
    return true;
  }
}
