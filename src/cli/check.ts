/** `iopf check [options] [SCENARIO…]` */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { Bug } from '../abi/bug.js';
import { coverageLines, coverageOf } from '../check/report/coverage.js';
import { outcomeOf } from '../check/report/outcome.js';
import { formatScenario, formatTotal } from '../check/report/report.js';
import { formatTimeline } from '../check/report/timeline.js';
import { scenarios as shippedScenarios } from '../check/scenarios/index.js';
import { type Bound, parseBound, sizeIn } from '../check/search/bound.js';
import { type CheckAnswer, type CheckRequest, checkKind } from '../check/search/check-job.js';
import type { Ref, ScenarioReport } from '../check/search/run-scenario.js';
import { variants } from '../check/variants/index.js';
import { checkDistinct, type NamedFile } from '../input/named-file.js';
import { checkOutput, writeOutput } from '../input/output-file.js';
import { printableLines } from '../input/printable.js';
import { UserError } from '../input/user-error.js';
import type { JobOutcome } from '../jobs/job.js';
import { checkReport } from '../report/check-report.js';
import { findScenarios, findVariants } from './check-names.js';
import { countAll, countDone, reportsOf, type Task, tasksFor } from './check-tasks.js';
import { forUser, inThread } from './check-threads.js';
import { engineOption, runnerFor } from './engine.js';
import { documentOf, jsonOption, jsonText, takesStandardOutput } from './json/document.js';
import { type CommandView, endOf, occasionally, openView, uiOption } from './ui.js';
import { wholeNumber } from './whole-number.js';

interface Options {
  readonly variant?: string;
  readonly bound?: Bound;
  readonly order?: readonly number[];
  readonly states: number;
  readonly random: number;
  readonly exhaustive?: true;
  readonly seed: number;
  readonly jobs: number;
  readonly quiet?: true;
  readonly json?: string;
  readonly junit?: string;
  readonly html?: string;
  readonly ui?: number | true;
  readonly list?: true;
  readonly engine?: string;
}

const STATES_MAX = 2_000_000;
const RANDOM_SECONDS = 10;

export function checkCommand(): Command {
  return new Command('check')
    .description('run small scenarios in every order of their steps, on the code that ships')
    .argument(
      '[scenarios...]',
      'names of scenarios, or files that export some (FILE or FILE#NAME); default: all that ship',
    )
    .option(
      '--variant <name>',
      'check another design instead: rfc-v3, one finding of its review like rfc-v3/R3.3, ' +
        'or a file that exports some (FILE or FILE#NAME)',
    )
    .option(
      '--bound <list>',
      'go farther: pages=3,devices=3 scales the scenarios that say how, steps=40 cuts orders',
      boundOption,
    )
    .option('--order <actors>', 'run one order, as printed with a violation: 0,0,1', parseOrder)
    .option(
      '--states <n>',
      'most states per scenario; beyond them orders are random, and not all are run',
      wholeNumber(0),
      STATES_MAX,
    )
    .option(
      '--random <seconds>',
      'how long random orders are run beyond that',
      wholeNumber(0),
      RANDOM_SECONDS,
    )
    .option('--exhaustive', 'exit with 1 unless every order of every scenario was run')
    .option('--seed <n>', 'seed of the random orders', wholeNumber(0), 1)
    .option('--jobs <n>', 'worker threads', wholeNumber(0), availableParallelism())
    .addOption(engineOption())
    .addOption(jsonOption('the results'))
    .option('--junit <file>', "write the scenarios as test cases in JUnit's XML")
    .option('--html <file>', 'write a self-contained HTML report')
    .addOption(uiOption())
    .option('--quiet', 'print nothing: the exit code tells')
    .option('--list', 'list scenarios and variants')
    .addHelpText(
      'after',
      '\nExit status: 0 no violation, 1 violation or nothing run, 2 usage error.',
    )
    .action(run);
}

async function run(names: string[], options: Options): Promise<void> {
  if (options.list) {
    list();
    return;
  }
  if (options.states === 0 && options.random === 0)
    throw new UserError('--states 0 with --random 0 runs no order');
  const wanted = options.variant === undefined ? [] : await findVariants(options.variant);
  const refs = (await Promise.all(names.map(findScenarios))).flat();
  checkFiles([...refs, ...wanted], options);
  if (options.order !== undefined) {
    if (refs.length !== 1 || wanted.length > 1)
      throw new UserError('--order needs exactly one scenario, and at most one variant');
    await showOrder(refs[0]!, options.order, wanted[0] ?? null, options.bound);
    return;
  }
  const scenarios =
    refs.length !== 0 ? refs : shippedScenarios.map(({ name }) => ({ name, module: null }));
  const tasks = await tasksFor(scenarios, wanted, options);
  if (options.ui === undefined) {
    await check(tasks, options, null);
    return;
  }
  const facts = {
    scenarios: names.join(' ') || 'all that ship',
    variant: options.variant ?? 'none',
  };
  const view = await openView(options.ui, { command: 'check', title: 'iopf check', facts });
  try {
    const started = performance.now();
    await check(tasks, options, view);
    view.tell(endOf(started));
    await view.finish();
  } finally {
    view.close();
  }
}

async function check(
  tasks: readonly Task[],
  options: Options,
  view: CommandView | null,
): Promise<void> {
  const started = performance.now();
  const jobs = tasks.flat();
  const taskOf = tasks.flatMap((task) => task.map(() => task));
  const outcomesOf = new Map<Task, JobOutcome<CheckAnswer>[]>(tasks.map((task) => [task, []]));
  const reports: ScenarioReport[] = [];
  const isQuiet = options.quiet === true;
  const shown = process.stderr.isTTY && !isQuiet;
  const tellUser = isQuiet || takesStandardOutput(options) ? () => {} : print;
  const show = occasionally(() => view?.tell({ kind: 'report', report: checkReport(reports) }));
  const showProgress = (what: string) =>
    view?.tell({ kind: 'progress', done: countDone(tasks, reports), total: countAll(tasks), what });
  const clear = () => shown && process.stderr.write('\r\x1b[K');
  const take = (report: ScenarioReport): void => {
    reports.push(report);
    showProgress(report.name);
    show(null);
    // A variant's scenarios that do not find it out are no news.
    if (report.variant !== null && report.violations.length === 0) return;
    clear();
    tellUser(`${formatScenario(report)}\n`);
  };
  const requests = jobs.map((job): CheckRequest => ({ kind: 'job', job }));
  const outcomes = await (await runnerFor(options))
    .run(checkKind, requests, {
      done(index, outcome) {
        const task = taskOf[index]!;
        const done = outcomesOf.get(task)!;
        done.push(outcome);
        if (done.length === task.length) for (const report of reportsOf(done)) take(report);
      },
      progress(_, { scenario, states }) {
        clear();
        if (shown)
          process.stderr.write(`${reports.length} done; ${scenario}: ${states} states so far`);
        showProgress(`${scenario}: ${states} states so far`);
      },
    })
    .catch((error: unknown) => {
      throw forUser(error);
    })
    .finally(clear);
  // As the jobs stand, whichever was done first.
  const inOrder = tasks.map((task) => outcomes.filter((_, index) => taskOf[index] === task));
  reports.splice(0, reports.length, ...inOrder.flatMap(reportsOf));
  view?.tell({ kind: 'report', report: checkReport(reports) });
  const seconds = (performance.now() - started) / 1000;
  tellUser(`${formatTotal(reports, seconds)}\n`);
  const failed = jobs.filter((_, index) => outcomes[index]!.kind === 'failed');
  const outcome = outcomeOf(jobs, reports, failed, options.exhaustive ?? false);
  for (const line of outcome.lines) tellUser(`${line}\n`);
  const coverage = options.bound === undefined ? null : coverageOf(options.bound, reports);
  if (coverage !== null) for (const line of coverageLines(coverage, reports)) tellUser(`${line}\n`);
  if (options.json !== undefined)
    writeOutput(
      options.json,
      jsonText(documentOf('check', { scenarios: reports, seconds, coverage })),
    );
  if (options.junit !== undefined) {
    const { checkText } = await import('./junit.js');
    writeOutput(options.junit, checkText(reports, outcome, formatScenario));
  }
  if (options.html !== undefined) {
    const { formatReport } = await import('../report/html.js');
    writeOutput(options.html, formatReport(checkReport(reports)));
  }
  if (!outcome.passed) process.exitCode = 1;
}

async function showOrder(
  ref: Ref,
  order: readonly number[],
  variant: Ref | null,
  bound: Bound | undefined,
): Promise<void> {
  const size = bound === undefined ? null : sizeIn(bound);
  const answer = await inThread({ kind: 'replay', ref, order, variant, size }).catch(
    (error: Error) => {
      if (!(error instanceof RangeError)) throw error;
      throw new UserError(`--order does not fit ${ref.name}: ${error.message}`);
    },
  );
  if (answer.kind !== 'replayed') throw new Bug('a replay was answered with something else');
  const { actors, steps, violation } = answer.answer;
  print(`${formatTimeline(actors, { steps })}\n`);
  if (violation === null) return;
  print(`\n${violation.row}: broken: ${violation.invariant}\n${violation.detail}\n`);
  process.exitCode = 1;
}

/** Before the check, which may be long. Throws UserError. */
function checkFiles(refs: readonly Ref[], options: Options): void {
  const outputs: NamedFile[] = [];
  for (const key of ['json', 'junit', 'html'] as const) {
    const path = options[key];
    if (path !== undefined) outputs.push({ what: `--${key}`, path });
  }
  const modules = new Set(refs.flatMap(({ module }) => (module === null ? [] : [module])));
  const inputs = [...modules].map((url) => ({ what: 'a file to check', path: fileURLToPath(url) }));
  checkDistinct(outputs, inputs);
  for (const { path } of outputs) checkOutput(path);
}

/** Names in what is printed may be a user's. */
function print(text: string): void {
  process.stdout.write(printableLines(text));
}

function list(): void {
  for (const { name, about, rows } of shippedScenarios)
    print(`${name.padEnd(22)} ${about} (${rows.join(', ')})\n`);
  process.stdout.write('\n');
  for (const { name, about } of variants) print(`--variant ${name.padEnd(18)} ${about}\n`);
}

function boundOption(text: string): Bound {
  try {
    return parseBound(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function parseOrder(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text))
    throw new InvalidArgumentError('numbers of actors, separated by commas, are needed.');
  return text.split(',').map(Number);
}
