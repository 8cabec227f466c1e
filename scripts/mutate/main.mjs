/**
 * `npm run mutate -- ROOM [--seed N] [--count N] [--also TEST…] [--without PATTERN]`: which changes
 * of a room's code do its tests let live?
 *
 * Takes mutations of the files in src/ROOM with a seed, at most one a line, and applies one at a
 * time to a copy of the project. The tests that import the file or lie in the room's own folder run
 * against it, then those of --also, until one fails; those whose path has the pattern do not. A
 * test that takes far longer than unchanged fails, too. Prints the mutants that live; exit code 1:
 * there are some.
 *
 * A mutant that changes nothing that can be seen is an equivalent one: the reader decides.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { sample } from './mutations.mjs';
import { Copy, filesUnder, Judge, needsBuild, Trial } from './trial.mjs';

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: `${Date.now() % 1e6}` },
      count: { type: 'string', default: '64' },
      also: { type: 'string', multiple: true, default: [] },
      without: { type: 'string' },
    },
  });
  const room = positionals[0];
  const path = room === undefined ? '' : join('src', room);
  if (positionals.length !== 1 || !existsSync(path)) {
    console.error('mutate: name one folder or file under src/, for example ioas/iopf');
    process.exit(2);
  }
  const without = values.without === undefined ? null : new RegExp(values.without);
  const tests = filesUnder('test', '.test.ts').filter((test) => !without?.test(test));
  const own = tests.filter((test) => test.startsWith(`${join('test', room)}/`));
  const texts = new Map(filesUnder(path, '.ts').map((file) => [file, readFileSync(file, 'utf8')]));
  const mutants = sample(texts, Number(values.seed), Number(values.count));
  console.log(`${mutants.length} mutants of src/${room}, --seed ${values.seed}`);
  const files = [...new Set(mutants.map(({ file }) => file))];
  const copy = new Copy([...own, ...values.also].some((test) => needsBuild.test(test)));
  const judge = new Judge(copy);
  const end = () => {
    judge.end();
    copy.remove();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.once(signal, () => {
      end();
      process.exit(2);
    });
  try {
    const trial = new Trial(judge, own, tests, values.also);
    await trial.baseline(files);
    // The canary: tests that do not notice a file that throws notice nothing.
    const { file } = mutants[0];
    copy.write(file, `throw new Error('canary');\n${texts.get(file)}`);
    if ((await trial.notice(file)) === null) console.log(`no test notices that ${file} throws`);
    copy.write(file, texts.get(file));
    await report(copy, trial, mutants, texts);
  } finally {
    end();
  }
}

async function report(copy, trial, mutants, texts) {
  let killed = 0;
  for (const { file, line, start, end, to, what } of mutants) {
    const text = texts.get(file);
    copy.write(file, text.slice(0, start) + to + text.slice(end));
    const test = await trial.notice(file);
    copy.write(file, text);
    if (test !== null) killed++;
    else console.log(`lives: ${file}:${line}  ${what}`);
  }
  const percent = ((100 * killed) / mutants.length).toFixed(0);
  console.log(`${killed} of ${mutants.length} die (${percent} %)`);
  if (killed < mutants.length) process.exitCode = 1;
}

await main();
