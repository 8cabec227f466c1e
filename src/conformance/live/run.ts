/**
 * Replays vector files with real system calls, each case under `iopf exec` on the machine that it
 * was recorded on.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IommufdIoctl } from '../../abi/iommufd.js';
import { IOMMU_TEST_CMD } from '../../abi/iommufd-test.js';
import type { KernelVersion } from '../../abi/kernel.js';
import { packageFile } from '../../input/package-file.js';
import { recordedGeometry } from '../geometry.js';
import { notYet } from '../not-yet.js';
import { recordedKernel } from '../run.js';
import {
  type CaseFilter,
  everyCase,
  readVectors,
  type VectorCase,
  type VectorFile,
  type VectorStep,
} from '../vectors.js';
import { machineFile } from './machine-file.js';
import { type LiveFileResult, replayInProcesses } from './processes.js';

/** Why a case cannot be replayed under `iopf exec`; null: it can. */
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

/** Runs cases of a file under `iopf exec` on the recorded machine, as far as that can be. */
export function runLive(
  path: string,
  asked: KernelVersion,
  wanted: CaseFilter = everyCase,
): LiveFileResult {
  const file = readVectors(path);
  const kernel = recordedKernel(file, asked);
  const cases = file.cases.filter(({ name }) => wanted(name));
  return replayInProcesses(path, kernel, cases, {
    obstacle: (each) => obstacle(file, each),
    vars: {},
    apart: (each) => machineFile(file, each),
    under(machine, run) {
      const folder = mkdtempSync(join(tmpdir(), 'conformance-'));
      try {
        const machinePath = join(folder, 'machine.yaml');
        writeFileSync(machinePath, machine);
        const options = ['--quiet', '--iopf', 'off', '--kernel', kernel, '--machine', machinePath];
        return run([
          process.execPath,
          packageFile('dist/bundle/iopf.cjs'),
          'exec',
          ...options,
          '--',
        ]);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  });
}
