/** Which mutants live through the tests that get to them. */
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
import { dirname, join, relative, resolve } from 'node:path';
import { transformSync } from 'esbuild';
import { PROBE, withProbes } from './probes.mjs';

/** A mutant may take this much longer than the code as it is: of a processor's time, in process. */
const PATIENCE = 8;
const PATIENCE_LEAST_MS = 4_000;
const PATIENCE_LEAST_RUN_MS = 30_000;
/** A busy machine gives a process a tenth of a processor, or nobody will ever wake a test. */
const WAITS = 10;
const FIRST_MS = 1_200_000;

export function filesUnder(path, suffix) {
  if (!statSync(path).isDirectory()) return path.endsWith(suffix) ? [path] : [];
  return readdirSync(path).flatMap((name) => filesUnder(join(path, name), suffix));
}

const importsOf = new Map();

/** The files of ours that a file imports for what they do. */
function imports(path) {
  const statements = /^(?:import|export)(?! type)(?:[^'";]| as )*'(\.[^']+)\.js'/gm;
  if (!importsOf.has(path))
    importsOf.set(
      path,
      [...readFileSync(path, 'utf8').matchAll(statements)]
        .map(([, name]) => relative('.', resolve(dirname(path), `${name}.ts`)))
        .filter((each) => existsSync(each)),
    );
  return importsOf.get(path);
}

/** Whether a test runs the built command. */
export function isWholeRun(test) {
  const seen = new Set([test]);
  for (const path of seen)
    for (const each of imports(path)) if (each.startsWith('test/')) seen.add(each);
  return [...seen].some((path) => /\b(dist|bin\/iopf)\b/.test(readFileSync(path, 'utf8')));
}

function getsTo(test, files) {
  const seen = new Set([test]);
  for (const path of seen) for (const each of imports(path)) seen.add(each);
  return files.some((file) => seen.has(file));
}

/** The process that runs tests; a new one after each that had to be ended. */
class Judge {
  constructor(folder) {
    this.folder = folder;
    this.child = null;
  }

  /** What judge.mjs answers; null: it did not within this much of its processor's time. */
  async ask(message, limitMs) {
    this.child ??= await this.start();
    const endMs = this.spentMs() + limitMs;
    this.child.send(message);
    const answer = await this.hear(limitMs * WAITS, () => this.spentMs() > endMs);
    if (answer === null) this.end();
    return answer;
  }

  /** The next message; null: it ended, or did not speak within the time, or before `isOver`. */
  hear(limitMs, isOver = () => false) {
    const { child } = this;
    return new Promise((heard) => {
      const settle = (message) => {
        clearTimeout(timer);
        clearInterval(looks);
        child.off('message', settle).off('exit', gone);
        heard(message);
      };
      const gone = () => settle(null);
      const timer = setTimeout(gone, limitMs);
      const looks = setInterval(() => isOver() && gone(), 250);
      child.on('message', settle).on('exit', gone);
    });
  }

  /** User and system time of the process, which /proc has in hundredths of a second. */
  spentMs() {
    try {
      const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'latin1');
      const [user, system] = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .slice(11, 13);
      return (Number(user) + Number(system)) * 10;
    } catch {
      return 0;
    }
  }

  async start() {
    // In a process group of its own: what it leaves behind ends with it.
    this.child = fork(new URL('judge.mjs', import.meta.url).pathname, [], {
      cwd: this.folder,
      detached: true,
      stdio: 'ignore',
      execArgv: ['--max-old-space-size=900'],
    });
    if ((await this.hear(600_000)) !== 'ready') throw new Error('mutate: no test can be run');
    return this.child;
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

/** A copy of the project whose built command has the changes of the moment. */
class Copy {
  constructor(texts) {
    this.texts = texts;
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), 'mutate-')));
    this.hits = join(this.folder, 'hits');
    const left = new Set(['node_modules', '.git', 'coverage']);
    for (const name of readdirSync('.'))
      if (!left.has(name)) cpSync(name, join(this.folder, name), { recursive: true });
    symlinkSync(realpathSync('node_modules'), join(this.folder, 'node_modules'));
  }

  build(changed) {
    for (const [file, text] of Object.entries(changed)) {
      writeFileSync(join(this.folder, file), text);
      const built = join(this.folder, 'dist', file.replace(/\.ts$/, '.js'));
      if (!existsSync(built)) continue;
      writeFileSync(built, transformSync(text, { loader: 'ts', target: 'es2022' }).code);
    }
    const options = { cwd: this.folder, stdio: 'ignore' };
    const { status } = spawnSync(process.execPath, ['scripts/bundle.mjs'], options);
    if (status !== 0) throw new Error('mutate: the bundle cannot be built');
  }

  restore(files) {
    this.build(Object.fromEntries(files.map((file) => [file, this.texts.get(file)])));
  }

  /** Probes of other processes write down what they get to. */
  withWriter(text) {
    const append = `process.getBuiltinModule('node:fs').appendFileSync('${this.hits}', id + '\\n')`;
    return `(globalThis as any).${PROBE} ??= ((seen) => (id: number) => {
      if (seen.has(id)) return;
      seen.add(id);
      try { (${append.replace('process', '(process as any)')}); } catch {}
    })(new Set());${text}`;
  }

  remove() {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * Those of the mutants that live through these tests. `isReached` of a mutant becomes true where a
 * test gets to it. Tests that fail unchanged are left out, and named.
 */
export async function survivors(mutants, texts, { tests, isBuilt }) {
  if (mutants.length === 0 || tests.length === 0) return mutants;
  const copy = isBuilt ? new Copy(texts) : null;
  const judge = new Judge(copy?.folder ?? '.');
  const end = () => {
    judge.end();
    copy?.remove();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const living = [];
  let met = 0;
  const interrupted = () => {
    end();
    console.log(`interrupted: ${met - living.length} of ${met} die in the tests of this stage`);
    process.exit(2);
  };
  for (const signal of signals) process.once(signal, interrupted);
  try {
    const known = await baselines(judge, copy, mutants, texts, tests);
    const trial = new Trial(judge, copy, texts, known);
    for (const mutant of mutants) {
      if (!(await trial.isNoticed(mutant))) living.push(mutant);
      met++;
    }
    return living;
  } finally {
    for (const signal of signals) process.off(signal, interrupted);
    end();
  }
}

/** What each test gets to, and how long it takes. */
async function baselines(judge, copy, mutants, texts, tests) {
  const changed = {};
  mutants.forEach((mutant, id) => {
    mutant.id = id;
  });
  for (const file of new Set(mutants.map((mutant) => mutant.file))) {
    const own = mutants.filter((mutant) => mutant.file === file);
    const probed = withProbes(texts.get(file), own);
    changed[file] = copy === null ? probed : copy.withWriter(probed);
  }
  copy?.build(changed);
  const known = [];
  for (const test of tests) {
    if (copy === null && !getsTo(test, Object.keys(changed))) continue;
    const message = { kind: 'baseline', test, changed, hits: copy?.hits ?? null };
    const answer = await judge.ask(message, FIRST_MS);
    const failed = answer?.failed ?? 'it does not come to an end';
    if (failed.length > 0) {
      const what = typeof failed === 'string' ? failed : failed.map(({ name }) => name).join('; ');
      console.log(`left out, as it fails before anything is changed: ${test}: ${what}`);
    }
    // The hook of a suite has no number.
    if (typeof failed === 'string' || failed.some(({ id }) => id === undefined)) continue;
    known.push({ test, ...answer, without: failed.map(({ id }) => id) });
  }
  copy?.restore(Object.keys(changed));
  return known;
}

class Trial {
  constructor(judge, copy, texts, known) {
    this.judge = judge;
    this.copy = copy;
    this.texts = texts;
    this.known = known;
    /** How often a test noticed a change of a file. */
    this.noticed = new Map();
  }

  async isNoticed(mutant) {
    const { file, start, end, to } = mutant;
    const text = this.texts.get(file);
    const changed = { [file]: text.slice(0, start) + to + text.slice(end) };
    const jobs = this.jobsOf(mutant);
    mutant.isReached ||= jobs.length > 0;
    if (jobs.length === 0) return false;
    this.copy?.build(changed);
    const job = await this.firstThatFails(jobs, changed);
    this.copy?.restore([file]);
    if (job !== null) this.noticed.set(job.key, (this.noticed.get(job.key) ?? 0) + 1);
    return job !== null;
  }

  /** Likely ones first, then quick ones. */
  jobsOf({ id, file, hasProbe }) {
    const jobs = [];
    for (const { test, files, loaded, hits, ms, without } of this.known) {
      if (this.copy === null && !files.includes(file)) continue;
      const all = Object.keys(hits).map(Number);
      const ids = all.filter((one) => hits[one].includes(id));
      const isAll = !hasProbe || loaded.includes(id);
      if (!isAll && ids.length === 0) continue;
      const took = (isAll ? all : ids).reduce((sum, one) => sum + ms[one], 0);
      const key = `${file} ${test}`;
      const rank = took - 200 * (this.noticed.get(key) ?? 0);
      jobs.push({ key, test, ids: isAll ? null : ids, took, without, rank });
    }
    return jobs.sort((a, b) => a.rank - b.rank);
  }

  async firstThatFails(jobs, changed) {
    const least = this.copy === null ? PATIENCE_LEAST_MS : PATIENCE_LEAST_RUN_MS;
    for (const job of jobs) {
      const message = { kind: 'run', ...job, changed, hits: null };
      const fails = async () => {
        const answer = await this.judge.ask(message, Math.max(least, PATIENCE * job.took));
        return answer?.failed !== null;
      };
      // A run of several processes may fail by itself.
      if ((await fails()) && (this.copy === null || (await fails()))) return job;
    }
    return null;
  }
}
