/** What scenarios and the machines in them do. */
import { resolve } from 'node:path';
import { type FileSource, hostFiles } from '../input/file-source.js';
import { TEXT_MOST_BYTES } from '../input/named-file.js';
import { UserError } from '../input/user-error.js';
import { eventsOf, parseRecording } from '../trace/recording.js';
import { RECORDING_MOST_BYTES } from '../trace/recording-format.js';
import { importText, SOURCE_MOST_BYTES } from './import/index.js';
import { fileOf, type MachineSource } from './machine-source.js';
import type { MachineKind } from './overcommit.js';
import { type Events, replayOf } from './replay.js';
import { parseScenario, type Scenario } from './scenario.js';
import type { Workload } from './workload.js';
import { blockIo } from './workloads/block.js';
import { messageLoop } from './workloads/messages.js';
import { networkRing } from './workloads/ring.js';
import { pagesTouched, virtualMachine } from './workloads/vm.js';
import type { Vms } from './workloads/vms.js';

/** What each guest of a scenario does; names of files are relative to `folder`. */
export function workloadsOf(
  scenario: Scenario,
  folder = '.',
  files: FileSource = hostFiles,
): Workload[] {
  const { workload: spec } = scenario;
  if (spec.kind !== 'vms') return [workloadOf(spec, 0)];
  return kindsOf(spec, folder, files)
    .flatMap(({ count, workload }) => Array.from({ length: count }, () => workload))
    .map((workload, index) => workload(index * spec.apart));
}

function workloadOf(spec: Exclude<Scenario['workload'], Vms>, startUs: number): Workload {
  switch (spec.kind) {
    case 'messages':
      return messageLoop(spec, startUs);
    case 'ring':
      return networkRing(spec, startUs);
    case 'block':
      return blockIo(spec, startUs);
    case 'vm':
      return virtualMachine(spec, startUs);
  }
}

/** The kinds of machines of `vms`. Throws UserError. */
export function kindsOf(spec: Vms, folder: string, files: FileSource = hostFiles): MachineKind[] {
  return machinesOf(spec).map((machine) => ({
    name: machine.name,
    count: machine.count,
    workload: machineOf(machine, folder, files),
  }));
}

/** What machines use at least, all together, in pages: of recordings it is not known. */
export function usedPages(spec: Vms): number {
  return machinesOf(spec).reduce(
    (sum, { count, vm }) => sum + (vm === undefined ? 0 : count * pagesTouched(vm)),
    0,
  );
}

function machinesOf(spec: Vms) {
  return spec.machines ?? [{ ...spec, name: 'machine', count: spec.count! }];
}

/** The files that a scenario names. */
export function filesOf({ workload }: Scenario, folder: string): string[] {
  if (workload.kind !== 'vms') return [];
  return machinesOf(workload).flatMap((machine) => fileOf(machine, folder) ?? []);
}

/**
 * What a machine does, which begins at `startUs`. Files are read once. Paths are relative to
 * `folder`. Throws UserError.
 */
export function machineOf(
  source: MachineSource,
  folder: string,
  files: FileSource = hostFiles,
): (startUs?: number) => Workload {
  const { memoryCurve, recording, scenario, vm } = source;
  if (vm !== undefined) return (startUs = 0) => virtualMachine(vm, startUs);
  if (scenario !== undefined) {
    const spec = oneMachine(folder, scenario, files);
    return (startUs = 0) => workloadOf(spec, startUs);
  }
  const events =
    recording === undefined
      ? curveEvents(folder, memoryCurve!, files)
      : recorded(folder, recording, files);
  return (startUs = 0) => replayOf(events, startUs);
}

function oneMachine(folder: string, name: string, files: FileSource) {
  const path = resolve(folder, name);
  const text = files.read({ what: 'a scenario', path }, TEXT_MOST_BYTES).toString();
  const { workload } = parseScenario(text, name);
  if (workload.kind === 'vms')
    throw new UserError(`${name} has several machines (kind: vms): a scenario of one is needed`);
  return workload;
}

function recorded(folder: string, name: string, files: FileSource): Events {
  const path = resolve(folder, name);
  const recording = parseRecording(
    files.read({ what: 'a recording', path }, RECORDING_MOST_BYTES),
    name,
  );
  if (recording.damage !== null)
    throw new UserError(`${name} is damaged: ${recording.damage.message}`);
  return (progress) => eventsOf(recording, progress);
}

function curveEvents(folder: string, name: string, files: FileSource): Events {
  const path = resolve(folder, name);
  const text = files.read({ what: 'a memory curve', path }, SOURCE_MOST_BYTES).toString();
  const { events } = importText(text, name, 'memory-curve');
  return () => events;
}
