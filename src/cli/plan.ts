/** `iopf plan [options] FLEET.yaml` */
import { availableParallelism, homedir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { checkDistinct, type NamedFile } from '../input/named-file.js';
import { checkOutput, writeOutput } from '../input/output-file.js';
import { printableLines } from '../input/printable.js';
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
}

export function planCommand(): Command {
  return new Command('plan')
    .description('tell how many hosts a fleet of machines needs, pinned and with I/O page faults')
    .argument('<fleet>', 'classes of machines, hosts, policies and a bound (YAML)')
    .addOption(jsonOption('the plan'))
    .option('--html <file>', 'write a self-contained HTML report')
    .option('--seed <number>', 'seed of workloads and arrivals', wholeNumber(0, 2 ** 32 - 1), 1)
    .option('--jobs <number>', 'worker threads', wholeNumber(1, 256), availableParallelism())
    .option('--no-cache', 'do not keep curves in ~/.cache/iopf, nor take them from there')
    .option('--quiet', 'print no tables, and not how far it is')
    .action(run);
}

async function run(path: string, options: Options): Promise<void> {
  const outputs: NamedFile[] = [];
  for (const key of ['json', 'html'] as const) {
    const file = options[key];
    if (file !== undefined) outputs.push({ what: `--${key}`, path: file });
  }
  checkDistinct(outputs, [{ what: 'the fleet', path }]);
  for (const output of outputs) checkOutput(output.path);
  const { plan } = await import('../plan/plan.js');
  const line = progressLine();
  const result = await plan({
    path,
    seed: options.seed,
    threads: options.jobs,
    cache: options.cache ? cacheFolder() : null,
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

function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'iopf/curves');
}
