/** Requests of a check that threads of this process answer: a user's file runs in no other. */
import { Bug } from '../abi/bug.js';
import { type CheckAnswer, type CheckRequest, checkKind } from '../check/search/check-job.js';
import { ScenarioMistake } from '../check/verify/scenario-mistake.js';
import { Unsound } from '../check/verify/unsound.js';
import { UserError } from '../input/user-error.js';

/** Throws UserError. */
export async function inThread(request: CheckRequest): Promise<CheckAnswer> {
  const [answer] = await inThreads([request], 1);
  return answer!;
}

/** At most so many threads; answers in the order of the requests. Throws UserError. */
export async function inThreads(
  requests: readonly CheckRequest[],
  most: number,
): Promise<CheckAnswer[]> {
  const { threadRunner } = await import('../jobs/thread-runner.js');
  const outcomes = await threadRunner(most)
    .run(checkKind, requests)
    .catch((error: unknown) => {
      throw forUser(error);
    });
  return outcomes.map((outcome) => {
    if (outcome.kind !== 'done') throw new Bug(`a thread failed: ${outcome.message}`);
    return outcome.result;
  });
}

/** What is the user's to mend, as a UserError; else the error itself. */
export function forUser(error: unknown): unknown {
  return error instanceof Unsound || error instanceof ScenarioMistake
    ? new UserError(error.message)
    : error;
}
