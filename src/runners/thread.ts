/** A thread that does jobs, one at a time. Entry point of a worker. */
import { parentPort, workerData } from 'node:worker_threads';
import { showPulse } from '../check/search/pulse.js';
import { filesStandingFor, hostFiles } from '../input/file-source.js';
import { refusalOf } from '../jobs/job.js';
import type { ThreadMessage, ThreadRequest } from '../jobs/job-thread.js';
import { loadKind } from './kinds.js';

showPulse(workerData as Int32Array<SharedArrayBuffer>);

const send = (message: ThreadMessage): void => parentPort!.postMessage(message);

parentPort!.on('message', async ({ files, input, kind: name }: ThreadRequest) => {
  const kind = await loadKind(name);
  try {
    const result = await kind.run(input, {
      files: files === null ? hostFiles : filesStandingFor(files),
      progress: (value) => send({ kind: 'progress', value }),
    });
    send({ kind: 'done', json: JSON.stringify(result) });
  } catch (error) {
    const why = refusalOf(kind, error);
    // What nobody foresaw ends the thread.
    if (why === null) throw error;
    send({ kind: 'refused', why, message: (error as Error).message });
  }
});
