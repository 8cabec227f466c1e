/** Traces of what the engine does when a recording is replayed. */
import { UserError } from '../input/user-error.js';
import { chromeTrace } from '../trace/chrome.js';
import { kernelTrace } from '../trace/kernel-text.js';
import type { Recording } from '../trace/recording.js';
import type { TracedTask } from '../trace/trace-file.js';
import { readModel } from './input.js';
import { policyOf, replay } from './replay.js';
import { runOnce } from './run.js';

/** A recording does not say which process it was. */
const REPLAYED_PID = 1;

/**
 * Puts the trace of a replay under the recording's own policy, piece by piece. Frames are the
 * simulated memory's.
 */
export function exportRecording(
  recording: Recording,
  form: 'kernel' | 'chrome',
  put: (text: string) => void,
  progress: (share: number) => void = () => {},
): void {
  let end = '';
  const outcome = runOnce({
    input: 'the recording',
    workloads: [replay(recording)],
    policy: policyOf(recording),
    model: readModel('measured'),
    seed: 1,
    progress,
    observe: (nowUs) => {
      const task = (): TracedTask => ({ name: recording.header.program, pid: REPLAYED_PID });
      const format = form === 'chrome' ? chromeTrace(nowUs, task) : kernelTrace(nowUs, task);
      put(format.begin);
      end = format.end;
      return format.observer(put);
    },
  });
  put(end);
  if (outcome.kind !== 'done')
    throw new UserError(`the recording cannot be replayed: ${outcome.why}`);
}
