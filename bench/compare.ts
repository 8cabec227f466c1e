/**
 * How fast `iopf compare` simulates, and what memory it takes: accesses to pages a second on one
 * core.
 */
import { spawnSync } from 'node:child_process';
import { readModel } from '../src/sim/input.js';
import { workloadsOf } from '../src/sim/machines.js';
import { parsePolicy } from '../src/sim/policy.js';
import { runOnce } from '../src/sim/run.js';
import { parseScenario } from '../src/sim/scenario.js';

interface Case {
  readonly name: string;
  readonly policy: string;
  readonly scenario: string;
}

const block = (pattern: string, io: string, ios: number): string => `workload:
  kind: block
  memory: 4G
  buffers: 512M
  pattern: ${pattern}
  ioBytes: ${io}
  ios: ${ios}
  writes: 0.5
  latency: 20us
  bandwidth: 3G
`;

const cases: readonly Case[] = [
  {
    name: '128 KiB at random, a fault a page',
    policy: 'iopf',
    scenario: block('random', '128K', 60_000),
  },
  {
    name: '128 KiB at random, windows of 8',
    policy: 'iopf:premap=8',
    scenario: block('random', '128K', 60_000),
  },
  {
    name: '4 KiB at random, a fault a page',
    policy: 'iopf',
    scenario: block('random', '4K', 1_000_000),
  },
  {
    name: '128 KiB at random, half of it fits (swap)',
    policy: 'iopf:memory=256M',
    scenario: block('random', '128K', 20_000),
  },
];

const bigGuest = block('sequential', '128K', 8192).replace('4G', '1T').replace('512M', '1G');

export function benchCompare(rounds: number): void {
  const model = readModel('fast');
  for (const { name, policy, scenario } of cases) {
    let best = 0;
    let share = 0;
    for (let round = 0; round < rounds; round++) {
      const workloads = workloadsOf(parseScenario(scenario, name));
      const started = performance.now();
      const outcome = runOnce({
        input: name,
        workloads,
        policy: parsePolicy(policy),
        model,
        seed: round,
      });
      const seconds = (performance.now() - started) / 1000;
      if (outcome.kind !== 'done') throw new Error(outcome.why);
      best = Math.max(best, outcome.detail.accesses / seconds);
      share = outcome.row.faults / outcome.detail.accesses;
    }
    console.log(
      `compare: ${name}: ${(best / 1e6).toFixed(1)} M page accesses/s, ${(100 * share).toFixed(1)} % of them faults`,
    );
  }
  const child = spawnSync(process.execPath, [import.meta.filename, 'big-guest'], {
    encoding: 'utf8',
  });
  if (child.status !== 0) throw new Error(child.stderr);
  console.log(
    `compare: a guest of 1 TiB that touches 1 GiB: ${child.stdout.trim()} MiB of memory in all`,
  );
}

if (process.argv[2] === 'big-guest') {
  const workloads = workloadsOf(parseScenario(bigGuest, 'guest'));
  const outcome = runOnce({
    input: 'guest',
    workloads,
    policy: parsePolicy('iopf'),
    model: readModel('fast'),
    seed: 1,
  });
  if (outcome.kind !== 'done' || outcome.row.residentBytesPeak < 2 ** 30)
    throw new Error('it did not touch 1 GiB');
  console.log((process.resourceUsage().maxRSS / 1024).toFixed(0));
}
