/** Runs the tests of a file in a copy of the project where it is changed. */
import { fork, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { transformSync } from 'esbuild';

/** A mutant may take this much longer than the code as it is. */
const PATIENCE = 5;
const PATIENCE_LEAST_MS = 15_000;
const FIRST_MS = 600_000;

/** Tests of whole runs, browsers and the built package: of them only the room's own count. */
const wholeRun = /^test\/(cli|exec|page|report|ui|package|conformance\/live)\b/;
/** Of these some take the built command. */
export const needsBuild = /^test\/(check|cli|exec|report|sim|soak|trace|ui|conformance\/live)\b/;

export function filesUnder(path, suffix) {
  if (!statSync(path).isDirectory()) return path.endsWith(suffix) ? [path] : [];
  return readdirSync(path).flatMap((name) => filesUnder(join(path, name), suffix));
}

const importsOf = new Map();
/** The files of ours that a file imports for what they do. */
function imports(path) {
  const known = importsOf.get(path);
  if (known !== undefined) return known;
  const statements = /^(?:import|export)(?! type)(?:[^'";]| as )*'(\.[^']+)\.js'/gm;
  const found = [...readFileSync(path, 'utf8').matchAll(statements)]
    .map(([, name]) => relative('.', resolve(dirname(path), `${name}.ts`)))
    .filter((each) => existsSync(each));
  importsOf.set(path, found);
  return found;
}

/** How many files of src/ a test imports to get to this one; helpers in test/ do not count. */
function distance(test, file) {
  const seen = new Set([test]);
  let near = [test];
  for (let far = 0; near.length > 0; far++) {
    const next = [];
    for (const path of near) {
      if (path === file) return far;
      for (const each of imports(path)) {
        if (seen.has(each)) continue;
        seen.add(each);
        (each.startsWith('src/') ? next : near).push(each);
      }
    }
    near = next;
  }
  return Number.POSITIVE_INFINITY;
}

/** The tests that import the file: themselves, or where none does those that are nearest. */
function importers(tests, file) {
  const far = tests
    .filter((test) => !wholeRun.test(test))
    .map((test) => [test, distance(test, file)]);
  const least = Math.min(...far.map(([, files]) => files));
  return far.flatMap(([test, files]) => (files === least && least < Infinity ? [test] : []));
}

/** The process that runs tests in the copy; a new one after each that had to be ended. */
export class Judge {
  constructor(copy) {
    this.copy = copy;
    this.child = null;
  }

  /** Runs one test file: `{ failed, ms }`. What does not end in `limitMs` fails. */
  async run(test, limitMs) {
    this.child ??= await this.start();
    const { child } = this;
    child.send({ changed: [...this.copy.written], test });
    this.copy.written.clear();
    const answer = await this.hear(child, limitMs);
    if (answer !== null) return answer;
    this.end();
    return { failed: 'it does not come to an end', ms: limitMs };
  }

  /** The next message; null: it ended, or did not speak in time. */
  hear(child, limitMs) {
    return new Promise((heard) => {
      const timer = setTimeout(() => settle(null), limitMs);
      const settle = (message) => {
        clearTimeout(timer);
        child.off('message', settle);
        child.off('exit', gone);
        heard(message);
      };
      const gone = () => settle(null);
      child.on('message', settle);
      child.on('exit', gone);
    });
  }

  async start() {
    // In a process group of its own: what it leaves behind ends with it.
    const child = fork(join(this.copy.folder, 'scripts/mutate/judge.mjs'), [], {
      cwd: this.copy.folder,
      detached: true,
      stdio: 'ignore',
    });
    if ((await this.hear(child, FIRST_MS)) !== 'ready') throw new Error('vitest does not start');
    return child;
  }

  end() {
    if (this.child === null) return;
    try {
      process.kill(-this.child.pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
    this.child = null;
  }
}

/** A copy of the project in which one file at a time is changed. */
export class Copy {
  constructor(isBuilt) {
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), 'mutate-')));
    this.isBuilt = isBuilt;
    /** What a judge may know as it was. */
    this.written = new Set();
    const left = new Set(['node_modules', '.git', 'dist', 'coverage']);
    for (const name of readdirSync('.'))
      if (!left.has(name)) cpSync(name, join(this.folder, name), { recursive: true });
    symlinkSync(realpathSync('node_modules'), join(this.folder, 'node_modules'));
    if (isBuilt) cpSync('dist', join(this.folder, 'dist'), { recursive: true });
    else if (existsSync('dist')) symlinkSync(resolve('dist'), join(this.folder, 'dist'));
  }

  write(file, text) {
    writeFileSync(join(this.folder, file), text);
    this.written.add(file);
    if (!this.isBuilt) return;
    const built = join(this.folder, 'dist', file.replace(/\.ts$/, '.js'));
    if (!existsSync(built)) return;
    writeFileSync(built, transformSync(text, { loader: 'ts', target: 'es2022' }).code);
    spawnSync(process.execPath, ['scripts/bundle.mjs'], { cwd: this.folder, stdio: 'ignore' });
  }

  remove() {
    rmSync(this.folder, { recursive: true });
  }
}

/** The tests of a room, and how long they take unchanged. */
export class Trial {
  constructor(judge, own, all, also) {
    this.judge = judge;
    this.own = own;
    this.all = all;
    this.also = also;
    this.msOf = new Map();
    this.tests = new Map();
  }

  /** The likeliest to fail first, then the quickest, then those of --also. */
  testsOf(file) {
    const known = this.tests.get(file);
    if (known !== undefined) return known;
    const name = basename(file, '.ts');
    const rank = (test) =>
      (basename(test, '.test.ts') === name ? 0 : 1e6) + (this.msOf.get(test) ?? 0);
    const tests = [...new Set([...this.own, ...importers(this.all, file)])];
    tests.sort((a, b) => rank(a) - rank(b));
    return [...tests, ...this.also.filter((test) => !tests.includes(test))];
  }

  /** Runs all tests of the files as they are; those that fail even so are left out. */
  async baseline(files) {
    const tests = new Set(files.flatMap((file) => this.testsOf(file)));
    for (const test of tests) {
      let result = await this.judge.run(test, FIRST_MS);
      if (result.failed !== null) result = await this.judge.run(test, FIRST_MS);
      if (result.failed === null) this.msOf.set(test, result.ms);
      else
        console.log(
          `left out, as it fails before anything is changed: ${test}\n  ${result.failed}`,
        );
    }
    if (this.msOf.size === 0) throw new Error('there is no test that passes');
    for (const file of files)
      this.tests.set(
        file,
        this.testsOf(file).filter((test) => this.msOf.has(test)),
      );
  }

  /** The test that notices that the file has changed; null: none does. */
  async notice(file) {
    for (const test of this.testsOf(file)) {
      const limitMs = Math.max(PATIENCE_LEAST_MS, PATIENCE * this.msOf.get(test));
      let { failed } = await this.judge.run(test, limitMs);
      // A run of several processes may fail by itself.
      if (failed !== null && wholeRun.test(test))
        ({ failed } = await this.judge.run(test, limitMs));
      if (failed !== null) return test;
    }
    return null;
  }
}
