/** The driver's tests, on the device of ring.ts: node --test driver.test.mjs */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runExec } from 'iopf/exec';

const ADDRESS = '0000:01:00.0';
const devices = [`./ring.ts@${ADDRESS}`];

test('with page faults the driver pins nothing', async () => {
  const { exitCode, stdout, summary } = await runExec('./driver', [ADDRESS], { devices });
  assert.equal(exitCode, 0);
  assert.match(stdout, /^100 of 100 pages copied, 0 wrong/);
  assert.deepEqual(summary.refused, []);
  assert.equal(summary.pinnedBytesPeak, 0);
});

test('without them all of its memory is pinned', async () => {
  const options = { devices, words: ['--iopf', 'off'] };
  const { exitCode, summary } = await runExec('./driver', [ADDRESS], options);
  assert.equal(exitCode, 0);
  assert.equal(summary.pinnedBytesPeak, 201 * 4096);
});
