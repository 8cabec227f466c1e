/** Queues of commands and of completions (NVM Express 1.4, 4.1), in the program's memory. */

export interface CompletionQueue {
  readonly id: number;
  /** IOVA page where it begins. */
  readonly page: number;
  readonly entries: number;
  readonly interrupts: boolean;
  readonly vector: number;
  /** Next entry that the controller writes. */
  tail: number;
  /** Next entry that the host will look at, as its doorbell said last. */
  head: number;
  /** Phase tag of the entries that are written now: 1 on the first round. */
  phase: number;
  /** Submission queues that complete here. */
  users: number;
}

export interface SubmissionQueue {
  readonly id: number;
  readonly page: number;
  readonly entries: number;
  readonly completions: CompletionQueue;
  /** Next entry that the controller fetches. */
  head: number;
  /** Behind the last entry that the host has filled, as its doorbell said last. */
  tail: number;
}

export function createCompletionQueue(
  id: number,
  page: number,
  entries: number,
  interrupts: boolean,
  vector: number,
): CompletionQueue {
  return { id, page, entries, interrupts, vector, tail: 0, head: 0, phase: 1, users: 0 };
}

export function createSubmissionQueue(
  id: number,
  page: number,
  entries: number,
  completions: CompletionQueue,
): SubmissionQueue {
  completions.users++;
  return { id, page, entries, completions, head: 0, tail: 0 };
}

/** Completions that can be written before the queue is full: one entry stays free. */
export function completionRoom(queue: CompletionQueue): number {
  const used = queue.tail - queue.head;
  return queue.entries - 1 - (used < 0 ? used + queue.entries : used);
}

/** Commands that wait to be fetched. */
export function commandsWaiting(queue: SubmissionQueue): number {
  const waiting = queue.tail - queue.head;
  return waiting < 0 ? waiting + queue.entries : waiting;
}
