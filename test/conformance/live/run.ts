/**
 * Replays vector files with real system calls, each case under `iopf exec` on the machine that it
 * was recorded on.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { IommufdIoctl } from '../../../src/abi/iommufd.js';
import { IOMMU_TEST_CMD } from '../../../src/abi/iommufd-test.js';
import type { KernelVersion } from '../../../src/abi/kernel.js';
import { DEVICES } from '../fixtures.js';
import { hasIommu, recordedGeometry } from '../geometry.js';
import { notYet } from '../not-yet.js';
import { recordedKernel } from '../run.js';
import {
  readVectors,
  usesTestInterface,
  type VectorCase,
  type VectorFile,
  type VectorStep,
} from '../vectors.js';
import type { LiveResult } from './main.js';

/** The project's root: where npm runs scripts and tests. */
const repository = process.cwd();
const iopf = join(repository, 'dist/bundle/iopf.cjs');
const replayer = join(repository, 'dist/test/conformance/live/main.js');
const devices = join(repository, DEVICES);

export interface LiveFileResult {
  readonly path: string;
  readonly kernel: KernelVersion;
  readonly results: readonly LiveResult[];
  /** Cases that were not run, and why. */
  readonly skipped: readonly {
    readonly name: string;
    readonly steps: number;
    readonly why: string;
  }[];
}

/** Cases that one process replays. */
interface LiveRun {
  readonly machine: string;
  readonly capIpcLock: boolean;
  readonly names: string[];
}

/** Why a case cannot be replayed from user space in a sandbox; null: it can. */
function obstacle(file: VectorFile, vectorCase: VectorCase): string | null {
  const { steps, setup } = vectorCase;
  const tellsRegisters = steps.some(({ nr }) => nr === IommufdIoctl.IOMMU_GET_HW_INFO);
  if (recordedGeometry(file).cachingMode === true && tellsRegisters)
    return 'caching mode is no key of machine files';
  const lacks = notYet(vectorCase);
  if (lacks !== null) return `not yet: ${lacks}`;
  if (steps.some(setsLimitMode) && !hasSysResource()) return 'needs CAP_SYS_RESOURCE';
  if (steps.some(isOpenOneWay)) return 'descriptors that may not read or write (docs/limits.md)';
  if (steps.some(({ op, prot }) => op === 'mprotect' && prot === 'w'))
    return 'memory that may be written and not read (docs/limits.md)';
  if (steps.some(({ op }) => op === 'fork')) return 'fork: Node cannot fork without exec';
  if (steps.some(({ op }) => op === 'sysfsWrite' || op === 'sysfsRead'))
    return 'driver binding in sysfs';
  if (setup.memory.some(({ kind }) => kind.startsWith('hugetlb'))) return 'huge pages';
  if (setup.moduleParams?.['disable_hugepages'] !== undefined)
    return 'module parameter disable_hugepages';
  if (steps.some((step, index) => usesPages(step) && steps.slice(0, index).some(takesPages)))
    return 'a device that uses pinned memory after munmap (docs/limits.md)';
  if (process.getuid!() !== 0) return 'needs root (CAP_IPC_LOCK, limits)';
  return null;
}

/** Of VFIO's files: the shadow's descriptors are all open both ways. */
function isOpenOneWay({ op, path, flags = 2 }: VectorStep): boolean {
  return op === 'open' && path!.startsWith('/dev/') && (flags & 3) !== 2;
}

/** IOMMU_OPTION_RLIMIT_MODE is set. */
function setsLimitMode({ nr, arg, errno }: VectorStep): boolean {
  if (nr !== IommufdIoctl.IOMMU_OPTION || errno !== null) return false;
  return typeof arg === 'object' && arg.in?.slice(8, 20) === '000000000000';
}

function hasSysResource(): boolean {
  const effective = /^CapEff:\s+(\w+)/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]!;
  const CAP_SYS_RESOURCE = 24;
  return (Number.parseInt(effective.slice(-8), 16) & (1 << CAP_SYS_RESOURCE)) !== 0;
}

/** A device reaches memory, or the test interface compares it with what is mapped. */
function usesPages({ op, nr, arg }: VectorStep): boolean {
  const isCheck = typeof arg === 'object' && arg.in?.slice(8, 16) === '03000000';
  return op === 'deviceCopy' || (nr === IOMMU_TEST_CMD && isCheck);
}

function takesPages({ op, advice }: VectorStep): boolean {
  return op === 'munmap' || op === 'mremap' || advice === 'MADV_DONTNEED';
}

/** Runs every case of a file that can be run, or the one with this name. */
export function runLive(path: string, asked: KernelVersion, only?: string): LiveFileResult {
  const file = readVectors(path);
  const kernel = recordedKernel(file, asked);
  const cases = file.cases.filter(({ name }) => only === undefined || name === only);
  const skipped = cases.flatMap((each) => {
    const why = obstacle(file, each);
    return why === null ? [] : [{ name: each.name, steps: each.steps.length, why }];
  });
  /**
   * Cases by machine, privilege and limit (which cannot be raised again): each set is one run of
   * the replay program.
   */
  const runs = new Map<string, LiveRun>();
  for (const each of cases) {
    if (obstacle(file, each) !== null) continue;
    const machine = machineFile(file, each);
    const { capIpcLock, rlimitMemlock } = each.setup;
    // What it drops it cannot take back for the next case.
    const alone = each.steps.some(({ op }) => op.startsWith('dropCap')) ? each.name : '';
    const key = `${capIpcLock} ${rlimitMemlock} ${alone} ${machine}`;
    const run = runs.get(key) ?? { machine, capIpcLock, names: [] };
    run.names.push(each.name);
    runs.set(key, run);
  }
  const results = [...runs.values()].flatMap((run) => replay(path, kernel, run));
  return { path, kernel, results, skipped };
}

function replay(path: string, kernel: KernelVersion, run: LiveRun): LiveResult[] {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
  try {
    const machine = join(folder, 'machine.yaml');
    writeFileSync(machine, run.machine);
    const privilege = run.capIpcLock
      ? []
      : ['setpriv', '--bounding-set=-ipc_lock', '--inh-caps=-ipc_lock'];
    const options = [
      'exec',
      '--quiet',
      '--iopf',
      'off',
      '--kernel',
      kernel,
      '--machine',
      machine,
      '--',
    ];
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      [iopf, ...options, ...privilege, process.execPath, replayer, kernel, path, ...run.names],
      { encoding: 'utf8', maxBuffer: 1 << 28, timeout: 120_000 },
    );
    const results = stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as LiveResult);
    if (status !== 0 || results.length !== run.names.length)
      throw new Error(
        `the replay of ${path} ended with ${status} after ${results.length} cases: ${stderr}`,
      );
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The recording's machine for `iopf exec --machine`. */
function machineFile(file: VectorFile, vectorCase: VectorCase): string {
  const { setup } = vectorCase;
  const { vars = {} } = file.machine;
  const parameters = setup.moduleParams ?? {};
  const limit = setup.dmaEntryLimit ?? parameters['dma_entry_limit'];
  const geometry = recordedGeometry(file);
  const device = (kind: string, name: string, options: Record<string, string> = {}) => ({
    kind,
    address: vars[name]!,
    options,
  });
  // The recorded edu devices reach every address.
  const edu = (name: string) => device('edu', name, { dma_mask: `${2 ** 53 - 1}` });
  const recorded = (name: string, model: string) =>
    device('recorded', name, { file: join(devices, `${model}.yaml`) });
  const groups: Record<string, () => unknown[]> = {
    g0: () => [edu('d0')],
    g1: () => [edu('d1')],
    g2: () => [edu('d2a'), edu('d2b')],
    g3: () => [recorded('d3', 'pci-testdev')],
    g4: () => [edu('d4')],
    g5: () => [recorded('d5', 'e1000e')],
    g6: () => [recorded('d6', 'nvme')],
  };
  const vfio = {
    ...(limit === undefined ? {} : { dmaEntryLimit: Number(limit) }),
    allowUnsafeInterrupts: parameters['allow_unsafe_interrupts'] === '1',
    type1Module: !file.boot.startsWith('notype1'),
    container: file.boot.startsWith('container') ? 'iommufd' : 'type1',
    // Of the other recordings the kernels had no files of devices.
    cdev: vars['v0'] !== undefined,
    iommufdTest: usesTestInterface(vectorCase),
  };
  if (!hasIommu(file)) return stringify({ iommu: 'none', vfio });
  return stringify({
    iommu: {
      addressWidth: geometry.addressWidth,
      snoopControl: geometry.snoopControl,
      interruptRemapping: geometry.interruptRemapping,
      reserved: geometry.reserved.map(({ firstPage, pages, kind }) => ({
        start: firstPage * 4096,
        size: pages * 4096,
        kind,
      })),
    },
    vfio,
    groups: Object.entries(groups)
      .filter(([name]) => vars[name] !== undefined)
      .map(([name, make]) => ({ number: Number(vars[name]), devices: make() })),
  });
}
