/** A thread of `iopf check`: does what it is asked, one thing at a time. */

import { fileURLToPath } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { replay } from '../report/history.js';
import { mistakeIn, ScenarioMistake } from '../verify/scenario-mistake.js';
import { Unsound } from '../verify/unsound.js';
import { mendBuiltins } from './builtins.js';
import { loadDesign, loadScenario, runJob } from './job.js';
import { showPulse } from './pulse.js';
import { moduleOf, type ThreadMessage, type ThreadRequest } from './thread.js';

showPulse(workerData as Int32Array<SharedArrayBuffer>);

const send = (message: ThreadMessage): void => parentPort!.postMessage(message);

parentPort!.on('message', async (request: ThreadRequest) => {
  const module = moduleOf(request);
  try {
    const last = await answer(request);
    checkBuiltins(module);
    send(last);
  } catch (error) {
    send(refusal(error, module));
  }
});

async function answer(request: ThreadRequest): Promise<ThreadMessage> {
  switch (request.kind) {
    case 'job':
      await runJob(
        request.job,
        (report) => {
          checkBuiltins(moduleOf(request));
          send({ kind: 'report', report });
        },
        (scenario, states) => send({ kind: 'progress', scenario, states }),
      );
      return { kind: 'done' };
    case 'list': {
      const { scenariosIn } = await import('./scenario-file.js');
      const { variantsIn } = await import('./variant-file.js');
      const scenarios = (await scenariosIn(request.module)).map(({ name }) => name);
      const variants = (await variantsIn(request.module)).map(({ name }) => name);
      return { kind: 'exports', scenarios, variants };
    }
    case 'replay': {
      const scenario = (await loadScenario(request.ref))!;
      const { parts } = await loadDesign(request.variant);
      const { steps, violation } = replay(scenario, parts, request.order);
      const found =
        violation === null
          ? null
          : {
              row: violation.row ?? scenario.rows[0] ?? '',
              invariant: violation.invariant,
              detail: violation.detail,
            };
      const actors = Object.keys(scenario.actors);
      return { kind: 'replayed', answer: { actors, steps, violation: found } };
    }
  }
}

/** Throws `ScenarioMistake`. */
function checkBuiltins(module: string | null): void {
  const changed = mendBuiltins();
  if (changed !== null && module !== null)
    throw new ScenarioMistake(
      `${fileURLToPath(module)} changes ${changed}, with which the engine works, too`,
    );
}

function refusal(error: unknown, module: string | null): ThreadMessage {
  try {
    checkBuiltins(module);
    if (error instanceof ScenarioMistake) throw error;
    const mistake = module === null ? null : mistakeIn(fileURLToPath(module), error);
    if (mistake !== null) return { kind: 'refused', why: 'mistake', message: mistake.message };
  } catch (mistake) {
    return { kind: 'refused', why: 'mistake', message: (mistake as Error).message };
  }
  if (error instanceof Unsound) return { kind: 'refused', why: 'unsound', message: error.message };
  if (error instanceof ScenarioMistake)
    return { kind: 'refused', why: 'mistake', message: error.message };
  if (error instanceof RangeError) return { kind: 'refused', why: 'range', message: error.message };
  throw error;
}
