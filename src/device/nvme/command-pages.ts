import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import type { AskedAhead } from '../asked-ahead.js';
import { DmaList } from '../dma-list.js';
import type { AdminCommands } from './admin-commands.js';
import type { Batch } from './batch.js';
import { CQE_BYTES, FROM_HOST, SQE_BYTES, Sqe } from './command.js';
import type { IoCommands } from './io-commands.js';
import { TRANSFER_BYTES, TRANSFER_PIECES } from './limits.js';
import type { SubmissionQueue } from './queue.js';
import { Status } from './status.js';

/**
 * The pages that a command reaches, asked for before it begins where a program answers page
 * requests: its entry, its completion, its list of places, its data.
 */
export class CommandPages {
  private readonly pieces = new DmaList(TRANSFER_PIECES);

  constructor(
    private readonly ahead: AskedAhead,
    private readonly batch: Batch,
    private readonly admin: AdminCommands,
    private readonly io: IoCommands,
  ) {}

  /** Commands are asked for one by one. */
  get isNeeded(): boolean {
    return this.ahead.isNeeded;
  }

  /** A program has yet to answer. */
  get isWaiting(): boolean {
    return this.ahead.isWaiting;
  }

  /**
   * Whether all that the next command of a queue reaches is there, or known to be refused. False:
   * a program has yet to answer; nothing has happened.
   */
  areReady(queue: SubmissionQueue): boolean {
    const { batch } = this;
    const entry = queue.page + Math.floor((queue.head * SQE_BYTES) / PAGE_SIZE);
    if (!this.ahead.ask(entry, READ) || !this.isCompletionReady(queue)) return false;
    if (!batch.fetch(queue, 1)) return true;
    const { commands } = batch;
    const length = queue.id === 0 ? this.admin.dataLength(0) : this.io.dataLength(0);
    if (length === 0 || length > TRANSFER_BYTES) return true;
    const isFromHost = (commands[Sqe.HEAD]! & FROM_HOST) !== 0;
    const { lists } = batch;
    batch.data.prefetch(commands, 0, length, 0, lists);
    if (!this.ask(lists, READ)) return false;
    batch.fetchLists();
    const status = batch.resolve(0, length, 0, isFromHost);
    if (status !== Status.SUCCESS) return !this.isWaiting;
    this.pieces.clear();
    batch.data.append(this.pieces, 0, length, this.io.scratch, 0, 0);
    return this.ask(this.pieces, isFromHost ? READ : WRITE);
  }

  /** The same of a completion alone. */
  isCompletionReady({ completions }: SubmissionQueue): boolean {
    const page = completions.page + Math.floor((completions.tail * CQE_BYTES) / PAGE_SIZE);
    return this.ahead.ask(page, WRITE);
  }

  /** What was asked for has been used. */
  forget(): void {
    this.ahead.forget();
  }

  private ask(list: DmaList, access: number): boolean {
    for (let piece = 0; piece < list.count; piece++)
      if (list.length[piece] !== 0 && !this.ahead.ask(list.page[piece]!, access)) return false;
    return true;
  }
}
