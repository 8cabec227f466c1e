/**
 * `npm run mutate -- ROOM [--flat] [--seed N] [--count N] [--runs]`: which changes of a room's code
 * do its tests let live?
 *
 * Takes mutations of the files in src/ROOM (--flat: not those in its folders) with a seed, at most
 * one a line. One at a time meets the tests of the room that get to it, in process, until one
 * fails: first the quick ones, then the long ones (recorded vectors, models, fuzzers). With --runs
 * what lives meets the built command, too: the room's tests that run it, and all of test/exec.
 * Nothing is changed in the working directory. Prints the mutants that live; exit code 1: less than
 * 90 % die.
 *
 * equivalent.json names mutants that change nothing that anybody can see, with the reason.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkCanary } from './canary.mjs';
import { sample } from './mutations.mjs';
import { filesUnder, isWholeRun, survivors } from './trial.mjs';

const ENOUGH = 0.9;
/** These rooms are one engine: the tests of each, and the recorded vectors, belong to all. */
const engine = ['abi', 'file', 'flow', 'ioas', 'iommu', 'iommufd', 'mm', 'vfio'];
/** They get to nearly everything, and notice what others do not. */
const long = /^test\/conformance\/|fuzz|\/model\/|random|resident/;

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: `${Date.now() % 1e6}` },
      count: { type: 'string', default: '64' },
      flat: { type: 'boolean', default: false },
      runs: { type: 'boolean', default: false },
    },
  });
  const [room] = positionals;
  const path = join('src', room ?? '');
  if (positionals.length !== 1 || !existsSync(path)) {
    console.error('mutate: name one folder or file under src/, for example ioas/iopf');
    process.exit(2);
  }
  await checkCanary();
  const files = filesUnder(path, '.ts').filter((file) => !values.flat || dirname(file) === path);
  const texts = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));
  const sampled = sample(texts, Number(values.seed), Number(values.count));
  const mutants = sampled.filter((mutant) => !isEquivalent(mutant, texts.get(mutant.file)));
  const equivalent = sampled.length - mutants.length;
  console.log(`${sampled.length} mutants of src/${room}, --seed ${values.seed}`);
  let living = mutants;
  for (const stage of stagesOf(room.split('/')[0], values.runs))
    living = await survivors(living, texts, stage);
  for (const { file, line, what, isReached } of living)
    console.log(`lives: ${file}:${line}  ${what}${isReached ? '' : '   (no test gets to it)'}`);
  const died = mutants.length - living.length;
  const percent = Math.floor((100 * died) / Math.max(1, mutants.length));
  console.log(`${died} of ${mutants.length} die (${percent} %); ${equivalent} are equivalent`);
  process.exitCode = died < ENOUGH * mutants.length ? 1 : 0;
}

/** The tests of a room, in the order in which mutants meet them. */
function stagesOf(room, withRuns) {
  const rooms = engine.includes(room) ? [...engine, 'conformance'] : [room];
  if (withRuns) rooms.push('exec');
  const folders = [...new Set(rooms)].map((each) => join('test', each)).filter(existsSync);
  const tests = folders.flatMap((folder) => filesUnder(folder, '.test.ts'));
  const rest = tests.filter((test) => !isWholeRun(test));
  return [
    { tests: rest.filter((test) => !long.test(test)), isBuilt: false },
    { tests: rest.filter((test) => long.test(test)), isBuilt: false },
    { tests: withRuns ? tests.filter(isWholeRun) : [], isBuilt: true },
  ];
}

const equivalents = JSON.parse(readFileSync(new URL('equivalent.json', import.meta.url), 'utf8'));

function isEquivalent({ file, line, what }, text) {
  const code = text.split('\n')[line - 1].trim();
  return equivalents.some(
    (one) => one.file === file && one.code === code && one.what === what && one.because !== '',
  );
}

await main();
