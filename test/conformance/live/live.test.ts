/**
 * The recorded answers, asked for with real system calls under `iopf exec` (npm run
 * conformance:live prints the details, and takes another kernel).
 */
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_KERNEL } from '../../../src/abi/kernel.js';
import { runLive } from '../../../src/conformance/live/run.js';
import { describe as describeCase } from '../../../src/conformance/run.js';
import { vectorFiles } from '../../../src/conformance/vectors.js';
import { available, moreIsAsked } from '../../skip.js';

/** Topics that a sandbox can run almost whole. */
const LEAST_SHARE = 0.95;
const whole =
  /vectors\/(container|group|device|map-dma|unmap-dma|unmap-dma-v1|dirty-pages|vaddr|multi-group|memory-lifetime)\.json$/;
/** Of /dev/iommu those that have descriptors of every kind; `conformance:live` takes all. */
const ofIommufd = ['cdev', 'dmabuf', 'fault-queue', 'map-file', 'viommu'].map(
  (topic) => `test/vectors-iommufd/${topic}.json`,
);
const isMore = moreIsAsked('the lesser topics through real system calls');
const paths = [...vectorFiles('test/vectors'), ...ofIommufd].filter(
  (path) => isMore || whole.test(path),
);
const isRoot = available(
  process.getuid!() === 0,
  'the vectors through real system calls',
  'they were recorded as root',
);

describe.skipIf(!isRoot)(`Linux ${DEFAULT_KERNEL} answers through real system calls`, () => {
  let run = 0;
  let skippedSteps = 0;

  test.each(paths.map((path) => [basename(path), path]))('as recorded in %s', (name, path) => {
    const { results, skipped } = runLive(path, DEFAULT_KERNEL);
    const wrong = results.filter(
      ({ differences, error }) => differences.length > 0 || error !== null,
    );
    const told = wrong.map(({ name: caseName, differences, error }) =>
      describeCase({
        name: caseName,
        differences,
        error: error === null ? null : new Error(error),
      }),
    );
    expect(told.join('\n')).toBe('');
    for (const { name: caseName, why } of skipped) available(false, `${name}: ${caseName}`, why);
    if (!whole.test(path)) return;
    run += results.reduce((sum, { steps }) => sum + steps, 0);
    skippedSteps += skipped.reduce((sum, { steps }) => sum + steps, 0);
  });

  test('and at least 95 % of the steps of the main topics were run', () => {
    expect(run).toBeGreaterThan(4000);
    expect(run / (run + skippedSteps)).toBeGreaterThanOrEqual(LEAST_SHARE);
  });
});
