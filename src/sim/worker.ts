/** A thread that runs tasks of a comparison. Entry point of a worker. */
import { parentPort } from 'node:worker_threads';
import { UserError } from '../input/user-error.js';
import { runTask, type Task, type TaskResult } from './task.js';

export type WorkerAnswer =
  | { readonly kind: 'done'; readonly result: TaskResult }
  | { readonly kind: 'refused'; readonly message: string };

parentPort?.on('message', (task: Task) => {
  let answer: WorkerAnswer;
  try {
    answer = { kind: 'done', result: runTask(task) };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    answer = { kind: 'refused', message: error.message };
  }
  parentPort!.postMessage(answer);
});
