import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { compare, type Model, type Scenario } from '../../src/sim/api/index.js';

const scenario: Scenario = {
  model: 'fast',
  policies: ['static', 'iopf'],
  workload: {
    kind: 'block',
    memory: '4M',
    buffers: '1M',
    pattern: 'random',
    ioBytes: '4K',
    ios: 500,
    latency: '20us',
    bandwidth: '3G',
  },
};
const named = { name: 'disk', scenario };
const fast = parse(readFileSync('models/fast.yaml', 'utf8')) as Model;

test('a scenario that is no file is compared under its own policies, or others', async () => {
  const { runs, warnings } = await compare({ inputs: [named] });
  expect(warnings).toEqual([]);
  expect(runs.map(({ input, model, policy }) => [input, model, policy])).toEqual([
    ['disk', 'fast', 'static'],
    ['disk', 'fast', 'iopf'],
  ]);
  expect(runs[1]!.faults).toBeGreaterThan(0);
  const { impossible } = await compare({ inputs: [named], policies: ['static:memory=64K'] });
  expect(impossible).toMatchObject([{ input: 'disk', policy: 'static:memory=64K' }]);
});

test('a model of the caller is used, and a file is compared as it is on the command line', async () => {
  const free = Object.entries(fast.costs).map(([name, cost]) => [name, { ...cost, time: '0us' }]);
  const costs = Object.fromEntries(free) as Model['costs'];
  const model: Model = { name: 'free', about: 'nothing costs anything', costs };
  const { runs } = await compare({ inputs: [named], policies: ['iopf'], model });
  expect(runs).toMatchObject([{ model: 'free', slowdownPercent: 0 }]);
  const file = await compare({ inputs: ['examples/network-ring.yaml'], policies: ['iopf'] });
  expect(file.runs[0]!.input).toBe('examples/network-ring.yaml');
});

test('what is wrong is told with the name of the input, and its key', async () => {
  const wrong = { ...scenario, workload: { ...scenario.workload, ios: 0 } } as Scenario;
  const inputs = [{ name: 'mine', scenario: wrong }];
  await expect(compare({ inputs })).rejects.toThrow(/^mine:\d+: workload\.ios/);
  await expect(compare({ inputs: [named], policies: ['all'] })).rejects.toThrow('unknown policy');
  await expect(compare({ inputs: [named], model: 'slow' })).rejects.toThrow('unknown model "slow"');
});
