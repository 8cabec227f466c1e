/** Does the mutator itself tell a test that notices from one that does not? */
import { readFileSync } from 'node:fs';
import { sample } from './mutations.mjs';
import { survivors } from './trial.mjs';

/** Throws where a test that asserts lets a mutant live, or one that asserts nothing kills one. */
export async function checkCanary() {
  const folder = 'scripts/mutate/canary';
  const file = `${folder}/sum.ts`;
  const texts = new Map([[file, readFileSync(file, 'utf8')]]);
  const meet = async (test) => {
    const mutants = sample(texts, 1, 99);
    const stage = { tests: [`${folder}/${test}.test.ts`], isBuilt: false };
    return [mutants.length, (await survivors(mutants, texts, stage)).length];
  };
  const [sampled, missed] = await meet('asserts');
  if (sampled === 0 || missed > 0) throw new Error(`canary: ${missed} of ${sampled} mutants live`);
  const [, living] = await meet('asserts-nothing');
  if (living < sampled) throw new Error('canary: a test that asserts nothing kills a mutant');
}
