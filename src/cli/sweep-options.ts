/** The options of `iopf exec --inject-each`. */
import type { Command } from 'commander';
import { UserError } from '../input/user-error.js';
import { repeated } from './repeated.js';
import { wholeNumber } from './whole-number.js';

export interface SweepOptions {
  readonly injectEach?: readonly string[];
  readonly eachMost?: number;
  readonly eachLimit?: number;
  readonly eachCheck?: string;
  readonly resume?: string;
  readonly jobs?: number;
}

/** By key, the options that mean nothing without `--inject-each`. */
const others = {
  eachMost: '--each-most',
  eachLimit: '--each-limit',
  eachCheck: '--each-check',
  resume: '--resume',
} as const satisfies Partial<Record<keyof SweepOptions, string>>;

export function addSweepOptions(command: Command): Command {
  return command
    .option(
      '--inject-each <set>',
      'run the program without a fault, then once for each point of the set with a fault just there: all, a kind of point (nvme), or a rule without a time (repeatable)',
      repeated,
    )
    .option('--each-most <n>', 'of --inject-each: at most so many runs a rule', wholeNumber(1))
    .option('--each-limit <s>', 'of --inject-each: seconds for a run', wholeNumber(1))
    .option(
      '--each-check <command>',
      'of --inject-each: a shell command that fails where the data of a run ($IOPF_RUN) is wrong',
    )
    .option('--resume <file>', 'of --inject-each: keep results there, and go on from them')
    .option(
      '--jobs <n>',
      'runs at the same time: of --inject-each (default: one a core), of all (default: 1)',
      wholeNumber(1),
    );
}

/**
 * Whether this is a sweep. Throws UserError where an option is of one, and it is none.
 * `isMatrix`: there are several runs anyway.
 */
export function isSweep(options: SweepOptions, isMatrix: boolean): boolean {
  if (options.injectEach !== undefined) return true;
  if (options.jobs !== undefined && !isMatrix)
    throw new UserError('--jobs is of several runs: --inject-each, --kernel all or --iopf all');
  for (const [key, name] of Object.entries(others))
    if (options[key as keyof typeof others] !== undefined)
      throw new UserError(`${name} is of --inject-each, which is not there`);
  return false;
}
