/** Replays vector files against the VFIO of this machine's kernel. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { KernelVersion } from '../../abi/kernel.js';
import { UserError } from '../../input/user-error.js';
import { recordedKernel } from '../run.js';
import {
  type CaseFilter,
  type Difference,
  readVectors,
  usesTestInterface,
  type VectorCase,
  type VectorFile,
} from '../vectors.js';
import { type LiveFileResult, replayInProcesses } from './processes.js';

/** A device of the recording (`d0`, `d2a`) and the address of the one that is in its place. */
export type HostDevices = ReadonlyMap<string, string>;

/** Throws UserError: there is no VFIO, or nobody but root may use it. */
export function checkHost(): void {
  if (!existsSync('/dev/vfio/vfio') && !existsSync('/dev/iommu'))
    throw new UserError(
      'this machine has neither /dev/vfio/vfio nor /dev/iommu: its kernel needs an IOMMU and ' +
        "vfio-pci (docs/conformance.md); without --against host iopf's own VFIO is asked",
    );
  if (process.getuid!() !== 0)
    throw new UserError('--against host needs root: the cases set limits and drop capabilities');
}

/** The names of the recording that these devices stand for. Throws UserError. */
export function hostVars(devices: HostDevices): Readonly<Record<string, string>> {
  const vars: Record<string, string> = {};
  for (const [name, address] of devices) {
    const folder = `/sys/bus/pci/devices/${address}`;
    try {
      vars[name] = address;
      vars[`g${name.slice(1).replace(/[a-z]$/, '')}`] = basename(
        readlinkSync(`${folder}/iommu_group`),
      );
    } catch {
      throw new UserError(`--device ${name}=${address}: there is no such device in an IOMMU group`);
    }
    const cdevs = `${folder}/vfio-dev`;
    const cdev = existsSync(cdevs) ? readdirSync(cdevs)[0] : undefined;
    if (cdev !== undefined) vars[name.replace('d', 'v')] = cdev;
  }
  return vars;
}

/** Runs cases of a file, as far as this machine has what they need. */
export function runHost(
  path: string,
  asked: KernelVersion,
  wanted: CaseFilter,
  vars: Readonly<Record<string, string>>,
): LiveFileResult {
  const file = readVectors(path);
  const kernel = recordedKernel(file, asked);
  const cases = file.cases.filter(({ name }) => wanted(name));
  const result = replayInProcesses(path, kernel, cases, {
    obstacle: (each) => obstacle(file, each, asked, vars),
    vars,
    apart: () => '',
    under: (_, run) => run([]),
  });
  if (!isOfItsDevices(file)) return result;
  const results = result.results.map((each) => ({
    ...each,
    differences: each.differences.filter(isOfErrno),
  }));
  return { ...result, results };
}

/** Answers that are the recorded devices' own: of others the errnos alone count. */
function isOfItsDevices({ deviceSpecific }: VectorFile): boolean {
  return deviceSpecific !== undefined;
}

function isOfErrno({ expected }: Difference): boolean {
  return expected.errno !== undefined;
}

function obstacle(
  file: VectorFile,
  vectorCase: VectorCase,
  asked: KernelVersion,
  vars: Readonly<Record<string, string>>,
): string | null {
  const { setup, steps } = vectorCase;
  if (!/^(main|iommufd)-/.test(file.boot)) return `recorded on another machine (${file.boot})`;
  if (recordedKernel(file, asked) !== asked) return `no answers of Linux ${asked}`;
  const lacking = needed(file, vectorCase).filter((name) => vars[name] === undefined);
  if (lacking.length > 0) return `needs ${lacking.join(', ')} of the recording: --device`;
  if (usesTestInterface(vectorCase)) return "iommufd's test interface";
  if (setup.dmaEntryLimit !== undefined || setup.moduleParams !== undefined)
    return 'parameters of modules';
  if (steps.some(({ op }) => op === 'fork')) return 'fork: Node cannot fork without exec';
  if (steps.some(({ op }) => op === 'sysfsWrite' || op === 'sysfsRead' || op === 'ls'))
    return 'drivers and groups of the recorded machine';
  if (setup.memory.some(({ kind }) => kind.startsWith('hugetlb'))) return 'huge pages';
  const copies = steps.some(({ op }) => op === 'deviceCopy');
  if (copies && !isEdu(vars)) return "devices are not QEMU's edu";
  return null;
}

/** Names in braces, and of the descriptors that a case opens. */
function needed({ machine }: VectorFile, { steps }: VectorCase): string[] {
  const found = new Set<string>();
  for (const { arg, path, value } of steps) {
    const texts = [path, value, typeof arg === 'object' ? arg.str : undefined];
    for (const text of texts)
      for (const [, name] of (text ?? '').matchAll(/\{(\w+)\}/g))
        if (machine.vars[name!] !== undefined) found.add(name!);
  }
  return [...found].sort();
}

function isEdu(vars: Readonly<Record<string, string>>): boolean {
  return Object.entries(vars)
    .filter(([name]) => name.startsWith('d'))
    .every(([, address]) => {
      const id = (file: string) =>
        readFileSync(`/sys/bus/pci/devices/${address}/${file}`, 'latin1').trim();
      return id('vendor') === '0x1234' && id('device') === '0x11e8';
    });
}
