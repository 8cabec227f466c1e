/**
 * How fast `iopf check` runs orders on one core: {a device faults one page ‖ the host takes the page ‖ the program unmaps it}.
 *
 * Every exploration begins with nothing known. *Covered*: orders that were run, or that meet one that was run in a state; *run*:
 * runs from the beginning, where everything is put back as it was when the container had been made.
 */
import { Explorer } from '../src/check/explorer.js';
import { faultMigrateUnmap } from '../src/check/scenarios/page-in-races.js';

const MICROSECONDS = 1_000_000;
const ROUNDS = 5;
/** Seconds until all is compiled. */
const WARM_UP = 2;
/** Explorations between two looks at the clock, which costs as much as one. */
const BATCH = 32;

export interface CheckSpeed {
  readonly ordersPerSecond: number;
  readonly runsPerSecond: number;
  readonly statesPerSecond: number;
}

/** The median of five rounds of `seconds` each; seconds are of a processor, those of the garbage collector's threads included. */
export function measureCheck(seconds = 1): CheckSpeed {
  const explorer = new Explorer(faultMigrateUnmap);
  round(WARM_UP);
  const rounds = Array.from({ length: ROUNDS }, round.bind(null, seconds));
  rounds.sort((a, b) => a.ordersPerSecond - b.ordersPerSecond);
  return rounds[Math.floor(ROUNDS / 2)]!;

  function round(length: number): CheckSpeed {
    let [orders, runs, states] = [0, 0, 0];
    const started = process.cpuUsage();
    let elapsed = 0;
    while (elapsed < length) {
      for (let i = 0; i < BATCH; i++) {
        const explored = explorer.explore();
        orders += explored.orders;
        runs += explored.runs;
        states += explored.states;
      }
      const { user, system } = process.cpuUsage(started);
      elapsed = (user + system) / MICROSECONDS;
    }
    return {
      ordersPerSecond: orders / elapsed,
      runsPerSecond: runs / elapsed,
      statesPerSecond: states / elapsed,
    };
  }
}

export function checkBench(): void {
  const { ordersPerSecond, runsPerSecond, statesPerSecond } = measureCheck();
  const number = (value: number) => Math.round(value).toLocaleString('en-US');
  process.stdout.write(
    `check: ${number(ordersPerSecond)} orders/s covered on one core, ${number(runsPerSecond)} runs/s, ` +
      `${number(statesPerSecond)} states/s\n`,
  );
}

if (process.argv[1]?.endsWith('bench/check.js')) checkBench();
