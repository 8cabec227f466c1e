/** The machines of `kind: vms`: a description, a recording, or a memory curve each. */
import { resolve } from 'node:path';
import { z } from 'zod';
import { type FileSource, hostFiles } from '../input/file-source.js';
import { UserError } from '../input/user-error.js';
import { eventsOf, parseRecording } from '../trace/recording.js';
import { RECORDING_MOST_BYTES } from '../trace/recording-format.js';
import { importText, SOURCE_MOST_BYTES } from './import/index.js';
import { type Events, replayOf } from './replay.js';
import type { Workload } from './workload.js';
import { virtualMachine, vmSpec } from './workloads/vm.js';

/** Exactly one of `vm`, `recording` and `memoryCurve`. */
export const machineFields = {
  vm: vmSpec.optional().describe('a machine that boots from its disk, and idles'),
  recording: z
    .string()
    .optional()
    .describe('a recording (iopf exec --record, iopf import), beside the scenario'),
  memoryCurve: z
    .string()
    .optional()
    .describe('CSV of time and resident bytes, beside the scenario: as iopf import reads it'),
};

export type MachineSource = {
  readonly [key in keyof typeof machineFields]?: z.output<(typeof machineFields)[key]>;
};

/** What is wrong with a source, or null. */
export function sourceMistake({ memoryCurve, recording, vm }: MachineSource): string | null {
  const given = [vm, recording, memoryCurve].filter((each) => each !== undefined).length;
  return given === 1 ? null : 'exactly one of vm, recording and memoryCurve is needed';
}

/** The file that a source names, or null. */
export function fileOf({ memoryCurve, recording }: MachineSource, folder: string): string | null {
  const name = recording ?? memoryCurve;
  return name === undefined ? null : resolve(folder, name);
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
  const { memoryCurve, recording, vm } = source;
  if (vm !== undefined) return (startUs = 0) => virtualMachine(vm, startUs);
  const events =
    recording === undefined
      ? curveEvents(folder, memoryCurve!, files)
      : recorded(folder, recording, files);
  return (startUs = 0) => replayOf(events, startUs);
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
