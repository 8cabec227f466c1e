/** What a machine is, as users write it: a description, or a file of one of three kinds. */
import { resolve } from 'node:path';
import { z } from 'zod';
import { vmSpec } from './workloads/vm.js';

/** Exactly one of them. */
export const machineFields = {
  vm: vmSpec.optional().describe('a machine that boots from its disk, and idles'),
  scenario: z
    .string()
    .optional()
    .describe('a scenario of one machine, beside this file: of it the workload counts'),
  recording: z
    .string()
    .optional()
    .describe('a recording (iopf exec --record, iopf import), beside this file'),
  memoryCurve: z
    .string()
    .optional()
    .describe('CSV of time and resident bytes, beside this file: as iopf import reads it'),
};

export type MachineSource = {
  readonly [key in keyof typeof machineFields]?: z.output<(typeof machineFields)[key]>;
};

const names = Object.keys(machineFields) as (keyof typeof machineFields)[];

/** A source alone, of what has other keys, too. */
export function sourceOf(from: MachineSource): MachineSource {
  return Object.fromEntries(
    names.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]]])),
  );
}

/** What is wrong with a source, or null. */
export function sourceMistake(source: MachineSource): string | null {
  if (Object.keys(sourceOf(source)).length === 1) return null;
  return 'exactly one of vm, scenario, recording and memoryCurve is needed';
}

/** The file that a source names, or null. */
export function fileOf(source: MachineSource, folder: string): string | null {
  const name = source.scenario ?? source.recording ?? source.memoryCurve;
  return name === undefined ? null : resolve(folder, name);
}
