/**
 * The figures of small inputs of each kind under each kind of policy, as they were when they were
 * last looked at: figures.json. A change of the model of a cost, of a workload or of what is
 * counted shows here first; IOPF_FIGURES=write takes the new ones over.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Scenario } from '../../src/sim/api/index.js';
import { compare } from '../../src/sim/compare.js';
import { oldRecording } from '../trace/old-recordings.js';

const FILE = new URL('figures.json', import.meta.url);
const isWriting = process.env['IOPF_FIGURES'] === 'write';
const known: Record<string, unknown> = JSON.parse(readFileSync(FILE, 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'test-figures-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
  if (isWriting) writeFileSync(FILE, `${JSON.stringify(known, null, 2)}\n`);
});

const policies = ['static', 'iopf', 'iopf:premap=8', 'iopf:premap=adaptive', 'iopf:prefetch'];
const block = {
  kind: 'block',
  memory: '8M',
  buffers: '2M',
  pattern: 'random',
  ioBytes: '16K',
  ios: 600,
  writes: 0.5,
  latency: '20us',
  bandwidth: '3G',
} as const;
const vm = {
  memory: '16M',
  boot: { reads: '3M', touched: '5M', bandwidth: '2G', latency: '50us' },
  givenBack: '4M',
  idle: { time: '2s', workingSet: '1M', iosPerSecond: 300 },
} as const;
const ring = {
  kind: 'ring',
  memory: '16M',
  pool: '2M',
  bufferBytes: 2048,
  entries: 64,
  packets: 3000,
  packetsPerSecond: 500000,
  packetTime: '1us',
} as const;

const inputs: Record<string, Scenario> = {
  'block, random': { model: 'fast', workload: block },
  'block, sequential': { model: 'fast', workload: { ...block, pattern: 'sequential', writes: 0 } },
  'ring, in order': { model: 'odp', workload: { ...ring, recycle: 'fifo' } },
  'ring, last in first out': { model: 'odp', workload: { ...ring, recycle: 'lifo' } },
  vm: { model: 'fast', workload: { kind: 'vm', ...vm } },
  messages: {
    model: 'kunpeng920-stall',
    workload: {
      kind: 'messages',
      memory: '64M',
      messageBytes: '256K',
      sends: 5,
      contexts: 2,
      setup: '2.85ms',
      bandwidth: 3566530612,
      queue: { submissionBytes: 128, completionBytes: 16, entries: 256, tablePages: 4 },
    },
    published: {
      source: 'nowhere',
      vfioIopf: [
        { messageBytes: '512K', premapPages: 8, sends: 3, faults: 100, slowdownPercent: 50 },
      ],
      hostSva: [{ messageBytes: '1M', premapPages: 1, sends: 2, faults: 200, slowdownPercent: 60 }],
    },
  },
};

/** What a comparison says, its series as sums that differ where any number does. */
async function figures(
  source: string | Scenario,
  asked: readonly string[],
  seed: number,
): Promise<unknown[]> {
  const input =
    typeof source === 'string' ? source : { name: 'input', text: JSON.stringify(source) };
  const order = { inputs: [input], policies: asked, model: null, seed, withMaps: true };
  const { outcomes, comparison } = await compare(order);
  const sum = (value: unknown): string =>
    createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);
  const runs = outcomes.map((outcome) => {
    if (outcome.kind !== 'done') return outcome;
    const { row, detail } = outcome;
    const { timeline, map, ...rest } = detail;
    return {
      ...row,
      input: 'input',
      ...rest,
      timeline: sum(timeline),
      map: map === null ? null : sum(map),
    };
  });
  const { overcommit = [], published = [], publishedHostSva = [] } = comparison;
  return [...runs, ...overcommit, ...published, ...publishedHostSva];
}

function expectKnown(name: string, seen: unknown): void {
  const plain = JSON.parse(JSON.stringify(seen));
  if (isWriting) known[name] = plain;
  expect(plain).toEqual(known[name]);
}

test.each(Object.entries(inputs))('%s', async (name, scenario) => {
  expectKnown(name, await figures(scenario, policies, 1));
});

test('machines on a host, with memory for all, for a few, and the least that does', async () => {
  const workload = { kind: 'vms', count: 3, apart: '100ms', slowdownBound: 10, vm } as const;
  const asked = ['static', 'iopf', 'iopf:premap=8', 'iopf:memory=12M', 'static:memory=12M'];
  expectKnown('machines', await figures({ model: 'fast', workload }, asked, 3));
});

test('machines of several kinds on a host of a size, one recorded and one by its memory', async () => {
  writeFileSync(join(folder, 'recorded'), oldRecording('99bb43c-reclaim'));
  writeFileSync(join(folder, 'curve'), 'time,bytes\n0,1048576\n1,3145728\n2,2097152\n3,4194304\n');
  const machines = [
    { name: 'web', count: 3, vm },
    { name: 'recorded', count: 2, recording: 'recorded' },
    { name: 'curve', count: 1, memoryCurve: 'curve' },
  ];
  const workload = { kind: 'vms', host: '40M', apart: '50ms', slowdownBound: 15, machines };
  const path = join(folder, 'fleet.yaml');
  writeFileSync(path, JSON.stringify({ model: 'fast', workload }));
  const rows = await figures(path, ['static', 'iopf', 'iopf:premap=8'], 2);
  const named = (row: unknown): unknown => ({ ...(row as object), input: 'input' });
  expectKnown('fleet', rows.map(named));
});

test.each(['7ed6646-copy', '7ed6646-munmap', '99bb43c-reclaim'])(
  'the recording %s',
  async (name) => {
    const path = join(folder, 'recorded');
    const old = readFileSync(`test/trace/recordings/${name}.base64`, 'latin1');
    writeFileSync(path, Buffer.from(old, 'base64'));
    expectKnown(name, await figures(path, policies, 1));
  },
);
