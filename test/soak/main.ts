/**
 * `npm run soak -- MINUTES [--seed N] [--round N]`: hostile programs, kills, full disks, damaged
 * recordings and strange callers, until the time is over. Exits with 1 at the first round that
 * hangs, leaves something behind or has a wrong byte; `--seed N --round N` runs that one again.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { prctl } from '../../src/mm/process/libc.js';
import { iopf, repository } from '../exec/run-iopf.js';
import {
  type Canary,
  canaries,
  devices,
  drawRound,
  type Kind,
  type Prepared,
  plant,
  type Round,
  roundSeed,
} from './rounds.js';
import { runRound } from './run-round.js';

const PR_SET_CHILD_SUBREAPER = 36;
/** So long a round may take beyond its work: a machine may be busy. */
const PATIENCE_SECONDS = 60;
const CLEARING_MS = 20_000;

function prepare(folder: string, records: boolean): Prepared {
  const isRoot = process.getuid!() === 0;
  const hostile = join(folder, 'hostile');
  const programs = join(repository, 'test/soak/programs');
  const sources = readdirSync(programs).filter((name) => name.endsWith('.c'));
  const compiler = spawnSync(
    'cc',
    ['-O1', '-Wall', '-Wextra', '-Werror', '-pthread', '-o', hostile, ...sources],
    { cwd: programs, encoding: 'utf8' },
  );
  if (compiler.error !== undefined) {
    console.log('soak: no cc here: hostile programs are left out');
    return { hostile: null, recording: null, isRoot };
  }
  if (compiler.status !== 0) throw new Error(compiler.stderr);
  if (!records) return { hostile, recording: null, isRoot };
  const recording = join(folder, 'recording');
  const record = [iopf, 'exec', '--quiet', '--record', recording, ...devices, '--', hostile];
  const run = spawnSync(process.execPath, [...record, '1', '100', 'memory'], { encoding: 'utf8' });
  if (run.status !== 7) throw new Error(`no recording to damage: ${run.stdout}${run.stderr}`);
  return { hostile, recording: readFileSync(recording), isRoot };
}

const show = ({ kind, shell, words, kill }: Round): string =>
  `${kind}${kill === null ? '' : `, ${kill.signal} after ${kill.afterMs} ms`}: ${shell}\n` +
  `  ${words.join(' ')}`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      round: { type: 'string' },
      patience: { type: 'string', default: `${PATIENCE_SECONDS}` },
      canary: { type: 'string' },
    },
  });
  const minutes = Number(positionals[0] ?? 1);
  const seed = Number(values.seed ?? process.hrtime.bigint() % 1_000_000_007n);
  const patienceMs = 1000 * Number(values.patience);
  const canary = values.canary as Canary | undefined;
  const patience = { endMs: patienceMs, clearingMs: canary === undefined ? CLEARING_MS : 1000 };
  if (
    !(minutes > 0 && Number.isSafeInteger(seed) && patienceMs > 0) ||
    (canary !== undefined && !canaries.includes(canary))
  ) {
    console.error('usage: npm run soak -- MINUTES [--seed N] [--round N] [--patience SECONDS]');
    return 2;
  }
  // Orphans of the rounds become our children: none is lost sight of.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const folder = mkdtempSync(join(tmpdir(), 'soak-'));
  chmodSync(folder, 0o755);
  console.log(`soak: ${minutes} min, --seed ${seed}`);
  const started = performance.now();
  const end = started + 60_000 * minutes;
  const counts = new Map<Kind, number>();
  const prepared = prepare(folder, canary === undefined);
  const only = values.round === undefined ? null : Number(values.round);
  for (let index = only ?? 0; performance.now() < end; index++) {
    const round =
      canary === undefined ? drawRound(roundSeed(seed, index), prepared) : plant(canary, prepared);
    const fault = await runRound(round, folder, patience);
    if (fault !== null) {
      console.log(`soak: --seed ${seed} --round ${index} ${fault}\n  ${show(round)}`);
      return 1;
    }
    counts.set(round.kind, 1 + (counts.get(round.kind) ?? 0));
    if (only !== null || canary !== undefined) break;
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const each = [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ');
  console.log(`soak: ${total} rounds (${each}): 0 hangs, 0 leaks, 0 wrong bytes`);
  rmSync(folder, { recursive: true, force: true });
  return 0;
}

process.exitCode = await main();
