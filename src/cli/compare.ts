/** `iopf compare [options] INPUT…` */
import { availableParallelism } from 'node:os';
import { Command } from 'commander';
import { tell } from '../exec/run/tell.js';
import { checkDistinct, type NamedFile } from '../input/named-file.js';
import { checkOutput, writeOutput } from '../input/output-file.js';
import { printableLines } from '../input/printable.js';
import type { LiveStart } from '../live/live.js';
import type { CompareRequest, CompareResult } from '../sim/compare.js';
import { engineOption, runnerFor } from './engine.js';
import { documentOf, jsonOption, jsonText, takesStandardOutput } from './json/document.js';
import { progressLine } from './progress.js';
import { endOf, occasionally, openView, uiOption } from './ui.js';
import { wholeNumber } from './whole-number.js';

const SHOW_EVERY_MS = 1000;

interface Options {
  readonly policy?: string;
  readonly model?: string;
  readonly json?: string;
  readonly html?: string;
  readonly ui?: number | true;
  readonly seed: number;
  readonly jobs: number;
  readonly quiet?: true;
  readonly engine?: string;
}

export function compareCommand(): Command {
  return new Command('compare')
    .description(
      'replay scenarios or recordings in virtual time, once per policy, and compare costs and savings',
    )
    .argument('<input...>', 'scenario files (YAML) or recordings (iopf exec --record)')
    .option(
      '--policy <list>',
      'static, iopf, iopf:premap=N|adaptive, iopf:prefetch, each with :memory=SIZE; separated by commas',
    )
    .option(
      '--model <name|file>',
      'cost model: kunpeng920-stall, odp, fast, measured, vtd-6252, or a YAML file',
    )
    .addOption(engineOption())
    .addOption(jsonOption('the result'))
    .option('--html <file>', 'write a self-contained HTML report')
    .addOption(uiOption())
    .option('--seed <number>', 'seed of random workloads', wholeNumber(0, 2 ** 32 - 1), 1)
    .option('--jobs <number>', 'worker threads', wholeNumber(1, 256), availableParallelism())
    .option('--quiet', 'print no tables, and not how far it is')
    .action(run);
}

async function run(inputs: string[], options: Options): Promise<void> {
  checkFiles(inputs, options);
  // Loaded only when asked for, as exec's parsers are.
  const { compare } = await import('../sim/compare.js');
  const request: CompareRequest = {
    inputs,
    policies: options.policy?.split(',') ?? [],
    model: options.model ?? null,
    seed: options.seed,
    runner: await runnerFor(options),
    withMaps: options.html !== undefined || options.ui !== undefined,
  };
  const line = progressLine();
  // A thread says nothing in the middle of a long step.
  let last = { what: 'the first run', share: 0 };
  const showNow = (): void => {
    if (options.quiet !== true) line.show(last.what, last.share);
  };
  const show = (what: string, share: number): void => {
    last = { what, share };
    showNow();
  };
  const timer = setInterval(showNow, SHOW_EVERY_MS);
  const clear = (): void => {
    clearInterval(timer);
    line.clear();
  };
  if (options.ui === undefined) {
    const result = await compare({
      ...request,
      progress: ({ what, share }) => show(what, share),
    }).finally(clear);
    await conclude(result, options);
    return;
  }
  const { comparisonReport } = await import('../report/comparison-report.js');
  const view = await openView(options.ui, startOf(inputs, request, options));
  try {
    const report = occasionally((result: CompareResult) =>
      view.tell({ kind: 'report', report: comparisonReport(result) }),
    );
    const started = performance.now();
    const result = await compare({
      ...request,
      progress: ({ done, total, what, share, soFar }) => {
        show(what, share);
        view.tell({ kind: 'progress', done, total, what });
        const result = soFar();
        if (result !== null) report(result);
      },
    }).finally(clear);
    view.tell({ kind: 'report', report: comparisonReport(result) });
    await conclude(result, options);
    view.tell(endOf(started));
    await view.finish();
  } finally {
    view.close();
  }
}

function startOf(
  inputs: readonly string[],
  request: CompareRequest,
  options: Options,
): Omit<LiveStart, 'kind'> {
  return {
    command: 'compare',
    title: `iopf compare ${inputs.join(' ')}`,
    facts: {
      inputs: inputs.join(' '),
      policies: request.policies.join(', ') || 'those of the input',
      model: options.model ?? 'that of the input',
      seed: request.seed,
    },
  };
}

/** Says and writes what was asked for. */
async function conclude(result: CompareResult, options: Options): Promise<void> {
  const { formatComparison } = await import('../report/table.js');
  const { comparison, warnings } = result;
  for (const warning of warnings) tell(warning);
  if (options.json !== undefined)
    writeOutput(options.json, jsonText(documentOf('compare', comparison)));
  if (options.html !== undefined) {
    const { formatReport } = await import('../report/html.js');
    const { comparisonReport } = await import('../report/comparison-report.js');
    writeOutput(options.html, formatReport(comparisonReport(result)));
  }
  if (options.quiet !== true && !takesStandardOutput(options))
    process.stdout.write(printableLines(formatComparison(comparison)));
}

/** Before the comparison, which may be long. Throws UserError. */
function checkFiles(inputs: readonly string[], options: Options): void {
  const outputs: NamedFile[] = [];
  for (const key of ['json', 'html'] as const) {
    const path = options[key];
    if (path !== undefined) outputs.push({ what: `--${key}`, path });
  }
  const read = inputs.map((path): NamedFile => ({ what: 'an input', path }));
  if (options.model !== undefined) read.push({ what: '--model', path: options.model });
  checkDistinct(outputs, read);
  for (const { path } of outputs) checkOutput(path);
}
