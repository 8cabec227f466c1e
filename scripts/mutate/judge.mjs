/**
 * A process that runs tests for scripts/mutate, one file after the other: modules are compiled
 * once, and made anew for each file. Its parent says `{ kind, test, changed, hits, ids, without }`
 * and hears an answer:
 * - kind `baseline`: every test, with `changed` (the text of each file) having probes:
 *   `{ hits, loaded, ms, failed, files }`: by test the mutants it gets to, and its time.
 * - kind `run`: the tests `ids` (null: all) but `without`, until one fails: `{ failed }`, its name.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Script } from 'node:vm';
import { transformSync } from 'esbuild';
import { PROBE } from './probes.mjs';
import { Collection, standIn } from './stand-in.mjs';

let collection = null;
const vitest = standIn(() => collection);
const compiled = new Map();
let changed = {};
let modules = new Map();
let mutants = new Set();
let unhandled = null;
globalThis[PROBE] = (id) => mutants.add(id);
for (const event of ['unhandledRejection', 'uncaughtException'])
  process.on(event, (error) => {
    unhandled = error;
  });

function compile(file) {
  const text = changed[relative('.', file)];
  const known = text === undefined ? compiled.get(file) : undefined;
  if (known !== undefined) return known;
  const { code } = transformSync(text ?? readFileSync(file, 'utf8'), {
    loader: 'ts',
    format: 'cjs',
    target: 'node20',
    platform: 'node',
    supported: { 'dynamic-import': false },
    define: {
      'import.meta.url': '__url',
      'import.meta.dirname': '__dirname',
      'import.meta.filename': '__filename',
    },
  });
  const parameters = 'exports, require, module, __filename, __dirname, __url';
  const script = new Script(`(function (${parameters}) {${code}\n})`, { filename: file });
  const run = script.runInThisContext();
  if (text === undefined) compiled.set(file, run);
  return run;
}

function load(file) {
  const known = modules.get(file);
  if (known !== undefined) return known.exports;
  const module = { exports: {} };
  modules.set(file, module);
  const require = createRequire(file);
  if (!file.endsWith('.ts')) {
    module.exports = require(file);
    return module.exports;
  }
  const ours = (name) => {
    if (name === 'vitest') return vitest;
    if (!name.startsWith('.')) return require(name);
    const path = resolve(dirname(file), name);
    const source = path.replace(/\.js$/, '.ts');
    return load(existsSync(source) ? source : path);
  };
  ours.resolve = require.resolve;
  compile(file)(module.exports, ours, module, file, dirname(file), pathToFileURL(file).href);
  return module.exports;
}

function collect(test) {
  modules = new Map();
  unhandled = null;
  mutants = new Set();
  collection = new Collection();
  // Its types have names that may be given once.
  createRequire(resolve('package.json'))('koffi').reset();
  load(resolve(test));
}

/** What probes told since the last time; those of other processes are in the file `hits`. */
function taken(hits) {
  const found = mutants;
  mutants = new Set();
  if (hits !== null && existsSync(hits)) {
    for (const line of readFileSync(hits, 'utf8').split('\n'))
      if (line !== '') found.add(Number(line));
    writeFileSync(hits, '');
  }
  return found;
}

async function baseline(test, hitsFile) {
  collect(test);
  const loaded = [...taken(hitsFile)];
  const hits = {};
  const ms = {};
  const prepared = new Map();
  const failed = await collection.run(() => true, {
    bail: false,
    ended(node, took) {
      const found = taken(hitsFile);
      if (node.children !== undefined) {
        prepared.set(node, found);
        return;
      }
      for (let suite = node.suite; suite !== null; suite = suite.parent)
        for (const id of prepared.get(suite) ?? []) found.add(id);
      hits[node.id] = [...found];
      ms[node.id] = took;
    },
  });
  const files = [...modules.keys()].map((file) => relative('.', file));
  return { loaded, hits, ms, files, failed: failed.map(({ id, name }) => ({ id, name })) };
}

async function run({ test, ids, without }) {
  collect(test);
  const isWanted = (id) => (ids === null || ids.includes(id)) && !without.includes(id);
  const [first] = await collection.run(isWanted, { bail: true, ended() {} });
  if (first !== undefined) return { failed: first.name };
  return { failed: unhandled === null ? null : 'an error that nobody caught' };
}

process.on('message', async (message) => {
  changed = message.changed;
  try {
    const { kind, test, hits } = message;
    process.send(kind === 'baseline' ? await baseline(test, hits) : await run(message));
  } catch (error) {
    process.send({ failed: 'it does not load', error: `${error?.stack ?? error}` });
  }
});
process.on('disconnect', () => process.exit());
process.send('ready');
