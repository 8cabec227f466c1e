/** Workloads without a recording, from YAML files. */
import { z } from 'zod';
import { bytesUpTo, formatKey, TRANSFER_MOST_BYTES, times } from '../input/schemas.js';
import { parseUserFile } from '../input/user-file.js';
import { PREMAP_MOST } from '../ioas/iopf/premap.js';
import { sourceMistake, sourceOf } from './machine-source.js';
import { block } from './workloads/block.js';
import { messages } from './workloads/messages.js';
import { ring } from './workloads/ring.js';
import { type Vm, vm } from './workloads/vm.js';
import { type Vms, vms } from './workloads/vms.js';

const COMMANDS_MOST = 1e9;

const workload = z.discriminatedUnion('kind', [messages, ring, block, vm, vms]);

const publishedRow = z.strictObject({
  messageBytes: bytesUpTo(TRANSFER_MOST_BYTES, '256M'),
  premapPages: z.number().int().min(1).max(PREMAP_MOST),
  sends: times,
  faults: z.number().int(),
  slowdownPercent: z.number(),
});

export const scenarioSchema = z.strictObject({
  schema: formatKey('scenario'),
  about: z.string().optional(),
  model: z.string().default('odp').describe('unless the command line names one'),
  policies: z.array(z.string()).min(1).optional(),
  workload,
  /** Published figures, shown beside the model's. */
  published: z
    .strictObject({
      source: z.string(),
      vfioIopf: z.array(publishedRow),
      hostSva: z.array(publishedRow).default([]),
    })
    .optional(),
});

export type Scenario = z.output<typeof scenarioSchema>;
export type PublishedRow = z.output<typeof publishedRow>;

/**
 * Parses a scenario; `name` is how errors call it. Throws UserError with the line and what is
 * allowed.
 */
export function parseScenario(text: string, name: string): Scenario {
  const { data, error } = parseUserFile(text, name, scenarioSchema);
  for (const [path, what] of tooMuch(data.workload)) throw error(['workload', ...path], what);
  if (data.published !== undefined && data.workload.kind !== 'messages')
    throw error(['published'], 'published rows are of workloads of the kind "messages"');
  return data;
}

/** What does not fit into what it is part of, by the key where it stands. */
function* tooMuch(spec: Scenario['workload']): Generator<[path: string[], what: string]> {
  switch (spec.kind) {
    case 'block':
      if (spec.buffers > spec.memory) yield [['buffers'], 'are more than memory'];
      if (spec.ioBytes > spec.buffers) yield [['ioBytes'], 'are more than buffers'];
      break;
    case 'ring':
      if (spec.pool > spec.memory) yield [['pool'], 'is more than memory'];
      if (spec.bufferBytes > spec.pool) yield [['bufferBytes'], 'are more than pool'];
      break;
    case 'messages':
      if (spec.messageBytes > spec.memory) yield [['messageBytes'], 'are more than memory'];
      break;
    case 'vm':
      yield* tooMuchOfVm(spec);
      break;
    case 'vms':
      yield* mistakesOfVms(spec);
  }
}

function* mistakesOfVms(spec: Vms): Generator<[path: string[], what: string]> {
  const { count, machines, vm } = spec;
  if (machines === undefined) {
    const mistake = sourceMistake(spec);
    if (mistake !== null) yield [[], mistake];
    if (count === undefined) yield [['count'], 'is needed where there are no machines'];
    if (vm !== undefined) for (const [path, what] of tooMuchOfVm(vm)) yield [['vm', ...path], what];
    return;
  }
  if (count !== undefined || Object.keys(sourceOf(spec)).length > 0)
    yield [['machines'], 'stand in the place of count and of what one machine is'];
  for (const [index, machine] of machines.entries()) {
    const place = ['machines', String(index)];
    const mistake = sourceMistake(machine);
    if (mistake !== null) yield [place, mistake];
    if (machine.vm === undefined) continue;
    for (const [path, what] of tooMuchOfVm(machine.vm)) yield [[...place, 'vm', ...path], what];
  }
}

function* tooMuchOfVm(spec: Vm): Generator<[path: string[], what: string]> {
  const { memory, boot, givenBack, idle } = spec;
  for (const key of ['reads', 'touched'] as const)
    if (boot[key] > memory) yield [['boot', key], 'is more than memory'];
  if (givenBack > memory) yield [['givenBack'], 'is more than memory'];
  if (idle.workingSet > memory) yield [['idle', 'workingSet'], 'is more than memory'];
  if ((idle.time / 1e6) * idle.iosPerSecond > COMMANDS_MOST)
    yield [['idle', 'iosPerSecond'], 'makes more than 1000000000 commands'];
}

/** The scenario of a published row: its workload with the row’s numbers. */
export function scenarioOfRow(scenario: Scenario, row: PublishedRow, sva: boolean): Scenario {
  const spec = scenario.workload;
  if (spec.kind !== 'messages') return scenario;
  const { messageBytes, sends } = row;
  const queue = sva ? { ...spec.queue, faults: false } : spec.queue;
  return { ...scenario, workload: { ...spec, messageBytes, sends, queue } };
}
