import { PAGE_SIZE } from '../../mm/address-space.js';
import type { DmaPort } from '../dma-port.js';
import { Side } from '../own-memory.js';
import { CQE_BYTES, SQE_BYTES } from './command.js';
import { IO_QUEUES, MSIX_VECTORS, QUEUE_ENTRIES } from './limits.js';
import {
  type CompletionQueue,
  createCompletionQueue,
  createSubmissionQueue,
  type SubmissionQueue,
} from './queue.js';
import { ControllerConfiguration, DOORBELL_COUNT, type Registers } from './registers.js';
import { Status } from './status.js';

/** Bits of a create command's DW11. */
const CONTIGUOUS = 0x1;
const INTERRUPTS = 0x2;
/** log2 of the bytes of an entry, as CC must say before I/O queues are made. */
const SQ_ENTRY_SIZE = 6;
const CQ_ENTRY_SIZE = 4;
/** Doorbells of no queue that one look takes in: a few nanoseconds. */
const STRAYS_PER_LOOK = 8;

/** The queues that exist, by identifier; 0 is the admin queue. */
export class QueueTable {
  /** I/O submission queues that exist, in order of identifier. */
  io: readonly SubmissionQueue[] = [];
  /** The submission queue that was deleted last, until somebody has answered what waits in it. */
  deleted: SubmissionQueue | null = null;
  private readonly submissions: (SubmissionQueue | null)[] = new Array(IO_QUEUES + 1).fill(null);
  private readonly completions: (CompletionQueue | null)[] = new Array(IO_QUEUES + 1).fill(null);
  private nextStray = 0;

  constructor(
    private readonly registers: Registers,
    private readonly port: DmaPort,
  ) {}

  submission(id: number): SubmissionQueue | null {
    return this.submissions[id] ?? null;
  }

  completion(id: number): CompletionQueue | null {
    return this.completions[id] ?? null;
  }

  /** The queue of the doorbell with this index: tails of submission, heads of completion queues. */
  ofDoorbell(index: number): SubmissionQueue | CompletionQueue | null {
    return (index & 1) === 0 ? this.submission(index >> 1) : this.completion(index >> 1);
  }

  /**
   * Whether the host rang for a queue that does not exist, in the mapped BAR; each call looks at
   * some of those doorbells. Hot.
   */
  takeStray(): boolean {
    const registers = this.registers;
    for (let looked = 0; looked < STRAYS_PER_LOOK; looked++) {
      const index = this.nextStray;
      this.nextStray = index + 1 === DOORBELL_COUNT ? 0 : index + 1;
      if (!registers.rung(index) || this.ofDoorbell(index) !== null) continue;
      registers.clearDoorbell(index);
      return true;
    }
    return false;
  }

  get ioQueuesExist(): boolean {
    return (
      this.submissions.some((queue) => queue && queue.id > 0) ||
      this.completions.some((queue) => queue && queue.id > 0)
    );
  }

  /** Forgets all queues. */
  clear(): void {
    this.submissions.fill(null);
    this.completions.fill(null);
    this.io = [];
    this.deleted = null;
    this.registers.clearDoorbells();
  }

  createAdmin(
    submissionPage: number,
    submissionEntries: number,
    completionPage: number,
    completionEntries: number,
  ): void {
    const completions = createCompletionQueue(0, completionPage, completionEntries, true, 0);
    this.completions[0] = completions;
    this.submissions[0] = createSubmissionQueue(0, submissionPage, submissionEntries, completions);
    this.registers.setSubmissionTail(0, 0);
    this.registers.setCompletionHead(0, 0);
  }

  /**
   * Create I/O Completion Queue with words 10 and 11; `page` is -1 where it is not aligned. Returns
   * a status.
   */
  createCompletion(dw10: number, dw11: number, page: number, limit: number): number {
    const id = dw10 & 0xffff;
    const entries = (dw10 >>> 16) + 1;
    const vector = dw11 >>> 16;
    if (id === 0 || id > limit || this.completions[id]) return Status.INVALID_QUEUE_IDENTIFIER;
    if (
      !this.entrySizes(ControllerConfiguration.CQ_ENTRY_SHIFT, CQ_ENTRY_SIZE) ||
      !sizeAllowed(entries)
    ) {
      return Status.INVALID_QUEUE_SIZE;
    }
    if ((dw11 & CONTIGUOUS) === 0) return Status.INVALID_FIELD;
    if (page < 0) return Status.PRP_OFFSET_INVALID;
    if (vector >= MSIX_VECTORS) return Status.INVALID_INTERRUPT_VECTOR;
    if (this.straddles(page, entries * CQE_BYTES)) return Status.INVALID_USE_OF_CMB;
    this.registers.setCompletionHead(id, 0);
    this.completions[id] = createCompletionQueue(
      id,
      page,
      entries,
      (dw11 & INTERRUPTS) !== 0,
      vector,
    );
    return Status.SUCCESS;
  }

  /** Create I/O Submission Queue. */
  createSubmission(dw10: number, dw11: number, page: number, limit: number): number {
    const id = dw10 & 0xffff;
    const entries = (dw10 >>> 16) + 1;
    const completionId = dw11 >>> 16;
    const completions = completionId === 0 ? null : this.completion(completionId);
    if (id === 0 || id > limit || this.submissions[id]) return Status.INVALID_QUEUE_IDENTIFIER;
    if (!completions) return Status.COMPLETION_QUEUE_INVALID;
    if (
      !this.entrySizes(ControllerConfiguration.SQ_ENTRY_SHIFT, SQ_ENTRY_SIZE) ||
      !sizeAllowed(entries)
    ) {
      return Status.INVALID_QUEUE_SIZE;
    }
    if ((dw11 & CONTIGUOUS) === 0) return Status.INVALID_FIELD;
    if (page < 0) return Status.PRP_OFFSET_INVALID;
    if (this.straddles(page, entries * SQE_BYTES)) return Status.INVALID_USE_OF_CMB;
    this.registers.setSubmissionTail(id, 0);
    this.submissions[id] = createSubmissionQueue(id, page, entries, completions);
    this.listIo();
    return Status.SUCCESS;
  }

  /** Delete I/O Completion Queue: after all that complete there. */
  deleteCompletion(id: number): number {
    const queue = id === 0 ? null : this.completion(id);
    if (!queue) return Status.INVALID_QUEUE_IDENTIFIER;
    if (queue.users > 0) return Status.INVALID_QUEUE_DELETION;
    this.completions[id] = null;
    this.registers.clearDoorbell(2 * id + 1);
    return Status.SUCCESS;
  }

  /** Delete I/O Submission Queue. Commands that it still holds are not done; see `deleted`. */
  deleteSubmission(id: number): number {
    const queue = id === 0 ? null : this.submission(id);
    if (!queue) return Status.INVALID_QUEUE_IDENTIFIER;
    queue.completions.users--;
    this.submissions[id] = null;
    this.deleted = queue;
    this.listIo();
    return Status.SUCCESS;
  }

  /**
   * Whether a completion that asks for an interrupt has not been taken by the host: what holds the
   * pin.
   */
  get unseen(): boolean {
    for (const queue of this.completions) {
      if (!queue?.interrupts) continue;
      this.takeHead(queue);
      if (queue.head !== queue.tail) return true;
    }
    return false;
  }

  /**
   * Takes the host's doorbell of a completion queue; false: it holds no valid value, and the old
   * one counts.
   */
  takeHead(queue: CompletionQueue): boolean {
    const head = this.registers.completionHead(queue.id);
    if (head >= 0 && head < queue.entries) {
      queue.head = head;
      return true;
    }
    this.registers.setCompletionHead(queue.id, queue.head);
    return false;
  }

  /** A queue lies in the controller memory buffer or outside (CMBLOC.CQMMS is 0). */
  private straddles(page: number, bytes: number): boolean {
    return this.port.own.sides(page, Math.ceil(bytes / PAGE_SIZE)) === Side.BOTH;
  }

  private listIo(): void {
    this.io = this.submissions.filter(
      (queue) => queue !== null && queue.id > 0,
    ) as SubmissionQueue[];
  }

  private entrySizes(shift: number, size: number): boolean {
    return ((this.registers.configuration >>> shift) & 0xf) === size;
  }
}

function sizeAllowed(entries: number): boolean {
  return entries >= 2 && entries <= QUEUE_ENTRIES;
}
