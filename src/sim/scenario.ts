/** Workloads without a recording, from YAML files. */
import { z } from 'zod';
import { someBytes } from '../input/schemas.js';
import { parseUserFile } from '../input/user-file.js';
import { PREMAP_MOST } from '../ioas/iopf/premap.js';
import type { Workload } from './workload.js';
import { block, blockIo } from './workloads/block.js';
import { messageLoop, messages } from './workloads/messages.js';
import { networkRing, ring } from './workloads/ring.js';
import { virtualMachine, vm, vms } from './workloads/vm.js';

const workload = z.discriminatedUnion('kind', [messages, ring, block, vm, vms]);

const publishedRow = z.strictObject({
  messageBytes: someBytes,
  premapPages: z.number().int().min(1).max(PREMAP_MOST),
  sends: z.number().int().positive(),
  faults: z.number().int(),
  slowdownPercent: z.number(),
});

const scenarioSchema = z.strictObject({
  about: z.string().optional(),
  /** Unless the command line names one. */
  model: z.string().default('odp'),
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
  if (data.published !== undefined && data.workload.kind !== 'messages')
    throw error(['published'], 'published rows are of workloads of the kind "messages"');
  return data;
}

/** What each guest of a scenario does. */
export function workloadsOf(scenario: Scenario): Workload[] {
  const spec = scenario.workload;
  switch (spec.kind) {
    case 'messages':
      return [messageLoop(spec)];
    case 'ring':
      return [networkRing(spec)];
    case 'block':
      return [blockIo(spec)];
    case 'vm':
      return [virtualMachine(spec)];
    case 'vms':
      return Array.from({ length: spec.count }, (_, index) =>
        virtualMachine(spec.vm, index * spec.apart),
      );
  }
}

/** The scenario of a published row: its workload with the row’s numbers. */
export function scenarioOfRow(scenario: Scenario, row: PublishedRow, sva: boolean): Scenario {
  const spec = scenario.workload;
  if (spec.kind !== 'messages') return scenario;
  const { messageBytes, sends } = row;
  const queue = sva ? { ...spec.queue, faults: false } : spec.queue;
  return { ...scenario, workload: { ...spec, messageBytes, sends, queue } };
}
