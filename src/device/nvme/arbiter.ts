import { PAGE_SIZE, READ } from '../../mm/address-space.js';
import type { PciEndpoint } from '../pci/endpoint.js';
import type { AdminCommands } from './admin-commands.js';
import { type Batch, commandAt } from './batch.js';
import { SQE_BYTES, Sqe, startingBlock } from './command.js';
import type { CommandPages } from './command-pages.js';
import { EventInformation, EventType } from './events.js';
import type { IoCommands } from './io-commands.js';
import type { LateCompletions } from './late-completions.js';
import { BATCH_COMMANDS } from './limits.js';
import { LogPage } from './log-pages.js';
import { commandsWaiting, completionRoom, type SubmissionQueue } from './queue.js';
import type { QueueTable } from './queue-table.js';
import type { Registers } from './registers.js';
import { NO_COMPLETION, Status } from './status.js';

/** Batches of one queue before the others get their turn. */
const BATCHES_PER_TURN = 4;
/**
 * Pieces of data (at most a page each) that one run moves before other devices and the program get
 * theirs: 8 MiB.
 */
const PIECES_PER_RUN = 2048;

/** What the arbiter needs of those who carry commands out. */
export type AdminExecutor = Pick<AdminCommands, 'execute' | 'result' | 'events' | 'logs'>;
export type IoExecutor = Pick<IoCommands, 'prefetch' | 'execute' | 'result' | 'settle'>;

/**
 * Decides whose commands are done next: the admin queue's first, then the I/O queues' round robin
 * (NVM Express 1.4, 4.13.1), each a few batches at a time. A run ends when every queue had its turn
 * or much data was moved; the next one goes on behind the queue that was served last.
 */
export class Arbiter {
  /** The memory of a queue was refused: nothing goes on until the host resets the controller. */
  broken = false;
  /** Completions were written that no message told of: the pin must. */
  pinDue = false;
  private next = 0;
  private moved = 0;

  constructor(
    private readonly endpoint: PciEndpoint,
    private readonly registers: Registers,
    private readonly queues: QueueTable,
    private readonly batch: Batch,
    private readonly admin: AdminExecutor,
    private readonly io: IoExecutor,
    private readonly pages: CommandPages,
    private readonly late: LateCompletions | null,
  ) {}

  reset(): void {
    this.broken = false;
    this.next = 0;
    this.late?.reset();
  }

  /** Lets queues do what waits in them. True: something was done. */
  run(): boolean {
    this.moved = 0;
    this.pinDue = false;
    if (this.pages.isWaiting) return false;
    let found = this.look(this.queues.submission(0)!);
    // What the admin queue did may have changed the list.
    const { io } = this.queues;
    for (
      let looked = 0;
      looked < io.length && this.moved < PIECES_PER_RUN && !this.broken;
      looked++
    ) {
      if (this.next >= io.length) this.next = 0;
      if (this.look(io[this.next++]!)) found = true;
    }
    if (this.admin.events.ready && !this.broken && this.sendEvents()) found = true;
    if (this.late !== null && !this.broken && this.sendLate(this.late)) found = true;
    return found;
  }

  /** Bus mastering is off: commands wait in the program's memory. */
  holdBack(): void {
    const { head, page } = this.queues.submission(0)!;
    if (this.registers.submissionTail(0) !== head)
      this.endpoint.dma.holdBack(page * PAGE_SIZE + head * SQE_BYTES, READ);
  }

  reportError(information: number): void {
    this.admin.events.report(EventType.ERROR, information, LogPage.ERROR);
  }

  private look(queue: SubmissionQueue): boolean {
    this.takeTail(queue);
    return queue.head !== queue.tail && this.turn(queue);
  }

  private takeTail(queue: SubmissionQueue): void {
    if (this.registers.submissionTail(queue.id) === queue.tail) return;
    const tail = this.registers.takeSubmissionTail(queue.id);
    if (tail >= 0 && tail < queue.entries) {
      queue.tail = tail;
      return;
    }
    this.registers.setSubmissionTail(queue.id, queue.tail);
    this.reportError(EventInformation.INVALID_DOORBELL_VALUE);
  }

  /** Lets a queue do what waits in it. True: it did something. */
  private turn(queue: SubmissionQueue): boolean {
    let found = false;
    for (
      let batches = 0;
      batches < BATCHES_PER_TURN && this.moved < PIECES_PER_RUN && !this.broken;
      batches++
    ) {
      const waiting = commandsWaiting(queue);
      if (waiting === 0) break;
      const { completions } = queue;
      let room = completionRoom(completions);
      if (room < BATCH_COMMANDS) {
        this.takeHead(queue);
        room = completionRoom(completions);
      }
      if (room === 0) break;
      const isAskedFor = this.pages.isNeeded;
      if (isAskedFor && !this.pages.areReady(queue)) break;
      found = true;
      if (queue.id === 0) this.adminCommand(queue);
      else this.ioBatch(queue, isAskedFor ? 1 : Math.min(waiting, room, BATCH_COMMANDS));
      if (isAskedFor) this.pages.forget();
    }
    return found;
  }

  private takeHead(queue: SubmissionQueue): void {
    if (!this.queues.takeHead(queue.completions))
      this.reportError(EventInformation.INVALID_DOORBELL_VALUE);
  }

  private adminCommand(queue: SubmissionQueue): void {
    const batch = this.batch;
    if (!batch.fetch(queue, 1)) {
      this.broken = true;
      return;
    }
    const identifier = batch.commands[Sqe.HEAD]! >>> 16;
    advance(queue);
    const status = this.admin.execute(0);
    const { deleted } = this.queues;
    if (deleted) {
      this.queues.deleted = null;
      this.abortWaiting(deleted);
      if (this.broken) return;
      batch.begin();
    }
    if (status !== NO_COMPLETION) {
      batch.complete(queue, queue.head, identifier, status, this.admin.result);
    }
    if (batch.completed > 0) this.send(queue);
  }

  /**
   * Commands of a deleted queue that nobody has begun are answered before the deletion is, as far
   * as their completion queue has room and the queue's memory is still there; the others are gone
   * with it (NVM Express 1.4, 5.6).
   */
  private abortWaiting(queue: SubmissionQueue): void {
    const batch = this.batch;
    this.takeTail(queue);
    this.registers.clearDoorbell(2 * queue.id);
    while (!this.broken) {
      this.takeHead(queue);
      const count = Math.min(
        commandsWaiting(queue),
        completionRoom(queue.completions),
        BATCH_COMMANDS,
      );
      if (count === 0 || !this.isAnswerable(queue) || !batch.fetch(queue, count)) return;
      for (let slot = 0; slot < count; slot++) {
        advance(queue);
        const identifier = batch.commands[commandAt(slot) + Sqe.HEAD]! >>> 16;
        batch.complete(queue, queue.head, identifier, Status.ABORTED_SQ_DELETION, 0);
      }
      this.send(queue);
    }
  }

  private ioBatch(queue: SubmissionQueue, count: number): void {
    const batch = this.batch;
    const io = this.io;
    if (!batch.fetch(queue, count)) {
      this.broken = true;
      return;
    }
    const { lists } = batch;
    for (let slot = 0; slot < count; slot++) io.prefetch(commandAt(slot), slot, lists);
    batch.fetchLists();
    // What does not fit stays in the queue and is fetched again.
    for (let slot = 0; slot < count && batch.room; slot++) {
      const at = commandAt(slot);
      advance(queue);
      const status = io.execute(at, slot);
      const identifier = batch.commands[at + Sqe.HEAD]! >>> 16;
      batch.complete(queue, queue.head, identifier, status, io.result);
    }
    batch.receive();
    io.settle();
    this.send(queue);
  }

  private send(queue: SubmissionQueue): void {
    const batch = this.batch;
    if (!batch.send(queue)) {
      this.broken = true;
      return;
    }
    this.moved += batch.moved;
    this.late?.sent(queue, batch);
    if (batch.completed === 0) return;
    if (batch.errors > 0) this.logErrors(queue);
    const { completions } = queue;
    if (completions.interrupts && !this.endpoint.interrupts.message(completions.vector))
      this.pinDue = true;
  }

  private sendEvents(): boolean {
    const { events } = this.admin;
    const queue = this.queues.submission(0)!;
    this.takeHead(queue);
    if (completionRoom(queue.completions) < 1 || !this.isAnswerable(queue)) return false;
    this.batch.begin();
    this.batch.complete(queue, queue.head, events.takeRequest(), 0, events.takeEvent());
    this.send(queue);
    return true;
  }

  private sendLate(late: LateCompletions): boolean {
    const found = late.take((queue) => {
      if (this.queues.submission(queue.id) !== queue) return false;
      this.takeHead(queue);
      return completionRoom(queue.completions) > 0 && this.isAnswerable(queue);
    });
    if (found === null) return false;
    const { identifier, queue, result, status } = found;
    this.batch.begin();
    this.batch.complete(queue, queue.head, identifier, status, result);
    this.send(queue);
    return true;
  }

  /** A completion would not have to wait for a program. */
  private isAnswerable(queue: SubmissionQueue): boolean {
    return !this.pages.isNeeded || this.pages.isCompletionReady(queue);
  }

  /** The error information log gets every command of the batch that failed. */
  private logErrors(queue: SubmissionQueue): void {
    const { commands, completed } = this.batch;
    for (let index = 0; index < completed; index++) {
      const completion = this.batch.completion(index);
      const status = completion[3]! >>> 16;
      if (status >>> 1 === 0 || status >>> 1 === Status.ABORTED_SQ_DELETION) continue;
      const at = commandAt(index);
      this.admin.logs.addError({
        submissionQueue: queue.id,
        command: completion[3]! & 0xffff,
        status,
        firstBlock: queue.id === 0 ? 0 : startingBlock(commands, at),
        namespace: commands[at + Sqe.NAMESPACE]!,
      });
    }
  }
}

/** The command at the queue's head is on its way. */
function advance(queue: SubmissionQueue): void {
  queue.head = queue.head + 1 === queue.entries ? 0 : queue.head + 1;
}
