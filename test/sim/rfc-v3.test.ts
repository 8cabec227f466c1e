import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatComparison } from '../../src/report/table.js';
import { compare } from '../../src/sim/compare.js';
import { parseCostModel } from '../../src/sim/cost-model.js';
import { publishedCosts } from '../../src/sim/input.js';
import { workloadsOf } from '../../src/sim/machines.js';
import { parsePolicy } from '../../src/sim/policy.js';
import { runOnce } from '../../src/sim/run.js';
import { parseScenario, scenarioOfRow } from '../../src/sim/scenario.js';

const order = {
  inputs: ['examples/rfc-v3.yaml'],
  policies: ['iopf'],
  model: null,
  seed: 1,
};
const text = readFileSync('examples/rfc-v3.yaml', 'utf8');
const modelText = readFileSync('models/kunpeng920-stall.yaml', 'utf8');

describe("the series' table (examples/rfc-v3.yaml)", () => {
  it('comes out within 10 % of its fault counts and 3 percentage points of its slowdowns, from one model', async () => {
    const { comparison } = await compare(order);
    expect(comparison.published).toHaveLength(6);
    for (const row of comparison.published!) {
      const name = `${row.messageBytes} bytes, ${row.sends} sends`;
      expect(
        Math.abs(row.faults - row.publishedFaults) / row.publishedFaults,
        name,
      ).toBeLessThanOrEqual(0.1);
      expect(
        Math.abs(row.slowdownPercent - row.publishedSlowdownPercent),
        name,
      ).toBeLessThanOrEqual(3);
    }
    expect(comparison.publishedHostSva!.map(({ faults }) => faults)).toEqual([512, 1024, 1024]);
    expect(comparison.publishedHostSva!.map(({ publishedFaults }) => publishedFaults)).toEqual([
      512, 1024, 1024,
    ]);
  });

  it('is not looked up: our figures follow the workload and the model, not what was published', () => {
    const model = parseCostModel(modelText, 'model');
    const slow = parseCostModel(
      modelText.replace("time: 10us, source: 'scale", "time: 20us, source: 'scale"),
      'model',
    );
    const scenario = parseScenario(text, 'scenario');
    const row = scenario.published!.vfioIopf[1]!;
    const run = (
      sends: number,
      costs: typeof model,
    ): { faults: number; slowdownPercent: number } => {
      const own = scenarioOfRow(
        scenario,
        { ...row, sends, faults: -1, slowdownPercent: -1 },
        false,
      );
      const outcome = runOnce({
        input: 'x',
        workloads: workloadsOf(own),
        policy: parsePolicy('iopf:premap=1'),
        model: costs,
        seed: 1,
      });
      if (outcome.kind !== 'done') throw new Error(outcome.why);
      return outcome.row;
    };
    const two = run(2, model);
    // Two contexts: each two buffers of 256 pages, four pages of tables, and a page of each ring.
    expect(two.faults).toBe(2 * (2 * 256 + 4 + 2));
    const again = run(2, slow);
    expect(again.faults).toBe(two.faults);
    const cost = (percent: number): number => percent / (100 - percent);
    expect(cost(again.slowdownPercent)).toBeCloseTo(2 * cost(two.slowdownPercent), 2);
  });
});

describe('what VFIO costs on a Xeon Gold 6252 (models/vtd-6252.yaml)', () => {
  it('is met, but for what is paid twice, and start-up times whose range is wider than its causes', () => {
    const rows = publishedCosts('vtd-6252');
    const off = rows.filter(({ residualPercent }) => Math.abs(residualPercent) > 1);
    expect(off.map(({ figure, residualPercent }) => [figure, residualPercent])).toEqual([
      ['return and install 2 MiB: added', 8.92],
      ['static start-up, 24 GiB', -67.97],
    ]);
    const rates = rows.filter(({ unit }) => unit === 'GiB/s');
    expect(rates.map(({ publishedLow, byModel }) => [publishedLow, byModel])).toEqual([
      [3.569, 3.56807],
      [55.16, 55.2284],
    ]);
  });

  it('stands in the comparison, and is refused with its line where it says nothing', async () => {
    const yaml = readFileSync('models/vtd-6252.yaml', 'utf8');
    const scenario = text.slice(0, text.indexOf('published:'));
    const { comparison } = await compare({
      ...order,
      inputs: [{ name: 'short', text: scenario.replace(/sends: .*/, 'sends: 1') }],
      model: { name: 'm.yaml', text: yaml },
    });
    expect(comparison.publishedCosts).toHaveLength(9);
    expect(formatComparison(comparison)).toMatch(/static start-up, 16 GiB +2.6 s to 55 s +4.48 s/);
    const wrong = (from: string, to: string) => () =>
      parseCostModel(yaml.replace(from, to), 'm.yaml');
    expect(wrong('pinPage: 512', 'pinPages: 512')).toThrow(
      'm.yaml:18: published.0: names a cost that is none: pinPages',
    );
    expect(wrong('time: 50.8us,', '')).toThrow('exactly one of time, gibPerSecond and range');
    expect(wrong('bytes: 2M,', '')).toThrow('needs bytes where it has a rate');
  });
});
