/** The engine in a thread of its own, for which the main thread pages out meanwhile. */
import { Worker } from 'node:worker_threads';
import type { Architecture } from '../arch/index.js';
import { carryOut, type PageOutRequest } from '../reclaim/page-out.js';
import type { EngineOptions } from './engine.js';
import type { EngineMessage } from './engine-message.js';

export function runInThread(options: EngineOptions, arch: Architecture): Promise<EngineMessage> {
  const worker = new Worker(new URL('./engine-thread.js', import.meta.url), {
    workerData: options,
    transferList: options.live === null ? [] : [options.live],
    // Else Node opens stdout and stderr, and makes pipes that the program shares non-blocking.
    stdout: true,
    stderr: true,
  });
  return new Promise((resolve) => {
    worker.on('message', (message: EngineMessage | PageOutRequest) => {
      if (message.kind === 'pageout') return carryOut(message, arch);
      // A user's device may have left Node there something to wait for.
      worker.unref();
      resolve(message);
    });
    worker.on('error', (error) => resolve({ kind: 'bug', message: error.stack ?? error.message }));
    worker.on('exit', () => resolve({ kind: 'bug', message: 'the engine ended without a word' }));
  });
}
