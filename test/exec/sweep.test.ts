/** `iopf exec --inject-each` with real programs (npm test builds first). */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { isFound, ruleOf, type Sweep } from '../../src/cli/sweep-outcome.js';
import { have, moreIsAsked } from '../skip.js';
import { nvme, repository, runIopf } from './run-iopf.js';

const folder = mkdtempSync(join(tmpdir(), 'test-sweep-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const disk = join(folder, 'disk');
writeFileSync(disk, randomBytes(65536));
const device = ['--device', `nvme@${nvme},file=${disk},readonly=on`];
const BLOCKS_BYTES = 8 * 4096;

/** A completion is taken twice; nobody looks how long one takes. */
const TWICE = ['this.inFlight[identifier] === 0', 'false'] as const;
const FOREVER = ['this.idle();\n                patience.look();', ''] as const;

/** examples/nvme-poll's save.js, with text of its driver changed. */
function copyWith(name: string, ...changes: (readonly [from: string, to: string])[]): string {
  const built = join(repository, 'dist/examples');
  const take = (file: string): string =>
    readFileSync(join(built, 'nvme-poll', file), 'utf8')
      .replaceAll("'../../src/", `'${repository}/dist/src/`)
      .replaceAll("'../dma-copy/", `'${built}/dma-copy/`)
      .replaceAll("'./driver.js'", `'./${name}-driver.mjs'`);
  let driver = take('driver.js');
  for (const [from, to] of changes) {
    expect(driver.split(from)).toHaveLength(2);
    driver = driver.replace(from, to);
  }
  writeFileSync(join(folder, `${name}-driver.mjs`), driver);
  const main = join(folder, `${name}.mjs`);
  writeFileSync(main, take('save.js'));
  return main;
}

async function sweep(options: string[], script: string): Promise<Sweep> {
  const words = [...device, ...options, '--jobs', '2'];
  const { stderr, summary } = await runIopf(words, ['sh', '-c', script]);
  expect(summary, stderr).not.toBeNull();
  return summary as unknown as Sweep;
}

const each = (rules: string[]): string[] => rules.flatMap((rule) => ['--inject-each', rule]);
const save = (main: string, rules: string[], ...more: string[]): Promise<Sweep> => {
  const check = `cmp -n ${BLOCKS_BYTES} "$IOPF_RUN/saved" ${disk}`;
  const options = [...each(rules), '--each-most', '1', '--each-check', check, ...more];
  return sweep(options, `exec ${process.execPath} ${main} "$IOPF_RUN/saved"`);
};
const outcomes = ({ runs }: Sweep): string[][] => runs.map(({ outcome, rule }) => [rule, outcome]);

describe('a sweep', () => {
  test('finds nothing in examples/nvme-poll', async () => {
    const good = join(repository, 'dist/examples/nvme-poll/save.js');
    const rules = ['nvme:cmd=never', 'nvme:cmd=twice', 'nvme:cmd=reorder', 'dma:refuse'];
    const { points, runs } = await save(good, rules);
    expect(points.map(({ passed }) => passed).slice(0, 3)).toEqual([8, 8, 8]);
    expect(outcomes({ runs } as Sweep)).toEqual([
      ['nvme:cmd:1=never', 'error'],
      ['nvme:cmd:1=twice', 'error'],
      ['nvme:cmd:1=reorder', 'well'],
      ['dma:refuse:1', 'error'],
    ]);
    expect(runs[0]!.said).toContain('queue 1: no completion in 1000 ms');
    expect(runs[1]!.said).toContain('queue 1: a completion of command 0, not in flight');
  }, 60_000);

  test('finds a copy of it that takes a completion twice', async () => {
    const main = copyWith('twice', TWICE);
    expect(outcomes(await save(main, ['nvme:cmd=twice']))).toEqual([
      ['nvme:cmd:1=twice', 'corrupt'],
    ]);
  }, 60_000);

  test('finds a copy of it that waits for ever', async () => {
    const main = copyWith('forever', FOREVER);
    expect(outcomes(await save(main, ['nvme:cmd=never'], '--each-limit', '3'))).toEqual([
      ['nvme:cmd:1=never', 'hang'],
    ]);
  }, 60_000);

  test('is refused where the program fails without a fault', async () => {
    const { code, stderr } = await runIopf(
      [...device, '--inject-each', 'nvme'],
      ['sh', '-c', 'echo no luck; exit 7'],
    );
    expect(stderr).toBe(
      'iopf: --inject-each: sh does not end well without a fault: exit code 7; it said: no luck\n',
    );
    expect(code).toBe(125);
  });
});

describe.skipIf(!have('qemu-img', 'a sweep over qemu-img'))('qemu-img convert', () => {
  test('ends with an error or the right data, whatever fails', async () => {
    const rules = ['nvme:cmd=status:0x281', 'nvme:cmd=late:50ms', 'memory:take'];
    const check = `cmp "$IOPF_RUN/copy" ${disk}`;
    const options = [...each(rules), '--each-most', '1', '--each-check', check];
    const convert = `exec qemu-img convert -f raw -O raw nvme://${nvme}/1 "$IOPF_RUN/copy"`;
    const { runs } = await sweep(options, convert);
    expect(runs.map(({ outcome }) => outcome)).toEqual(['error', 'well', 'well']);
  }, 60_000);
});

describe.skipIf(!moreIsAsked('sweeps over all points of devices'))('a whole sweep', () => {
  const WHOLE_MS = 600_000;
  const rooms = ['nvme', 'dma', 'iommu', 'memory', 'interrupt', 'device', 'link'];

  test(
    'finds nothing in examples/nvme-poll',
    async () => {
      const good = join(repository, 'dist/examples/nvme-poll/save.js');
      const { points, runs } = await save(good, rooms);
      expect(runs.filter(isFound)).toEqual([]);
      const passed = points.filter((point) => point.passed > 0).map(({ rule }) => rule);
      expect([...new Set(runs.map(({ rule }) => ruleOf(rule)))]).toEqual(passed);
      expect(passed.length).toBeGreaterThan(15);
    },
    WHOLE_MS,
  );

  test(
    'finds both bugs of a copy, and them alone',
    async () => {
      const main = copyWith('both', TWICE, FOREVER);
      const { runs } = await save(main, rooms);
      const found = runs.filter(isFound).map(({ outcome, rule }) => [ruleOf(rule), outcome]);
      expect(found).toContainEqual(['nvme:cmd=twice', 'corrupt']);
      expect(found).toContainEqual(['nvme:cmd=never', 'hang']);
      expect(new Set(found.map(([, outcome]) => outcome))).toEqual(new Set(['corrupt', 'hang']));
    },
    WHOLE_MS,
  );

  // Its driver for nvme has no time limit: where nothing comes any more it waits for ever.
  test.skipIf(!have('qemu-img', 'a whole sweep over qemu-img'))(
    'of qemu-img convert has an error, the right data or a wait without end, and no wrong data',
    async () => {
      const check = `cmp "$IOPF_RUN/copy" ${disk}`;
      const options = ['--inject-each', 'all', '--each-most', '1'];
      const convert = `exec qemu-img convert -f raw -O raw nvme://${nvme}/1 "$IOPF_RUN/copy"`;
      const { runs } = await sweep([...options, '--each-check', check], convert);
      const waits = runs
        .filter(({ outcome }) => outcome === 'hang')
        .map(({ rule }) => ruleOf(rule));
      const others = runs.filter((run) => isFound(run) && run.outcome !== 'hang');
      expect(others).toEqual([]);
      expect(waits).toContain('nvme:cmd=never');
      for (const rule of waits) expect(NO_COMPLETION).toContain(rule);
    },
    WHOLE_MS,
  );
});

/** Faults after which a controller completes nothing, or not the command that is waited for. */
const NO_COMPLETION = [
  ...['nvme:admin=never', 'nvme:cmd=never', 'nvme:CSTS.CFS'],
  ...['dma:refuse', 'iommu:request=INVALID', 'iommu:request=PARTIAL'],
  ...['interrupt:drop', 'device:unplug', 'device:dead'],
];
