import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UserError } from '../../src/input/user-error.js';
import { inlineRunner } from '../../src/jobs/inline.js';
import { formatComparison } from '../../src/report/table.js';
import { compare } from '../../src/sim/compare.js';
import { importText } from '../../src/sim/import/index.js';
import { readModel } from '../../src/sim/input.js';
import { workloadsOf } from '../../src/sim/machines.js';
import { defaultPolicies, parsePolicy } from '../../src/sim/policy.js';
import { type RunRow, runOnce } from '../../src/sim/run.js';
import { parseScenario } from '../../src/sim/scenario.js';
import { compareKind } from '../../src/sim/task.js';
import { recordEvents } from '../../src/trace/event-recorder.js';

const folder = mkdtempSync(join(tmpdir(), 'iopf-compare-'));
afterAll(() => rmSync(folder, { recursive: true }));

const BLOCK = `model: fast
workload:
  kind: block
  memory: 64M
  buffers: 32M
  pattern: random
  ioBytes: 16K
  ios: 3000
  writes: 0.5
  latency: 20us
  bandwidth: 3G
`;

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function runs(
  text: string,
  policies: readonly string[],
  seed = 1,
): Promise<readonly RunRow[]> {
  const order = { inputs: [file('input.yaml', text)], policies, model: null, seed };
  return (await compare(order)).comparison.runs;
}

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
  return 'nothing was thrown';
}

describe('a comparison', () => {
  it('has the fields that are documented, and no others', async () => {
    const [row] = await runs(BLOCK, ['iopf']);
    expect(Object.keys(row!)).toEqual(
      (
        'input policy model seed mappedBytesPeak pinnedBytesPeak residentBytesPeak residentBytesMean faults ' +
        'pagesFaultedIn pagesNeverUsed stallSeconds slowdownPercent rampSeconds invalidations'
      ).split(' '),
    );
  });

  it('pins everything and stalls never under static, and pins nothing and stalls under iopf', async () => {
    const [pinned, iopf] = await runs(BLOCK, ['static', 'iopf']);
    const all = 64 * 2 ** 20;
    expect(pinned).toMatchObject({
      mappedBytesPeak: all,
      pinnedBytesPeak: all,
      residentBytesPeak: all,
    });
    expect(pinned).toMatchObject({
      faults: 0,
      stallSeconds: 0,
      slowdownPercent: 0,
      rampSeconds: 0,
    });
    expect(iopf).toMatchObject({ mappedBytesPeak: all, pinnedBytesPeak: 0, pagesNeverUsed: 0 });
    expect(iopf!.faults).toBe(iopf!.residentBytesPeak / 4096);
    // The model's handling of a minor fault, 4.6 us, and nothing else.
    expect(iopf!.stallSeconds).toBeCloseTo(iopf!.faults * 4.6e-6, 9);
    expect(iopf!.slowdownPercent).toBeGreaterThan(0);
    expect(iopf!.residentBytesMean).toBeLessThan(iopf!.residentBytesPeak);
  });

  it('counts pages that were brought in and never used', async () => {
    const one = BLOCK.replace('ios: 3000', 'ios: 1').replace('16K', '4K');
    const [row] = await runs(one, ['iopf:premap=8']);
    // Two queue entries in one window of 8 (pages 0 to 7), and the buffer's window; the third and
    // fourth queue page come with it.
    expect(row!.pagesFaultedIn).toBe(row!.residentBytesPeak / 4096);
    expect(row!.pagesNeverUsed).toBe(row!.pagesFaultedIn - 3);
  });

  it('trades faults against waste as the window grows, and prefetching leaves next to no faults', async () => {
    const [iopf, eight, most, adaptive, prefetch] = await runs(
      BLOCK.replace('random', 'sequential'),
      defaultPolicies.slice(1),
    );
    expect(eight!.faults).toBeLessThan(iopf!.faults / 7);
    expect(most!.faults).toBeLessThan(eight!.faults / 7);
    expect(adaptive!.faults).toBeLessThan(eight!.faults / 7);
    expect(prefetch!.faults).toBeLessThanOrEqual(4);
    expect(prefetch!.pagesFaultedIn).toBe(iopf!.pagesFaultedIn);
  });

  it('is the same for the same seed, and another for another', async () => {
    const first = await runs(BLOCK, ['iopf']);
    expect(await runs(BLOCK, ['iopf'])).toEqual(first);
    expect((await runs(BLOCK, ['iopf'], 2))[0]!.faults).not.toBe(first[0]!.faults);
  });

  it('is byte for byte the same whatever --jobs, but for its arguments', () => {
    const input = file('jobs.yaml', BLOCK);
    const json = (jobs: number): string => {
      const out = join(folder, `jobs-${jobs}.json`);
      execFileSync('node', [
        'dist/bundle/iopf.cjs',
        'compare',
        input,
        '--json',
        out,
        '--jobs',
        String(jobs),
      ]);
      return readFileSync(out, 'utf8').replace(/"arguments": \[[^\]]*\]/, '');
    };
    expect(json(1)).not.toContain('jobs-1');
    expect(json(3)).toBe(json(1));
  });
});

describe('a host under pressure', () => {
  it('sends pages to swap under iopf, which fault again, each at the cost of a swap-in', async () => {
    const [free, pressed] = await runs(BLOCK, ['iopf', 'iopf:memory=16M']);
    expect(pressed!.invalidations).toBeGreaterThan(0);
    expect(pressed!.residentBytesPeak).toBeLessThanOrEqual(16 * 2 ** 20);
    expect(pressed!.faults).toBeGreaterThan(free!.faults);
    expect(pressed!.slowdownPercent).toBeGreaterThan(free!.slowdownPercent);
    expect(pressed!.stallSeconds).toBeGreaterThan(pressed!.faults * 4.6e-6);
  });

  it('cannot pin what it does not have', async () => {
    const order = {
      inputs: [file('pressed.yaml', BLOCK)],
      policies: ['static:memory=16M'],
      model: null,
      seed: 1,
    };
    const { comparison } = await compare(order);
    expect(comparison.runs).toEqual([]);
    expect(comparison.impossible).toMatchObject([{ policy: 'static:memory=16M' }]);
    expect(comparison.impossible![0]!.why).toContain('ENOMEM');
  });
});

describe('static pinning', () => {
  it('of machines that use more than is simulated together is refused before it is tried', async () => {
    const text = `workload:
  kind: vms
  count: 40
  slowdownBound: 20
  vm:
    memory: 16G
    boot: { reads: 400M, touched: 8G, bandwidth: 2G, latency: 50us }
    idle: { time: 10ms, workingSet: 1M, iosPerSecond: 500 }
`;
    const run = { policy: 'iopf', model: 'fast', seed: 1, published: null, withMap: false };
    const task = { ...run, source: { name: 'big', text }, leastMemory: false };
    const [outcome] = await inlineRunner.run(compareKind, [task]);
    expect(outcome).toMatchObject({
      result: { outcome: { kind: 'impossible', why: expect.stringContaining('more than 32 GiB') } },
    });
  });

  it('of 40 machines of 16 GiB is a number: pages take frames where they are used', async () => {
    const text = `model: fast
workload:
  kind: vms
  count: 40
  host: 256G
  slowdownBound: 20
  vm:
    memory: 16G
    boot: { reads: 1M, touched: 1M, bandwidth: 2G, latency: 50us }
    idle: { time: 10ms, workingSet: 1M, iosPerSecond: 500 }
`;
    const inputs = [file('many.yaml', text)];
    const policies = ['static', 'static:memory=1T', 'iopf:premap=8'];
    const { comparison } = await compare({ inputs, policies, model: null, seed: 1 });
    expect(comparison.impossible).toMatchObject([
      { policy: 'static', why: expect.stringContaining('ENOMEM') },
    ]);
    expect(comparison.runs[0]).toMatchObject({
      policy: 'static:memory=1T',
      pinnedBytesPeak: 640 * 2 ** 30,
      slowdownPercent: 0,
    });
    const [pinned, iopf] = comparison.overcommit!;
    expect(pinned).toMatchObject({
      hostBytes: 640 * 2 ** 30,
      fits: { vms: 16, slowdownPercent: 0 },
    });
    expect(iopf!.fits!.vms).toBeGreaterThan(1000);
    const slowdowns = iopf!.fits!.curve.map(({ slowdownPercent }) => slowdownPercent);
    expect(slowdowns).toEqual([...slowdowns].sort((a, b) => a - b));
    expect(formatComparison(comparison)).toMatch(
      /On a host of 256 GiB: \d+ fit at .* with iopf:premap=8; 16 at 0.0 % with static/,
    );
  });

  it('that is counted comes to what the engine does page by page', () => {
    const texts = [BLOCK, VMS.replace('givenBack: 0', 'givenBack: 8M')];
    for (const text of texts)
      for (const policy of ['static', 'static:memory=1G', 'static:memory=16M']) {
        const request = {
          input: 'a.yaml',
          policy: parsePolicy(policy),
          model: readModel('odp'),
          seed: 1,
        };
        const workloads = () => workloadsOf(parseScenario(text, 'a.yaml'));
        const watched = { map() {}, unmap() {}, pageRequest() {}, pageResponse() {} };
        const counted = runOnce({ ...request, workloads: workloads() });
        const engine = runOnce({ ...request, workloads: workloads(), observe: () => watched });
        expect(counted.kind === 'done' ? counted.row : counted).toEqual(
          engine.kind === 'done' ? engine.row : engine,
        );
      }
  });
});

const VMS = `model: fast
workload:
  kind: vms
  count: 2
  slowdownBound: 20
  vm:
    memory: 64M
    boot: { reads: 8M, touched: 4M, bandwidth: 2G, latency: 50us }
    givenBack: 0
    idle: { time: 100ms, workingSet: 1M, iosPerSecond: 100 }
`;

describe('the overcommit question', () => {
  it('is answered with the least memory that keeps within the bound', async () => {
    const order = {
      inputs: [file('vms.yaml', VMS)],
      policies: ['static', 'iopf:premap=8'],
      model: null,
      seed: 1,
    };
    const { overcommit } = (await compare(order)).comparison;
    const [pinned, iopf] = overcommit!;
    expect(pinned).toMatchObject({ vms: 2, hostBytes: 128 * 2 ** 20, slowdownPercent: 0 });
    expect(iopf!.hostBytes).toBeLessThan(64 * 2 ** 20);
    expect(iopf!.slowdownPercent).toBeLessThanOrEqual(20);
    expect(iopf!.from).toBe('runs');
  });

  it('says how near it came where no memory is enough', async () => {
    const inputs = [file('strict.yaml', VMS.replace('slowdownBound: 20', 'slowdownBound: 0.5'))];
    const { comparison } = await compare({
      inputs,
      policies: ['iopf'],
      model: null,
      seed: 1,
    });
    const [row] = comparison.overcommit!;
    expect(row).toMatchObject({ hostBytes: null, slowdownPercent: null });
    expect(row!.closestPercent).toBeGreaterThan(0.5);
    expect(formatComparison(comparison)).toContain('times the bound; try a larger window');
  });

  it('is of several kinds of machines, recordings and memory curves among them', async () => {
    const curve = 'time,bytes\n0,1048576\n1,4194304\n2,2097152\n';
    file('load.csv', curve);
    const imported = importText('time,page,op\n0,1048576,w\n1,1048577,w\n', 'a.csv');
    const header = { program: 'p', arguments: [], kernel: '-', iopf: 'auto', premap: 1 };
    recordEvents(join(folder, 'a.rec'), header, imported.events);
    const machine = VMS.slice(VMS.indexOf('  vm:')).replace(/^ {2}/gm, '      ').trimStart();
    const text = `model: fast
workload:
  kind: vms
  slowdownBound: 20
  host: 1G
  machines:
    - name: web
      count: 2
      ${machine}
    - { name: recorded, count: 1, recording: a.rec }
    - { name: monitored, count: 3, memoryCurve: load.csv }
`;
    const inputs = [file('kinds.yaml', text)];
    const { comparison } = await compare({
      inputs,
      policies: ['static', 'iopf'],
      model: null,
      seed: 1,
    });
    const mapped = 2 * 64 * 2 ** 20 + 2 * 4096 + 3 * 4 * 2 ** 20;
    expect(comparison.runs[0]!.mappedBytesPeak).toBe(mapped);
    expect(comparison.overcommit).toMatchObject([{ vms: 6, hostBytes: mapped }, { vms: 6 }]);
    const wrong = text.replace('recording: a.rec', 'recording: a.rec, memoryCurve: load.csv');
    expect(messageOf(() => parseScenario(wrong, 'k.yaml'))).toContain(
      'exactly one of vm, scenario, recording and memoryCurve is needed',
    );
  });
});

describe('what a user writes', () => {
  it('is told with line and what is allowed where a key or a unit is wrong', () => {
    expect(messageOf(() => parseScenario(BLOCK.replace('pattern', 'patern'), 'a.yaml'))).toBe(
      'a.yaml:6: workload.patern: unknown key "patern"; allowed here: kind, memory, buffers, pattern, ioBytes, ios, writes, latency, bandwidth',
    );
    expect(messageOf(() => parseScenario(BLOCK.replace('20us', '20 parsecs'), 'a.yaml'))).toBe(
      'a.yaml:10: workload.latency: must be a time with its unit, like 10us, 1.5ms or 2s',
    );
    expect(messageOf(() => parseScenario(BLOCK.replace('3G', '0'), 'a.yaml'))).toBe(
      'a.yaml:11: workload.bandwidth: must be more than 0',
    );
    expect(messageOf(() => parseScenario('', 'a.yaml'))).toContain('a.yaml:1: ');
    expect(messageOf(() => parseScenario('model: fast\nworkload:\n', 'a.yaml'))).toContain(
      'a.yaml:2: workload',
    );
    expect(messageOf(() => parseScenario(BLOCK.replace('64M', '64Q'), 'a.yaml'))).toContain(
      'a.yaml:4: workload.memory: ',
    );
    expect(
      messageOf(() => parseScenario(BLOCK.replace('kind: block', 'kind: tape'), 'a.yaml')),
    ).toContain('a.yaml:3: workload.kind');
  });

  it('is told what policies and models there are', () => {
    expect(messageOf(() => parsePolicy('magic'))).toContain('allowed: static, iopf');
    expect(messageOf(() => parsePolicy('iopf:premap=0'))).toContain('1 to 512');
    expect(messageOf(() => parsePolicy('iopf:memory=1X'))).toContain('memory=1X');
    expect(messageOf(() => parsePolicy('static:premap=8'))).toContain(
      'static takes memory=SIZE only',
    );
    expect(messageOf(() => readModel('slow'))).toContain('kunpeng920-stall, odp, fast, measured');
  });

  it('finds every model that is shipped, each number with its source', () => {
    for (const name of ['kunpeng920-stall', 'odp', 'fast', 'measured', 'vtd-6252'])
      expect(readModel(name).name).toBe(name);
  });
});
