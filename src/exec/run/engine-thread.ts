/**
 * The engine's thread: the entry point of a worker. All it says to the main thread is an
 * EngineMessage.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '../../input/user-error.js';
import { type EngineOptions, type MainThreadRequest, type Served, serve } from './engine.js';

export type EngineMessage =
  | ({ readonly kind: 'done' } & Served)
  /** Nothing ran: the user must change something. */
  | { readonly kind: 'refused'; readonly message: string; readonly exitCode: number }
  | MainThreadRequest
  /** A defect of iopf. */
  | { readonly kind: 'bug'; readonly message: string };

const post = (message: EngineMessage): void => parentPort!.postMessage(message);

async function run(): Promise<EngineMessage> {
  try {
    return { kind: 'done', ...(await serve(workerData as EngineOptions, post)) };
  } catch (error) {
    if (error instanceof UserError)
      return { kind: 'refused', message: error.message, exitCode: error.exitCode };
    return {
      kind: 'bug',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    };
  }
}

post(await run());
