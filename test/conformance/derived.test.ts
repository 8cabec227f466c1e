import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DEFAULT_KERNEL, kernelVersions } from '../../src/abi/kernel.js';
import { runLive } from '../../src/conformance/live/run.js';
import { replayCase } from '../../src/conformance/replay.js';
import { available } from '../skip.js';
import { derivedFile, withoutIommu } from './derived-cases.js';

const file = derivedFile('test/vectors/container.json');

describe.each(kernelVersions)('the engine answers as Linux %s', (kernel) => {
  it.each(file.cases.map((each) => [each.why, each] as const))('%s', (_, each) => {
    expect(replayCase(file, each, kernel)).toEqual([]);
  });
});

describe('without an IOMMU the engine answers', () => {
  it.each(withoutIommu.cases.map((each) => [each.why, each] as const))('%s', (_, each) => {
    expect(replayCase(withoutIommu, each, '6.1')).toEqual([]);
  });
});

const isRoot = available(
  process.getuid!() === 0,
  'derived cases through real system calls',
  'limits and capabilities need root',
);

describe.skipIf(!isRoot)('through real system calls the same is answered', () => {
  const folder = mkdtempSync(join(tmpdir(), 'derived-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each([
    ['with an IOMMU', file],
    ['without one', withoutIommu],
  ])(
    '%s',
    (name, vectors) => {
      const path = join(folder, `${name}.json`);
      writeFileSync(path, JSON.stringify(vectors));
      const { results, skipped } = runLive(path, DEFAULT_KERNEL);
      expect(results.filter(({ differences, error }) => differences.length > 0 || error)).toEqual(
        [],
      );
      expect(skipped.map(({ name: each }) => each)).toEqual(
        vectors === file ? ['advice-fork'] : [],
      );
    },
    60_000,
  );
});
