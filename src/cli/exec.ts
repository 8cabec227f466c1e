/** `iopf exec [options] -- PROGRAM [ARGS…]` */
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_KERNEL, type KernelVersion, kernelVersions } from '../abi/kernel.js';
import type { OwnPoint } from '../device/own-points.js';
import type { RunKeeper } from '../exec/live/run-keeper.js';
import {
  type DeviceSpec,
  type MachineSpec,
  machineOfDevices,
  parseDevice,
} from '../exec/machine/machine-spec.js';
import type { DeviceErrors } from '../exec/module/module-fate.js';
import type { ExecOptions, InjectOptions } from '../exec/run/exec-options.js';
import type { RequestTimes } from '../exec/run/modelled-time.js';
import { exitCodeOf, type RunWatcher, runProgram } from '../exec/run/run.js';
import type { RunSummary } from '../exec/run/summary.js';
import { formatSummary, howItEnded } from '../exec/run/summary-text.js';
import { say, tell } from '../exec/run/tell.js';
import { pointsHelp } from '../inject/points.js';
import { checkDistinct, type NamedFile, readNamed, TEXT_MOST_BYTES } from '../input/named-file.js';
import { checkOutput, writeOutput } from '../input/output-file.js';
import { parseSize, SIZE_EXPECTED } from '../input/size.js';
import { UserError } from '../input/user-error.js';
import type { IopfMode } from '../ioas/iopf/mode.js';
import { PREMAP_DEFAULT, PREMAP_MOST } from '../ioas/iopf/premap.js';
import type { LiveEnd, LiveStart } from '../live/live.js';
import type { Picture } from '../trace/live-picture.js';
import { wordsOf } from './exec-words.js';
import { documentOf, jsonOption, jsonText } from './json/document.js';
import { kindsHelp } from './kinds-help.js';
import { repeated } from './repeated.js';
import { addSweepOptions, isSweep, type SweepOptions } from './sweep-options.js';
import { type CommandView, openView, uiOption } from './ui.js';
import { wholeNumber } from './whole-number.js';

/** Of `--kernel` and `--iopf`: a run for each. */
const ALL = 'all';
const modes = ['auto', 'ask', 'off'] as const;
const RECLAIM_SCAN_MOST_MS = 3_600_000;

export interface Options extends SweepOptions {
  readonly device?: readonly string[];
  readonly machine?: string;
  readonly kernel: KernelVersion | typeof ALL;
  readonly iopf: IopfMode | typeof ALL;
  readonly premap: number;
  readonly reclaim?: number;
  readonly reclaimScan?: number;
  readonly traps: 'on' | 'off';
  readonly iommufdTest?: true;
  readonly json?: string;
  readonly junit?: string;
  readonly trace?: string;
  readonly record?: string;
  readonly pcap?: string;
  readonly html?: string;
  readonly deviceErrors: DeviceErrors;
  readonly inject?: readonly string[];
  readonly seed?: number;
  readonly model?: string;
  readonly quiet?: true;
  readonly ui?: number | true;
}

export function execCommand(): Command {
  const command = new Command('exec')
    .description(
      'run a program with an emulated VFIO and emulated devices: DMA memory is faulted in, not pinned',
    )
    .argument('<program>', 'program to run')
    .argument('[args...]', 'its arguments')
    .option(
      '--device <KIND@BDF[,key=value...]>',
      'a device and its PCI address (repeatable); KIND: see Devices below, or your own: ./ring.ts, or a package',
      repeated,
    )
    .option('--machine <file>', 'groups, devices and IOMMU from a YAML file')
    .addOption(
      new Option(
        '--iopf <mode>',
        'I/O page faults: auto (on from VFIO_SET_IOMMU), ask (on from VFIO_IOMMU_ENABLE_IOPF), off (pin, as the kernel does); all: a run for each',
      )
        .choices([...modes, ALL])
        .default('auto'),
    )
    .addOption(
      new Option(
        '--kernel <version>',
        'the Linux version whose VFIO ABI the program sees; all: a run for each',
      )
        .choices([...kernelVersions, ALL])
        .default(DEFAULT_KERNEL),
    )
    .option(
      '--premap <pages>',
      `pages brought in per fault, 1 to ${PREMAP_MOST}`,
      wholeNumber(1, PREMAP_MOST, 'pages'),
      PREMAP_DEFAULT,
    )
    .option(
      '--reclaim <size>',
      "reclaim the program's resident memory down to this size, like 300M (needs CAP_SYS_NICE)",
      parseReclaim,
    )
    .option(
      '--reclaim-scan <ms>',
      'every so many milliseconds, look for pages that have left memory',
      wholeNumber(1, RECLAIM_SCAN_MOST_MS, 'milliseconds'),
    )
    .addOption(
      new Option(
        '--traps <mode>',
        'on: a mapped BAR answers each load and store as the device does; off: only its plain memory can be mapped',
      )
        .choices(['on', 'off'])
        .default('on'),
    )
    .addOption(
      new Option(
        '--device-errors <mode>',
        'what an error in a device of your own does: continue (the device is dead), or stop (the run ends)',
      )
        .choices(['continue', 'stop'])
        .default('continue'),
    )
    .option(
      '--inject <rule>',
      'put a fault in on purpose, or those of a YAML file (repeatable): see Faults below',
      repeated,
    )
    .option(
      '--model <name>',
      'page requests take the time of this cost model: stall, PRI, ODP or measured (docs/models.md), or a file',
    )
    .option('--seed <n>', 'of faults that come by chance', wholeNumber(0, 2 ** 32 - 1))
    .option(
      '--iommufd-test',
      "give /dev/iommu the interface of iommufd's own tests: a mock IOMMU (CONFIG_IOMMUFD_TEST)",
    )
    .addOption(jsonOption('the summary'))
    .option('--junit <file>', "write the runs as test cases in JUnit's XML")
    .option('--trace <file>', 'write a trace: kernel text, or Chrome/Perfetto JSON for *.json')
    .option('--record <file>', 'write a recording, for iopf compare and iopf trace')
    .option('--pcap <file>', 'write the frames of network cards as pcapng, for Wireshark')
    .option('--html <file>', 'write a self-contained HTML report')
    .addOption(uiOption())
    .option('--quiet', 'print no summary on stderr')
    .addHelpText('after', kindsHelp)
    .addHelpText('after', pointsHelp)
    .passThroughOptions()
    .action(run);
  return addSweepOptions(command);
}

async function run(program: string, args: string[], options: Options): Promise<void> {
  refuseReclaimOfPinned(options);
  const machine = await machineOf(options);
  const own = await ownPoints(options, machine);
  const inject = await injectOf(options, own);
  checkFiles(options, machine);
  const { iopf, kernel } = options;
  const isMatrix = iopf === ALL || kernel === ALL;
  if (isSweep(options, isMatrix)) return runEach(program, args, options, inject, own);
  if (isMatrix) return runAll(program, args, options);
  const times = await timesOf(options);
  const order: ExecOptions = {
    program,
    arguments: args,
    machine,
    kernel,
    iopf,
    premapPages: options.premap,
    reclaimBytes: options.reclaim ?? null,
    reclaimScanMs: options.reclaimScan ?? null,
    traps: options.traps === 'on',
    deviceErrors: options.deviceErrors,
    trace: options.trace ?? null,
    record: options.record ?? null,
    pcap: options.pcap ?? null,
    picture: options.html !== undefined,
    times,
    inject,
  };
  let view: CommandView | null = null;
  const start: LiveStart = { kind: 'start', ...startOf(order) };
  const keeper =
    options.html === undefined
      ? null
      : new (await import('../exec/live/run-keeper.js')).RunKeeper(start);
  const asks = options.ui !== undefined;
  const watcher: RunWatcher | null =
    keeper === null && !asks
      ? null
      : {
          asks,
          begin: async (source) => {
            if (asks) view = await openView(options.ui!, start, source);
          },
          tell: (message) => {
            keeper?.tell(message);
            view?.tell(message);
          },
        };
  try {
    const { summary, picture } = await runProgram(order, watcher);
    process.exitCode = exitCodeOf(summary);
    if (options.quiet !== true) say(`${formatSummary(summary)}\n`);
    if (options.junit !== undefined) {
      const { caseName, runsText } = await import('./junit.js');
      const { iopf, kernel, wallSeconds: seconds } = summary;
      const exitCode = exitCodeOf(summary);
      const only = { name: caseName(kernel, iopf), seconds, summary, exitCode };
      writeOutput(options.junit, runsText(program, [only]));
    }
    await report(summary, picture, options, keeper, view);
  } finally {
    (view as CommandView | null)?.close();
  }
}

/** A run for each point, with a fault there. */
async function runEach(
  program: string,
  args: string[],
  options: Options,
  inject: InjectOptions | null,
  own: readonly OwnPoint[],
): Promise<void> {
  refuseFilesOfOneRun(options, 'name the rule of one with --inject');
  const { sweepCommand } = await import('./sweep-command.js');
  const { iopf, kernel } = options;
  const seed = inject === null ? [] : ['--seed', `${inject.seed}`];
  const words = [...wordsOf(options), ...seed, '--kernel', kernel, '--iopf', iopf];
  await sweepCommand(words, [program, ...args], options, own);
}

/** A run for each kernel and mode. */
async function runAll(program: string, args: string[], options: Options): Promise<void> {
  refuseFilesOfOneRun(options, 'name one --kernel and one --iopf');
  const { exitCodeOfAll, formatMatrix, runMatrix } = await import('./matrix.js');
  const { iopf, kernel, seed } = options;
  const words = [...wordsOf(options), ...(seed === undefined ? [] : ['--seed', `${seed}`])];
  const runs = await runMatrix(
    kernel === ALL ? kernelVersions : [kernel],
    iopf === ALL ? modes : [iopf],
    words,
    [program, ...args],
    {
      jobs: options.jobs ?? 1,
      tellsEach: options.quiet !== true && process.stderr.isTTY === true,
    },
  );
  process.exitCode = exitCodeOfAll(runs);
  if (options.quiet !== true) say(`${formatMatrix(program, runs)}\n`);
  if (options.json !== undefined) {
    const results = runs.map(({ exitCode, iopf, kernel, summary }) => ({
      kernel,
      iopf,
      exitCode,
      run: summary,
    }));
    writeOutput(options.json, jsonText(documentOf('matrix', { runs: results })));
  }
  if (options.junit !== undefined) {
    const { runsText } = await import('./junit.js');
    writeOutput(options.junit, runsText(program, runs));
  }
}

function refuseFilesOfOneRun(options: Options, remedy: string): void {
  for (const each of ['html', 'pcap', 'record', 'trace', 'ui'] as const)
    if (options[each] !== undefined) throw new UserError(`--${each} is of one run: ${remedy}`);
}

/** Writes what was asked for, and lets the live view show its end. */
async function report(
  summary: RunSummary,
  picture: Picture | null,
  options: Options,
  keeper: RunKeeper | null,
  view: CommandView | null,
): Promise<void> {
  const document = documentOf('exec', summary);
  const end: LiveEnd = {
    kind: 'end',
    seconds: summary.wallSeconds,
    how: howItEnded(summary),
    summary: { ...document },
  };
  try {
    if (options.json !== undefined) writeOutput(options.json, jsonText(document));
    if (picture === null) return;
    const { formatReport } = await import('../report/html.js');
    const { runReport } = await import('../report/run-report.js');
    const drawn = runReport(summary, picture);
    if (options.html !== undefined && keeper !== null)
      writeOutput(options.html, formatReport({ ...drawn, run: keeper.saved(end) }));
    view?.tell({ kind: 'report', report: drawn });
  } catch (error) {
    tell((error as Error).message); // The program's exit code stands.
  }
  if (view === null) return;
  view.tell(end);
  await view.finish();
}

function startOf(order: ExecOptions): Omit<LiveStart, 'kind'> {
  const devices = order.machine.groups.flatMap((group) => group.devices);
  return {
    command: 'exec',
    title: `iopf exec ${order.program}`,
    facts: {
      program: order.program,
      arguments: order.arguments.join(' '),
      iopf: order.iopf,
      premap: order.premapPages,
      kernel: order.kernel,
      devices: devices.map(({ kind, address }) => `${kind} ${address}`).join(', '),
    },
  };
}

/** Points of devices of the user's own, whose modules are loaded where faults are asked for. */
async function ownPoints(options: Options, machine: MachineSpec): Promise<OwnPoint[]> {
  if (options.inject === undefined && options.injectEach === undefined) return [];
  return (await import('./own-points.js')).ownPointsOf(machine);
}

/** The faults that were asked for; null: none. Throws UserError. */
async function injectOf(
  { inject = [], iopf, seed }: Options,
  own: readonly OwnPoint[],
): Promise<InjectOptions | null> {
  if (inject.length === 0) {
    if (seed !== undefined) throw new UserError('--seed is of --inject, which is not there');
    return null;
  }
  const { injectOptions } = await import('./inject.js');
  return injectOptions(inject, seed, iopf, own);
}

async function timesOf({ model }: Options): Promise<RequestTimes | null> {
  return model === undefined ? null : (await import('./request-times.js')).requestTimes(model);
}

async function machineOf(options: Options): Promise<MachineSpec> {
  const machine = await machineAsked(options);
  if (options.iommufdTest !== true) return machine;
  return { ...machine, vfio: { ...machine.vfio, iommufdTest: true } };
}

async function machineAsked(options: Options): Promise<MachineSpec> {
  const devices: DeviceSpec[] = (options.device ?? []).map(parseDevice);
  if (options.machine === undefined) return machineOfDevices(devices);
  // Loaded only when asked for: the parsers cost a fifth of the start-up.
  const { parseMachine } = await import('../exec/machine/machine-file.js');
  const text = readNamed({ what: 'the machine file', path: options.machine }, TEXT_MOST_BYTES);
  const fromFile = parseMachine(text.toString(), options.machine);
  if (fromFile.geometry === null && devices.length > 0)
    throw new UserError(
      `${devices[0]!.where}: ${options.machine} has no IOMMU (iommu: none), so VFIO can have no device`,
    );
  return { ...fromFile, groups: [...fromFile.groups, ...machineOfDevices(devices).groups] };
}

/** Before the run. Throws UserError. */
function checkFiles(options: Options, machine: MachineSpec): void {
  const outputs: NamedFile[] = [];
  for (const key of ['json', 'junit', 'html', 'pcap', 'record', 'resume', 'trace'] as const) {
    const path = options[key];
    if (path !== undefined) outputs.push({ what: `--${key}`, path });
  }
  const inputs: NamedFile[] = [];
  if (options.machine !== undefined) inputs.push({ what: '--machine', path: options.machine });
  for (const { address, options: given } of machine.groups.flatMap(({ devices }) => devices))
    if (given['file'] !== undefined)
      inputs.push({ what: `file= of ${address}`, path: given['file'] });
  checkDistinct(outputs, inputs);
  for (const path of [options.json, options.junit, options.html])
    if (path !== undefined) checkOutput(path);
}

function parseReclaim(text: string): number {
  const size = parseSize(text);
  if (!(size > 0)) throw new InvalidArgumentError(`${SIZE_EXPECTED}, above 0, is needed.`);
  return size;
}

/** Throws UserError where memory would be taken away that is pinned. */
function refuseReclaimOfPinned({ iopf, reclaim, reclaimScan }: Options): void {
  if (iopf !== 'off' && iopf !== ALL) return;
  const option =
    reclaim !== undefined ? '--reclaim' : reclaimScan !== undefined ? '--reclaim-scan' : null;
  if (option !== null)
    throw new UserError(
      `${option} with --iopf off: memory that is mapped for DMA is then pinned, and cannot be ` +
        'reclaimed; drop --iopf off, or use --iopf ask',
    );
}
