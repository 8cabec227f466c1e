/**
 * Runs the smoke test of `iopf exec` on other versions of Node, which npm has as packages.
 *
 * usage: npm run test:nodes [-- VERSION... [--all [WORD...]]]; 22 and 24 unless given. With --all
 * the whole suite runs, or what of it the words name. They are kept in a cache folder
 * ($XDG_CACHE_HOME/iopf or ~/.cache/iopf). Exit code 1 where a step fails; a version that npm does
 * not give is skipped.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';

const repository = resolve(import.meta.dirname, '..');
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'iopf');
const words = process.argv.slice(2);
const at = words.indexOf('--all');
const suite =
  at < 0 ? null : ['node_modules/vitest/vitest.mjs', 'run', ...words.splice(at).slice(1)];
const versions = words.length > 0 ? words : ['22', '24'];

/** The folder of a version's `node`, or null where there is none to be had. */
function fetchNode(version) {
  const name = `node-linux-${process.arch}`;
  const folder = join(cache, `node-${version}`);
  const bin = join(folder, 'node_modules', name, 'bin');
  if (!existsSync(join(bin, 'node'))) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"private": true}');
    const words = ['install', '--no-audit', '--no-fund', `${name}@${version}`];
    const { status, stderr } = spawnSync('npm', words, { cwd: folder, encoding: 'utf8' });
    if (status !== 0)
      console.warn(`SKIPPED: Node ${version}: npm has no ${name}@${version}: ${stderr}`);
    if (status !== 0) return null;
  }
  return bin;
}

/** Runs the smoke test with what is in `env`; its exit code. */
function smoke(env, scratch) {
  for (const name of ['torture', 'memory']) {
    const output = join(scratch, name);
    if (existsSync(output)) continue;
    const source = join(repository, `test/exec/programs/${name}.c`);
    const words = ['-O1', '-pthread', '-o', output, source];
    const { status } = spawnSync('cc', words, { stdio: 'inherit' });
    if (status !== 0) throw new Error(`no C compiler, or ${name}.c does not compile`);
  }
  const script = join(repository, 'test/exec/container/smoke.sh');
  return spawnSync('sh', [script, repository, scratch], { env, stdio: 'inherit' }).status;
}

const scratch = mkdtempSync(join(tmpdir(), 'test-nodes-'));
chmodSync(scratch, 0o755);
let failed = false;
try {
  for (const version of versions) {
    const bin = fetchNode(version);
    if (bin === null) continue;
    // Where tests that are another user's reach it, too.
    const place = join(scratch, version);
    mkdirSync(place);
    copyFileSync(join(bin, 'node'), join(place, 'node'));
    const env = { ...process.env, PATH: `${place}${delimiter}${process.env.PATH}` };
    const found = spawnSync('node', ['--version'], { env, encoding: 'utf8' }).stdout.trim();
    console.log(`Node ${found}`);
    const status =
      suite === null
        ? smoke(env, scratch)
        : spawnSync('node', suite, { env, cwd: repository, stdio: 'inherit' }).status;
    if (status !== 0) failed = true;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
