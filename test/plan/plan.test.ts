import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { schemas } from '../../src/cli/json/schemas.js';
import { inlineRunner } from '../../src/jobs/inline.js';
import { parseFleet } from '../../src/plan/fleet.js';
import { type Plan, plan } from '../../src/plan/plan.js';
import { readQuestion } from '../../src/plan/question.js';
import { planText } from '../../src/report/plan-text.js';

const folder = mkdtempSync(join(tmpdir(), 'iopf-plan-'));
afterAll(() => rmSync(folder, { recursive: true }));

const FLEET = `model: fast
policies: [static, 'iopf:premap=8']
slowdownBound: 20
seeds: 2
trials: 3
host: { memory: 1G, cores: 64, price: 100 }
classes:
  - name: small
    count: 100
    cores: 1
    day: [0.5, 1]
    shifts: 2
    vm: &vm
      memory: 64M
      boot: { reads: 4M, touched: 2M, bandwidth: 2G, latency: 50us }
      idle: { time: 100ms, workingSet: 1M, iosPerSecond: 200 }
  - { name: other, count: 50, vm: *vm }
`;

async function planned(text: string, cache: string | null = null): Promise<Plan> {
  const path = join(folder, 'fleet.yaml');
  writeFileSync(path, text);
  return plan({ asked: readQuestion(path, 1), runner: inlineRunner, cache, version: 'test' });
}

describe('a plan', () => {
  it('needs all that is mapped under static, and fewer hosts with page faults', async () => {
    const result = await planned(FLEET);
    const [pinned, iopf] = result.policies;
    // 16 of 64 MiB fit into 1 GiB, whatever the time of day.
    expect(pinned).toMatchObject({ lowerBound: 10, firstFit: { most: 10 }, bestFit: { most: 10 } });
    expect(pinned!.bill).toEqual({ hosts: 10, memoryBytes: 10 * 2 ** 30, price: 1000 });
    expect(iopf!.bill!.hosts).toBeLessThan(10);
    expect(iopf!.bill!.hosts).toBeGreaterThanOrEqual(iopf!.lowerBound!);
    for (const { points } of result.curves) {
      const faults = points.map((point) => point.faults);
      expect(faults).toEqual([...faults].sort((a, b) => a - b));
    }
    const sloped = result.curves.filter(({ points }) => points.length > 1);
    expect(sloped.length).toBeGreaterThan(0);
    for (const { points } of sloped)
      expect(points.at(-1)!.slowdownPercent).toBeGreaterThan(points[0]!.slowdownPercent);
    expect(planText(result)).toContain('iopf:premap=8');
    const head = { schema: 'iopf.plan/1', version: '1', arguments: [] };
    const host = { kernel: '6.1', node: 'v20', architecture: 'x64' };
    expect(schemas.plan.strict().safeParse({ ...head, host, ...result }).error).toBeUndefined();
  });

  it('is the same again, from curves that were kept, of which none was made twice', async () => {
    const cache = join(folder, 'cache');
    const first = await planned(FLEET, cache);
    // Both classes are the same machine: one curve under static, and one for each seed.
    const kept = readdirSync(cache);
    expect(kept.length).toBe(3);
    expect(await planned(FLEET, cache)).toEqual(first);
    expect(readdirSync(cache)).toEqual(kept);
    writeFileSync(join(cache, kept[0]!), '{"damaged');
    expect(await planned(FLEET, cache)).toEqual(first);
    expect(JSON.parse(readFileSync(join(cache, kept[0]!), 'utf8')).why).toBeNull();
  });

  it('takes what a scenario does for a machine of a class', async () => {
    const vm = FLEET.slice(FLEET.indexOf('      memory: 64M'), FLEET.indexOf('  - { name: other'));
    writeFileSync(join(folder, 'vm.yaml'), `workload:\n      kind: vm\n${vm}`);
    const asFile = FLEET.replace('vm: *vm', 'scenario: vm.yaml');
    expect((await planned(asFile)).curves).toEqual((await planned(FLEET)).curves);
    writeFileSync(
      join(folder, 'ring.yaml'),
      'workload: { kind: ring, memory: 8M, pool: 4M, packets: 5000, packetsPerSecond: 1e6, packetTime: 1us }\n',
    );
    const ring = await planned(FLEET.replace('vm: *vm', 'scenario: ring.yaml'));
    expect(ring.policies[0]!.classes[1]!.mappedBytes).toBe(8 * 2 ** 20);
    const several = 'workload: { kind: vms, slowdownBound: 5, count: 2, recording: r }\n';
    writeFileSync(join(folder, 'vms.yaml'), several);
    await expect(planned(FLEET.replace('vm: *vm', 'scenario: vms.yaml'))).rejects.toThrow(
      'vms.yaml has several machines (kind: vms): a scenario of one is needed',
    );
  });

  it('says why a policy has none', async () => {
    const { policies } = await planned(FLEET.replace('memory: 1G', 'memory: 32M'));
    expect(policies[0]).toMatchObject({
      bill: null,
      why: 'a machine of small is larger than a host',
    });
    const strict = await planned(FLEET.replace('slowdownBound: 20', 'slowdownBound: 0.01'));
    expect(strict.policies[1]!.why).toMatch(/small is slowed down by [\d.]+ % with all memory/);
  });

  it('is refused with the line of what is wrong', () => {
    const refused = (from: string, to: string) => () =>
      parseFleet(FLEET.replace(from, to), 'f.yaml');
    expect(refused('shifts: 2', 'shifts: 3')).toThrow('f.yaml:12: classes.0.shifts: are more than');
    expect(refused('[static,', "['iopf:memory=1G',")).toThrow('stands in host.memory');
    expect(refused('memory: 1G', 'memroy: 1G')).toThrow('unknown key "memroy"');
    expect(refused('name: other', 'name: small')).toThrow('is the name of another class');
  });
});
