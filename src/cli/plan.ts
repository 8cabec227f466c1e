/** `iopf plan [options] FLEET.yaml` */
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { tell } from '../exec/run/tell.js';
import { checkDistinct, type NamedFile } from '../input/named-file.js';
import { checkOutput, writeOutput } from '../input/output-file.js';
import { printableLines } from '../input/printable.js';
import { UserError } from '../input/user-error.js';
import type { PlanQuestion } from '../plan/question.js';
import { engineOption, runnerFor, telling } from './engine.js';
import { documentOf, jsonOption, jsonText, takesStandardOutput } from './json/document.js';
import { progressLine } from './progress.js';
import { version } from './version.js';
import { wholeNumber } from './whole-number.js';

interface Options {
  readonly json?: string;
  readonly html?: string;
  readonly seed: number;
  readonly jobs: number;
  readonly cache: boolean;
  readonly quiet?: true;
  readonly detach?: true;
  readonly attach?: string;
  readonly engine?: string;
}

export function planCommand(): Command {
  return new Command('plan')
    .description('tell how many hosts a fleet of machines needs, pinned and with I/O page faults')
    .argument('[fleet]', 'classes of machines, hosts, policies and a bound (YAML)')
    .addOption(engineOption())
    .addOption(jsonOption('the plan'))
    .option('--html <file>', 'write a self-contained HTML report')
    .option('--seed <number>', 'seed of workloads and arrivals', wholeNumber(0, 2 ** 32 - 1), 1)
    .option('--jobs <number>', 'worker threads', wholeNumber(1, 256), availableParallelism())
    .option('--no-cache', 'do not keep curves in ~/.cache/iopf, nor take them from there')
    .option('--detach', 'leave the jobs to the workers of --engine, and print the ID of the run')
    .option('--attach <id>', 'wait for a run that was left, and conclude it')
    .option('--quiet', 'print no tables, and not how far it is')
    .action(run);
}

async function run(path: string | undefined, options: Options): Promise<void> {
  checkWords(path, options);
  const outputs: NamedFile[] = [];
  for (const key of ['json', 'html'] as const) {
    const file = options[key];
    if (file !== undefined) outputs.push({ what: `--${key}`, path: file });
  }
  checkDistinct(outputs, path === undefined ? [] : [{ what: 'the fleet', path }]);
  for (const output of outputs) checkOutput(output.path);
  const { plan } = await import('../plan/plan.js');
  const { parseQuestion, readQuestion } = await import('../plan/question.js');
  if (options.detach === true) {
    await leave(readQuestion(path!, options.seed), options.engine!);
    return;
  }
  const left = options.attach === undefined ? null : await attached(options);
  const asked = left === null ? readQuestion(path!, options.seed) : parseQuestion(left.request);
  const line = progressLine();
  const result = await plan({
    asked,
    runner: left?.runner ?? (await runnerFor(options)),
    // All jobs were left: those whose curves are known, too.
    cache: options.cache && left === null ? cacheFolder() : null,
    version: version(),
    progress: (done, total, what) => {
      if (options.quiet !== true) line.show(what, done / total);
    },
  }).finally(() => line.clear());
  if (options.json !== undefined) writeOutput(options.json, jsonText(documentOf('plan', result)));
  if (options.html !== undefined) {
    const { formatReport } = await import('../report/html.js');
    const { planReport } = await import('../report/plan-report.js');
    writeOutput(options.html, formatReport(planReport(result)));
  }
  if (options.quiet === true || takesStandardOutput(options)) return;
  const { planText } = await import('../report/plan-text.js');
  process.stdout.write(printableLines(planText(result)));
}

/** Throws UserError. */
function checkWords(path: string | undefined, { attach, detach, engine }: Options): void {
  if ((attach !== undefined || detach === true) && engine === undefined)
    throw new UserError('--detach and --attach need --engine redis://HOST');
  if (attach !== undefined && (path !== undefined || detach === true))
    throw new UserError('--attach takes no fleet and no --detach: both are with the run');
  if (attach === undefined && path === undefined) throw new UserError('a fleet is needed');
  if (attach !== undefined && !/^[0-9a-f]{16}$/.test(attach))
    throw new UserError(`${attach} is no ID of a run: --detach prints one`);
}

/** Prints the ID of the run. */
async function leave(asked: PlanQuestion, engine: string): Promise<void> {
  const { detach } = await import('../runners/queue/queue-runner.js');
  const { curveJobs, fleetOf } = await import('../plan/question.js');
  const { curveKind } = await import('../plan/curve-job.js');
  const { distinct } = await import('../plan/curves.js');
  const jobs = [...distinct(curveJobs(fleetOf(asked), asked), version()).values()];
  const id = await detach(engine, curveKind, jobs, JSON.stringify(asked), { tell });
  process.stdout.write(`${id}\n`);
  tell(`${jobs.length} jobs are left; iopf plan --attach ${id} --engine … waits for them`);
}

async function attached({ attach: id, engine }: Options) {
  const { attach } = await import('../runners/queue/queue-runner.js');
  const { request, runner } = await attach(engine!, id!, { tell });
  return { request, runner: telling(runner) };
}

function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'iopf/curves');
}
