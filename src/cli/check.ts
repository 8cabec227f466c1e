/** `iopf check [options] [SCENARIO…]` */
import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { replay } from '../check/report/history.js';
import { formatScenario, formatTotal, toJson } from '../check/report/report.js';
import { formatTimeline } from '../check/report/timeline.js';
import { scenarios as shippedScenarios } from '../check/scenarios/index.js';
import { partsOf } from '../check/search/find.js';
import {
  type Job,
  loadScenario,
  type ScenarioRef,
  type ScenarioReport,
} from '../check/search/job.js';
import { type PoolEvents, runJobs } from '../check/search/pool.js';
import { variants, variantsNamed } from '../check/variants/index.js';
import { Unsound } from '../check/verify/unsound.js';
import { checkDistinct, type NamedFile } from '../input/named-file.js';
import { checkOutput, writeOutput } from '../input/output-file.js';
import { UserError } from '../input/user-error.js';
import { checkReport } from '../report/check-report.js';
import { type CommandView, endOf, occasionally, openView, uiOption } from './ui.js';

interface Options {
  readonly variant?: string;
  readonly order?: readonly number[];
  readonly states: number;
  readonly random: number;
  readonly seed: number;
  readonly threads: number;
  readonly json?: string;
  readonly html?: string;
  readonly ui?: number | true;
  readonly list?: true;
}

const STATES_MAX = 2_000_000;
const RANDOM_SECONDS = 10;

export function checkCommand(): Command {
  return new Command('check')
    .description('run small scenarios under every order of their steps, on the code that ships')
    .argument(
      '[scenarios...]',
      'names, or files that export scenarios (FILE, or FILE#NAME); default: all that ship',
    )
    .option(
      '--variant <name>',
      'another design in place of the shipped one: rfc-v3, or one finding as rfc-v3/R3.3',
    )
    .option('--order <actors>', 'run one order, as a violation prints it: 0,0,1', parseOrder)
    .option(
      '--states <n>',
      'states per scenario before every order is given up for random ones',
      parseCount,
      STATES_MAX,
    )
    .option(
      '--random <seconds>',
      'time for random orders beyond that bound',
      parseCount,
      RANDOM_SECONDS,
    )
    .option('--seed <n>', 'seed of the random orders', parseCount, 1)
    .option('--threads <n>', 'threads to run on', parseCount, availableParallelism())
    .option('--json <file>', 'write the results as JSON')
    .option('--html <file>', 'write the results as a page')
    .addOption(uiOption())
    .option('--list', 'list scenarios and variants')
    .addHelpText(
      'after',
      '\nExit status: 0 no violation, 1 a violation, 2 the command line is wrong.',
    )
    .action(run);
}

async function run(names: string[], options: Options): Promise<void> {
  if (options.list) {
    list();
    return;
  }
  const wanted = options.variant === undefined ? [] : variantsNamed(options.variant);
  if (options.variant !== undefined && wanted.length === 0)
    throw new UserError(`there is no variant ${options.variant}; 'iopf check --list' shows them`);
  const refs = (await Promise.all(names.map(find))).flat();
  if (options.order !== undefined) {
    if (refs.length !== 1 || wanted.length > 1)
      throw new UserError('--order needs exactly one scenario, and at most one variant');
    await showOrder(refs[0]!, options.order, wanted[0]?.name ?? null);
    return;
  }
  const scenarios =
    refs.length !== 0 ? refs : shippedScenarios.map(({ name }) => ({ name, module: null }));
  const jobs = jobsFor(
    scenarios,
    wanted.map(({ name }) => name),
    options,
  );
  if (options.ui === undefined) {
    await check(jobs, options, null);
    return;
  }
  const facts = {
    scenarios: names.join(' ') || 'all that ship',
    variant: options.variant ?? 'none',
  };
  const view = await openView(options.ui, { command: 'check', title: 'iopf check', facts });
  try {
    const started = performance.now();
    await check(jobs, options, view);
    view.tell(endOf(started));
    await view.finish();
  } finally {
    view.close();
  }
}

function jobsFor(
  scenarios: readonly ScenarioRef[],
  wanted: readonly string[],
  options: Options,
): Job[] {
  const { states: statesMax, random: randomSeconds, seed } = options;
  const common = { statesMax, randomSeconds, seed };
  if (wanted.length !== 0) return wanted.map((variant) => ({ scenarios, variant, ...common }));
  return scenarios.map((scenario) => ({ scenarios: [scenario], variant: null, ...common }));
}

async function check(
  jobs: readonly Job[],
  options: Options,
  view: CommandView | null,
): Promise<void> {
  const started = performance.now();
  const reports: ScenarioReport[] = [];
  const shown = process.stderr.isTTY;
  const show = occasionally(() => view?.tell({ kind: 'report', report: checkReport(reports) }));
  const showProgress = (what: string) =>
    view?.tell({ kind: 'progress', done: countDone(jobs, reports), total: countAll(jobs), what });
  const clear = () => shown && process.stderr.write('\r\x1b[K');
  const events: PoolEvents = {
    report(report) {
      reports.push(report);
      showProgress(report.name);
      show(null);
      // A variant's scenarios that do not find it out are no news.
      if (report.variant !== null && report.violations.length === 0) return;
      clear();
      process.stdout.write(`${formatScenario(report)}\n`);
    },
    progress(scenario, states) {
      clear();
      if (shown)
        process.stderr.write(`${reports.length} done; ${scenario}: ${states} states so far`);
      showProgress(`${scenario}: ${states} states so far`);
    },
  };
  try {
    await runJobs(jobs, options.threads, events, view !== null);
  } catch (error) {
    throw error instanceof Unsound ? new UserError(error.message) : error;
  }
  view?.tell({ kind: 'report', report: checkReport(reports) });
  clear();
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(`${formatTotal(reports, seconds)}\n`);
  const missed = jobs.flatMap(({ variant }) =>
    variant !== null &&
    !reports.some((each) => each.variant === variant && each.violations.length !== 0)
      ? [variant]
      : [],
  );
  if (missed.length !== 0) process.stdout.write(`not found out: ${missed.join(', ')}\n`);
  if (options.json !== undefined) writeOutput(options.json, toJson(reports, seconds));
  if (options.html !== undefined) {
    const { formatReport } = await import('../report/html.js');
    writeOutput(options.html, formatReport(checkReport(reports)));
  }
  if (reports.some((report) => report.violations.length !== 0)) process.exitCode = 1;
}

/**
 * Scenarios that need not be run any more: those behind the one that finds a variant out are left
 * out.
 */
function countDone(jobs: readonly Job[], reports: readonly ScenarioReport[]): number {
  let done = reports.filter(({ variant }) => variant === null).length;
  for (const { variant, scenarios } of jobs) {
    if (variant === null) continue;
    const own = reports.filter((report) => report.variant === variant);
    done += own.some(({ violations }) => violations.length !== 0) ? scenarios.length : own.length;
  }
  return done;
}

function countAll(jobs: readonly Job[]): number {
  return jobs.reduce((sum, { scenarios }) => sum + scenarios.length, 0);
}

async function showOrder(
  ref: ScenarioRef,
  order: readonly number[],
  variantName: string | null,
): Promise<void> {
  const scenario = (await loadScenario(ref))!;
  const variant = variants.find(({ name }) => name === variantName) ?? null;
  try {
    const history = replay(scenario, partsOf(variant), order);
    process.stdout.write(`${formatTimeline(Object.keys(scenario.actors), history)}\n`);
    if (history.violation === null) return;
    const { row, invariant, detail } = history.violation;
    process.stdout.write(`\n${row ?? scenario.rows[0]}: broken: ${invariant}\n${detail}\n`);
    process.exitCode = 1;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError(`--order does not fit ${ref.name}: ${error.message}`);
  }
}

async function find(argument: string): Promise<ScenarioRef[]> {
  if (shippedScenarios.some(({ name }) => name === argument))
    return [{ name: argument, module: null }];
  const [, file, name] = /^(.*?)(?:#([^#]*))?$/.exec(argument)!;
  const isUrl = file!.startsWith('file:');
  if (!isUrl && !statSync(file!, { throwIfNoEntry: false })?.isFile())
    throw new UserError(
      `${argument} is neither a scenario nor a file; 'iopf check --list' shows the scenarios`,
    );
  const module = isUrl ? file! : pathToFileURL(resolve(file!)).href;
  const { scenariosIn } = await import('../check/search/scenario-file.js');
  const found = await scenariosIn(module).catch((error: Error) => {
    throw new UserError(`${file}: ${error.message}`);
  });
  const chosen = name === undefined ? found : found.filter((scenario) => scenario.name === name);
  if (found.length === 0)
    throw new UserError(`${file} exports no scenario; docs/check.md shows how one is written`);
  if (chosen.length === 0)
    throw new UserError(
      `${file} exports no scenario ${name}, but ${found.map((each) => each.name).join(', ')}`,
    );
  return chosen.map((scenario) => ({ name: scenario.name, module }));
}

function list(): void {
  for (const { name, about, rows } of shippedScenarios)
    process.stdout.write(`${name.padEnd(22)} ${about} (${rows.join(', ')})\n`);
  process.stdout.write('\n');
  for (const { name, about } of variants)
    process.stdout.write(`--variant ${name.padEnd(18)} ${about}\n`);
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 0)
    throw new InvalidArgumentError('a whole number is needed.');
  return count;
}

function parseOrder(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text))
    throw new InvalidArgumentError('numbers of actors with commas between them are needed.');
  return text.split(',').map(Number);
}
