/** `iopf conformance [options] [TOPIC…]` */
import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_KERNEL, type KernelVersion, kernelVersions } from '../abi/kernel.js';
import type { CaseOutcome, FileOutcome, Target } from '../conformance/conformance.js';
import { checkDistinct, type NamedFile } from '../input/named-file.js';
import { checkOutput, writeOutput } from '../input/output-file.js';
import { packageFile } from '../input/package-file.js';
import { printableLines } from '../input/printable.js';
import { UserError } from '../input/user-error.js';
import { documentOf, jsonOption, jsonText, takesStandardOutput } from './json/document.js';

interface Options {
  readonly against: Target;
  readonly kernel?: KernelVersion;
  readonly case?: readonly string[];
  readonly device?: ReadonlyMap<string, string>;
  readonly json?: string;
  readonly junit?: string;
  readonly list?: true;
  readonly quiet?: true;
}

/** What was recorded of VFIO, and of iommufd. */
const SETS = ['vfio', 'iommufd'] as const;
/** As `targets`, which is loaded when something is replayed. */
const TARGETS = ['engine', 'exec', 'host'];

export function conformanceCommand(): Command {
  return new Command('conformance')
    .description('replay what real kernels answered to calls of VFIO and iommufd, and compare')
    .argument('[topics...]', 'topics (--list), or files and folders of vectors; default: all')
    .addOption(
      new Option(
        '--against <what>',
        'whose answers are looked at: those of the engine in this process, of iopf exec through ' +
          "system calls, or of this machine's kernel (as root)",
      )
        .choices(TARGETS)
        .default('engine'),
    )
    .addOption(
      new Option(
        '--kernel <version>',
        `whose answers are expected: ${DEFAULT_KERNEL} unless given, of host that of the machine`,
      ).choices(kernelVersions),
    )
    .option('--case <name>', 'cases of this name; * stands for anything; may be repeated', collect)
    .option(
      '--device <name=bdf>',
      'of host: the device in place of d0, d1, … of the recording; may be repeated',
      collectDevice,
    )
    .addOption(jsonOption('the results'))
    .option('--junit <file>', "write the cases as test cases in JUnit's XML")
    .option('--list', 'list topics and the number of their cases')
    .option('--quiet', 'print nothing: the exit code tells')
    .addHelpText(
      'after',
      '\nExit status: 0 all that ran is as recorded, 1 something is not or nothing ran, 2 usage error.',
    )
    .action(run);
}

async function run(names: string[], options: Options): Promise<void> {
  const { runVectors } = await import('../conformance/conformance.js');
  const { checkHost, hostVars } = await import('../conformance/live/host.js');
  const { readVectors, topicOf, vectorFiles } = await import('../conformance/vectors.js');
  const files = filesOf(names, vectorFiles, topicOf);
  if (options.list === true) {
    for (const path of files)
      process.stdout.write(`${topicOf(path).padEnd(24)} ${readVectors(path).cases.length} cases\n`);
    return;
  }
  if (options.against !== 'host' && options.device !== undefined)
    throw new UserError('--device is of --against host');
  if (options.against === 'host') checkHost();
  checkFiles(options, files);
  const request = {
    target: options.against,
    kernel: options.kernel ?? (options.against === 'host' ? hostKernel() : DEFAULT_KERNEL),
    wanted: wantedCases(options.case),
    vars: hostVars(options.device ?? new Map()),
  };
  const tell = options.quiet === true || takesStandardOutput(options) ? () => {} : print;
  const outcomes: FileOutcome[] = [];
  const started = performance.now();
  for (const path of files) {
    const outcome = runVectors(path, request);
    if (outcome.cases.length === 0) continue;
    outcomes.push(outcome);
    tell(`${fileText(outcome, request.kernel)}\n`);
  }
  const count = (result: CaseOutcome['result']): number =>
    outcomes.flatMap(({ cases }) => cases.filter((each) => each.result === result)).length;
  const [passed, failed, skipped] = [count('passed'), count('failed'), count('skipped')];
  const left = skipped === 0 ? '' : `, ${skipped} skipped`;
  tell(`${passed} passed, ${failed} failed${left}\n`);
  const seconds = (performance.now() - started) / 1000;
  if (options.json !== undefined) {
    const topics = outcomes.map(({ cases, kernel, topic }) => ({
      topic,
      kernel,
      cases: cases.map(({ text: _, ...each }) => each),
    }));
    const results = { against: options.against, passed, failed, skipped, seconds, topics };
    writeOutput(options.json, jsonText(documentOf('conformance', results)));
  }
  if (options.junit !== undefined) {
    const { conformanceText } = await import('./junit.js');
    writeOutput(options.junit, conformanceText(outcomes, seconds));
  }
  if (passed + failed === 0) tell('nothing ran\n');
  if (failed > 0 || passed === 0) process.exitCode = 1;
}

function fileText({ cases, kernel, topic }: FileOutcome, asked: KernelVersion): string {
  const of = (result: CaseOutcome['result']) => cases.filter((each) => each.result === result);
  const skipped = of('skipped');
  const left = skipped.length === 0 ? '' : `, ${skipped.length} skipped`;
  const note = kernel === asked ? '' : ` (no answers of ${asked}: as Linux ${kernel})`;
  const counts = `${of('passed').length} passed, ${of('failed').length} failed${left}`;
  const reasons = new Map<string, number>();
  for (const { why } of skipped) reasons.set(why!, (reasons.get(why!) ?? 0) + 1);
  return [
    `${topic}: ${counts}${note}`,
    ...[...reasons].map(([why, times]) => `  ${times} skipped: ${why}`),
    ...of('failed').map(({ text }) => text),
  ].join('\n');
}

/** Files by topics, or by where they are. Throws UserError. */
function filesOf(
  names: readonly string[],
  vectorFiles: (path: string) => string[],
  topicOf: (path: string) => string,
): string[] {
  const shipped = SETS.flatMap((set) => vectorFiles(packageFile(`dist/vectors/${set}`)));
  if (names.length === 0) return shipped;
  return names.flatMap((name) => {
    const found = shipped.filter((path) => topicOf(path) === name);
    if (found.length > 0) return found;
    if (existsSync(name)) return vectorFiles(name);
    throw new UserError(`${name} is neither a topic (iopf conformance --list) nor a file`);
  });
}

/** The version of this machine's kernel, or the last recorded one before it. */
function hostKernel(): KernelVersion {
  const number = (version: string): number => {
    const [major = '0', minor = '0'] = version.split('.');
    return Number.parseInt(major, 10) * 1000 + Number.parseInt(minor, 10);
  };
  const host = number(release());
  const older = kernelVersions.filter((version) => number(version) <= host);
  return older.at(-1) ?? kernelVersions[0]!;
}

function wantedCases(patterns: readonly string[] | undefined): (name: string) => boolean {
  if (patterns === undefined) return () => true;
  const forms = patterns.map((pattern) => {
    const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${parts.join('.*')}$`);
  });
  return (name) => forms.some((form) => form.test(name));
}

function collect(pattern: string, before: readonly string[] = []): readonly string[] {
  return [...before, pattern];
}

function collectDevice(
  text: string,
  before: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  const found = /^(d\d[a-z]?)=([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/.exec(text);
  if (found === null) throw new InvalidArgumentError('d0=0000:01:00.0 is needed.');
  return new Map([...before, [found[1]!, found[2]!]]);
}

/** Throws UserError. */
function checkFiles(options: Options, files: readonly string[]): void {
  const outputs: NamedFile[] = [];
  for (const key of ['json', 'junit'] as const) {
    const path = options[key];
    if (path !== undefined) outputs.push({ what: `--${key}`, path });
  }
  const inputs = files.map((path) => ({ what: 'a file of vectors', path }));
  checkDistinct(outputs, inputs);
  for (const { path } of outputs) checkOutput(path);
}

function print(text: string): void {
  process.stdout.write(printableLines(text));
}
