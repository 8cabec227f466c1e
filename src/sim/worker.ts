/** A thread that runs tasks of a comparison. Entry point of a worker. */
import { parentPort } from 'node:worker_threads';
import { UserError } from '../input/user-error.js';
import { runTask, type Task, type TaskResult } from './task.js';

export type WorkerAnswer =
  | { readonly kind: 'progress'; readonly share: number }
  | { readonly kind: 'done'; readonly result: TaskResult }
  | { readonly kind: 'refused'; readonly message: string };

const PROGRESS_EVERY_MS = 200;

parentPort?.on('message', (task: Task) => {
  let told = performance.now();
  const progress = (share: number): void => {
    const now = performance.now();
    if (share >= 1 || now - told < PROGRESS_EVERY_MS) return;
    told = now;
    parentPort!.postMessage({ kind: 'progress', share } satisfies WorkerAnswer);
  };
  let answer: WorkerAnswer;
  try {
    answer = { kind: 'done', result: runTask(task, progress) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    answer = { kind: 'refused', message: error.message };
  }
  parentPort!.postMessage(answer);
});
