import { PAGE_SIZE, READ } from '../../mm/address-space.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import { DmaList } from '../dma-list.js';
import type { DmaOwner, DmaPort } from '../dma-port.js';
import { CQE_BYTES, CQE_WORDS, commandName, SQE_BYTES, SQE_WORDS, Sqe } from './command.js';
import { DataPointer } from './data-pointer.js';
import { BATCH_COMMANDS, TRANSFER_PIECES } from './limits.js';
import type { SubmissionQueue } from './queue.js';
import { Status, statusField } from './status.js';

/**
 * Pieces of DMA lists: every command of a batch with its data may need a page more for a chunk's
 * end.
 */
const PIECES = 6144;
/** Tag of what belongs to a queue and not to a command. */
const QUEUE = -1;

/**
 * A batch of commands of one submission queue on its way: fetched in one call, its data moved in
 * one call for each direction, its completions behind the data in the same call. That order is the
 * order that the host sees. Of a completion itself, the half with the phase may appear before the
 * other on a weakly ordered processor, so an admin command's result goes ahead of it.
 *
 * A command whose data is refused gets Data Transfer Error; the others go on. A completion queue or
 * submission queue that is refused ends the controller's life (fatal status).
 */
export class Batch implements DmaOwner {
  /** Submission queue entries, SQE_WORDS each. */
  readonly commands: Uint32Array;
  readonly data: DataPointer;
  /** Memory to device: data of writes. */
  readonly incoming = new DmaList(PIECES);
  /** Device to memory: data of reads, then completions. */
  readonly outgoing = new DmaList(PIECES);
  /** Completions made so far. */
  completed = 0;
  /** Completions behind those that are not sent. */
  left = 0;
  /** Commands answered with an error, in this batch. */
  errors = 0;
  /** Pieces of data that this batch has moved. */
  moved = 0;
  private readonly port: DmaPort;
  private readonly fetches = new DmaList(PIECES);
  private readonly commandBuffer: DmaBuffer;
  private readonly completionBuffer: DmaBuffer;
  private readonly completions: Uint32Array;
  private readonly refusedLists = new Uint8Array(BATCH_COMMANDS);
  private fetching = false;
  private broken = false;
  /** Whose commands these are. */
  queue = 0;
  /** Completions that shall not be sent, by their number in the batch. */
  private readonly withheld = new Set<number>();
  /** The controller has broken down in this batch: it ends with fatal status. */
  isFatal = false;
  private completionQueue = 0;

  constructor(port: DmaPort, allocate: AllocateDma) {
    this.port = port;
    this.commandBuffer = allocate(BATCH_COMMANDS * SQE_BYTES);
    this.completionBuffer = allocate(BATCH_COMMANDS * CQE_BYTES);
    this.commands = words(this.commandBuffer);
    this.completions = words(this.completionBuffer);
    this.data = new DataPointer(port, allocate(BATCH_COMMANDS * PAGE_SIZE));
  }

  /** Begins an empty batch. */
  begin(): void {
    this.completed = 0;
    this.left = 0;
    this.errors = 0;
    this.moved = 0;
    this.isFatal = false;
    this.incoming.clear();
    this.outgoing.clear();
  }

  /**
   * Begins a batch with `count` commands from the queue's head on. False: the queue's memory was
   * refused.
   */
  fetch(queue: SubmissionQueue, count: number): boolean {
    this.begin();
    this.queue = queue.id;
    const fetches = this.fetches;
    fetches.clear();
    const first = Math.min(count, queue.entries - queue.head);
    const start = queue.head * SQE_BYTES;
    fetches.appendRange(queue.page, start, first * SQE_BYTES, this.commandBuffer, 0, QUEUE);
    if (count > first) {
      const rest = (count - first) * SQE_BYTES;
      fetches.appendRange(queue.page, 0, rest, this.commandBuffer, first * SQE_BYTES, QUEUE);
    }
    fetches.together = fetches.count;
    return this.port.read(fetches, this);
  }

  /** The list for fetches of PRP lists and SGL segments; see `fetchLists`. */
  get lists(): DmaList {
    this.fetches.clear();
    return this.fetches;
  }

  fetchLists(): void {
    this.refusedLists.fill(0);
    if (this.fetches.count === 0) return;
    this.fetching = true;
    this.fetches.together = this.fetches.count;
    this.port.read(this.fetches, this);
    this.fetching = false;
  }

  /**
   * Finds where the data of the I/O command at word `at` lies: DataPointer.resolve, after
   * `fetchLists`.
   */
  resolve(at: number, length: number, slot: number, isFromHost: boolean): number {
    if (this.refusedLists[slot] !== 0) return Status.DATA_TRANSFER_ERROR;
    return this.data.resolve(this.commands, at, length, slot, isFromHost);
  }

  /** Whether another command's data surely fits into the lists. */
  get room(): boolean {
    // The completions at the end need a piece for each page that they lie in, and one more at the
    // queue's wrap.
    return (
      this.incoming.room >= TRANSFER_PIECES &&
      this.outgoing.room >= TRANSFER_PIECES + BATCH_COMMANDS
    );
  }

  /** The tag for DMA of the command that is completed next. */
  get tag(): number {
    return this.completed;
  }

  /** Makes the completion of a command. */
  complete(
    queue: SubmissionQueue,
    sqHead: number,
    identifier: number,
    status: number,
    result: number,
  ): void {
    const at = this.completed++ * CQE_WORDS;
    const words = this.completions;
    if (status !== Status.SUCCESS) this.errors++;
    words[at] = result;
    words[at + 1] = 0;
    words[at + 2] = sqHead | (queue.id << 16);
    words[at + 3] = identifier | (statusField(status) << 17);
  }

  /** DMA of a command, its list of places or a queue was refused. */
  refused(tag: number): void {
    if (tag === QUEUE) this.broken = true;
    else if (this.fetching) this.refusedLists[tag] = 1;
    else this.fail(tag, Status.DATA_TRANSFER_ERROR);
  }

  /** `read, command 7 of submission queue 1`. */
  asking(tag: number, access: number): string {
    if (tag === QUEUE)
      return access === READ
        ? `entries of submission queue ${this.queue}`
        : `an entry of completion queue ${this.completionQueue}`;
    const head = this.commands[commandAt(tag) + Sqe.HEAD]!;
    const name = commandName(head & 0xff, this.queue === 0);
    return `${name}, command ${head >>> 16} of submission queue ${this.queue}`;
  }

  /** Changes a completion that has not left yet; what failed already keeps its status. */
  fail(completion: number, status: number): void {
    const at = completion * CQE_WORDS + 3;
    const words = this.completions;
    if (words[at]! >>> 17 !== 0) return;
    words[at] = (words[at]! & 0x1ffff) | (statusField(status) << 17);
    this.errors++;
  }

  /** Moves the data of writes. */
  receive(): void {
    if (this.incoming.count === 0) return;
    this.moved += this.incoming.count;
    this.incoming.together = this.incoming.count;
    this.port.read(this.incoming, this);
    this.incoming.clear();
  }

  /**
   * Moves the data of reads and then the completions, and advances the completion queue. False: the
   * queue's memory was refused.
   */
  send(queue: SubmissionQueue): boolean {
    const { completions } = queue;
    this.completionQueue = completions.id;
    if (this.withheld.size > 0) this.leaveOut();
    const first = Math.min(this.completed, completions.entries - completions.tail);
    this.outgoing.together = this.outgoing.count;
    this.stage(queue, 0, first);
    this.stage(queue, first, this.completed - first);
    this.broken = this.isFatal;
    this.moved += this.outgoing.count;
    this.port.write(this.outgoing, this);
    return !this.broken;
  }

  /** Completion `index` of the batch: status and identifier of a command, for the error log. */
  completion(index: number): Uint32Array {
    return this.completions.subarray(index * CQE_WORDS, (index + 1) * CQE_WORDS);
  }

  /** The completion that is made next is not sent; `isFatal`: the controller stops after this. */
  withhold(isFatal: boolean): void {
    this.withheld.add(this.completed);
    this.isFatal ||= isFatal;
  }

  /** Puts withheld completions behind the others, with their commands and their DMA's tags. */
  private leaveOut(): void {
    const { commands, completed, completions, outgoing, withheld } = this;
    const all = [...Array(completed).keys()];
    const sent = all.filter((index) => !withheld.has(index));
    const order = [...sent, ...all.filter((index) => withheld.has(index))];
    const places = Uint16Array.from(all, (index) => order.indexOf(index));
    const wereCompletions = completions.slice();
    const wereCommands = commands.slice();
    for (const [place, index] of order.entries()) {
      const at = index * CQE_WORDS;
      completions.set(wereCompletions.subarray(at, at + CQE_WORDS), place * CQE_WORDS);
      const command = commandAt(index);
      commands.set(wereCommands.subarray(command, commandAt(index + 1)), commandAt(place));
    }
    const { tag, count } = outgoing;
    for (let piece = 0; piece < count; piece++) tag[piece] = places[tag[piece]!]!;
    this.completed = sent.length;
    this.left = completed - sent.length;
    withheld.clear();
  }

  private stage(queue: SubmissionQueue, from: number, count: number): void {
    if (count === 0) return;
    const { completions } = queue;
    const words = this.completions;
    for (let index = from; index < from + count; index++) {
      words[index * CQE_WORDS + 3]! |= completions.phase << 16;
    }
    const { page } = completions;
    const at = completions.tail * CQE_BYTES;
    const staged = from * CQE_BYTES;
    if (queue.id === 0)
      this.outgoing.appendRange(page, at, CQE_BYTES / 2, this.completionBuffer, staged, QUEUE);
    this.outgoing.appendRange(page, at, count * CQE_BYTES, this.completionBuffer, staged, QUEUE);
    completions.tail += count;
    if (completions.tail === completions.entries) {
      completions.tail = 0;
      completions.phase ^= 1;
    }
  }
}

function words(buffer: DmaBuffer): Uint32Array {
  return new Uint32Array(buffer.bytes.buffer, buffer.bytes.byteOffset, buffer.bytes.byteLength / 4);
}

/** Words of a batch's entry `slot`. */
export function commandAt(slot: number): number {
  return slot * SQE_WORDS;
}
