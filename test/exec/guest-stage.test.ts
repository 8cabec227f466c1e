import { join } from 'node:path';
import { expect, test } from 'vitest';
import { edu, program, repository, runIopf } from './run-iopf.js';

const INPUT = 0x4000000;
const PAGE = 4096;
const EINVAL = 22;
const FILL = 0x5a;

async function guest(what: string, options: readonly string[] = []) {
  const result = await runIopf(
    [...options, '--device', `edu@${edu}`],
    [process.execPath, program('guest-stage'), what],
  );
  return { ...result, said: result.stdout === '' ? null : JSON.parse(result.stdout) };
}

test('R8.1: a program reads a stage-1 page request from its queue, brings the page, answers, and the device goes on', async () => {
  const { code, said, summary, stderr } = await guest('success');
  expect([code, stderr.includes('Bug')]).toEqual([0, false]);
  expect(said).toEqual({
    device: 1,
    first: { device: 1, address: INPUT, access: 1, cookie: 0 },
    busy: true,
    answered: 8,
    again: [-1, EINVAL],
    second: { device: 1, address: INPUT + 2 * PAGE, access: 2, cookie: 0 },
    // Up to the page that is missing it is done already.
    before: [FILL, 0],
    after: [FILL, FILL],
  });
  expect(summary!.pinnedBytesPeak).toBe(0);
  // Stage 2: the table's four pages and two of data; stage 1: two.
  expect(summary!.faults).toBe(4 + 2 + 2);
  expect(summary!.pagesFaultedIn).toBe(4 + 2);
});

test.each([
  [
    'invalid',
    'R8.1: an INVALID answer ends the access, though its page is there by then',
    { held: 0, more: false },
  ],
  [
    'asks again',
    'R8.1: an answer that mends nothing is followed by another request',
    { other: true, held: FILL },
  ],
  [
    'invalidate',
    'R8.1: an entry that was taken away is missed after its invalidation',
    { held: 0 },
  ],
  [
    'queue closed',
    'R8.1: with its queue closed a missing page is refused, at once and later',
    { held: 0 },
  ],
  [
    'detach',
    'R8.1: detaching answers what is pending, and a late answer finds nothing',
    { late: [-1, EINVAL], held: FILL, attachedAgain: 2 },
  ],
  ['master off', 'R8.1: bus mastering off ends an access that waits', { held: 0 }],
  [
    'disable',
    'R8.1: DISABLE_IOPF answers what is pending, and nothing is asked any more',
    { result: 0, held: 0, more: false },
  ],
  [
    'low number',
    'a queue whose pipe the program plays with works all the same',
    { stolen: 1, put: 4096, next: 1, more: false },
  ],
  ['exit', 'R8.1: a program may end with a request unanswered, and nothing is left', {}],
])('%s: %s', async (what, _about, expected) => {
  const { code, said, stderr } = await guest(what);
  expect(stderr).not.toContain('Bug');
  expect(code).toBe(0);
  expect(said).toEqual({ device: 1, ...expected });
});

test('R8.1: a program that is killed with a request unanswered leaves nothing', async () => {
  const { code, summary, stderr } = await guest('kill');
  expect(stderr).not.toContain('Bug');
  expect(code).toBe(128 + 9);
  expect(summary!.signal).toBe('SIGKILL');
});

test('R8.1: examples/guest-paging, a guest with few frames, pages for its device, and every byte is right', async () => {
  const example = join(repository, 'dist/examples/guest-paging/main.js');
  const { code, stdout, summary } = await runIopf(
    ['--device', `edu@${edu}`],
    [process.execPath, example],
  );
  expect(stdout).toBe(
    '200 pages read by the device through 8 frames, 0 wrong; 200 page requests, 192 pages taken away\n',
  );
  expect(code).toBe(0);
  // Stage 2: the table's four pages and nine of data; stage 1: each page once.
  expect(summary).toMatchObject({ faults: 4 + 9 + 200, pagesFaultedIn: 4 + 9, pinnedBytesPeak: 0 });
});

test('with IOPF off no IOMMU can nest, and Linux 7.2 does not know the type', async () => {
  const off = await guest('success', ['--iopf', 'off']);
  expect(off.code).not.toBe(0);
  expect(off.stderr).toMatch(/SET_IOMMU.*EINVAL/);
  const later = await guest('success', ['--kernel', '7.2']);
  expect(later.stderr).toMatch(/SET_IOMMU.*ENODEV/);
});
