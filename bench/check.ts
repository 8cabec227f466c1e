/**
 * How fast `iopf check` runs orders on one core: {a device faults one page ‖ the host takes the
 * page ‖ the program unmaps it}, and beside it fast-check's scheduler with a model of the same
 * steps that does nothing else.
 *
 * Every exploration begins with nothing known. *Covered*: orders that were run, or that meet one
 * that was run in a state; *run*: runs from the beginning, where everything is put back as it was
 * when the container had been made.
 */

import { faultMigrateUnmap } from '../src/check/scenarios/page-in-races.js';
import { Explorer } from '../src/check/search/explorer.js';
import { median, processorTime } from './figures.js';

const MICROSECONDS = 1_000_000;
/** Seconds of a processor until all is compiled, and of each round. */
const WARM_UP = 2;
const ROUND = 1;
const ROUNDS = 7;
/** Explorations between two looks at the clock, which costs as much as one. */
const BATCH = 32;
/** Steps of an order at least: of the device, the host and the program. */
const STEPS = [4, 2, 1];

function secondsSince(started: NodeJS.CpuUsage): number {
  return processorTime(started) / MICROSECONDS;
}

/** Orders, runs and states per second. */
function explore(explorer: Explorer, seconds: number): [number, number, number] {
  let [orders, runs, states] = [0, 0, 0];
  const started = process.cpuUsage();
  for (;;) {
    for (let i = 0; i < BATCH; i++) {
      const explored = explorer.explore();
      orders += explored.orders;
      runs += explored.runs;
      states += explored.states;
    }
    const elapsed = secondsSince(started);
    if (elapsed >= seconds) return [orders / elapsed, runs / elapsed, states / elapsed];
  }
}

/** Orders per second of fast-check: each step waits for its turn. */
async function schedule(seconds: number): Promise<number> {
  const fc = await import('fast-check');
  const started = process.cpuUsage();
  let orders = 0;
  while (secondsSince(started) < seconds) {
    const property = fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const actor = async (steps: number) => {
        for (let i = 0; i < steps; i++) await scheduler.schedule(Promise.resolve());
      };
      const actors = STEPS.map(actor);
      await scheduler.waitIdle();
      await Promise.all(actors);
      orders++;
    });
    await fc.assert(property, { numRuns: 1000 });
  }
  return orders / secondsSince(started);
}

const explorer = new Explorer(faultMigrateUnmap);
explore(explorer, WARM_UP);
const rounds = Array.from({ length: ROUNDS }, () => explore(explorer, ROUND));
// In a process that has run something else, too, ours would be slower by a tenth.
await schedule(WARM_UP);
const scheduled: number[] = [];
for (let i = 0; i < ROUNDS; i++) scheduled.push(await schedule(ROUND));
const theirs = median(scheduled);
const [covered, run, states] = [0, 1, 2].map((i) => median(rounds.map((round) => round[i]!))) as [
  number,
  number,
  number,
];
const whole = (value: number) => Math.round(value).toLocaleString('en-US');
process.stdout.write(
  `check: ${whole(covered)} orders/s covered on one core, ${whole(run)} runs/s, ${whole(states)} states/s; ` +
    `fast-check's scheduler beside it: ${whole(theirs)} orders/s; ` +
    `${(covered / theirs).toFixed(1)} times as many are covered here, and ${(run / theirs).toFixed(1)} times as many run\n`,
);
