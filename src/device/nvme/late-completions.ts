/** Completions that come late, or once more, on purpose. */
import type { CommandFaults } from '../faults.js';
import type { Batch } from './batch.js';
import { CQE_WORDS } from './command.js';
import type { SubmissionQueue } from './queue.js';

interface Kept {
  readonly queue: SubmissionQueue;
  readonly dueMs: number;
  readonly identifier: number;
  readonly status: number;
  readonly result: number;
}

export class LateCompletions {
  /** Of the batch that is under way: when the completion comes (again), by identifier. */
  private readonly marked = new Map<number, number>();
  private kept: Kept[] = [];

  constructor(private readonly faults: CommandFaults) {}

  /** The command's completion, once it is made, comes (again) in so many milliseconds. */
  mark(identifier: number, ms: number): void {
    this.marked.set(identifier, this.faults.nowMs() + ms);
  }

  /** The batch was sent: keeps what was marked of it. */
  sent(queue: SubmissionQueue, batch: Batch): void {
    if (this.marked.size === 0) return;
    for (let index = 0; index < batch.completed + batch.left; index++) {
      const words = batch.completion(index);
      const last = words[CQE_WORDS - 1]!;
      const identifier = last & 0xffff;
      const dueMs = this.marked.get(identifier);
      if (dueMs === undefined) continue;
      const status = (last >>> 17) & 0x7ff;
      this.kept.push({ queue, dueMs, identifier, status, result: words[0]! });
    }
    this.marked.clear();
  }

  /** One that is due, of a queue of which `accepts` holds; null: there is none. */
  take(accepts: (queue: SubmissionQueue) => boolean): Kept | null {
    if (this.kept.length === 0) return null;
    const now = this.faults.nowMs();
    const at = this.kept.findIndex(({ dueMs, queue }) => dueMs <= now && accepts(queue));
    return at < 0 ? null : this.kept.splice(at, 1)[0]!;
  }

  reset(): void {
    this.marked.clear();
    this.kept = [];
  }
}
