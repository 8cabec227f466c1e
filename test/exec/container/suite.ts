/**
 * The tests of exec in a container under Docker's rules, read-only but for /tmp.
 *
 * usage: npm run test:container [-- WORD...]; the words are vitest's. Without any, all that can
 * pass there runs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canRunContainers, IOPF, runInContainer } from './container.js';

/** Files whose tests, or what they run, want more than a container has. */
const wantMore = [
  'dpdk', // EAL writes to /var/run
  'memory-programs', // kcmp, userfaultfd, more locked memory, files beside the programs
  'taking', // clone3, userfaultfd
  'virtio-net', // more locked memory for --iopf off
];

const excluded = wantMore.flatMap((name) => ['--exclude', `test/exec/${name}.test.ts`]);
const words = process.argv.length > 2 ? process.argv.slice(2) : ['test/exec', ...excluded];
const run = `cd ${IOPF} && exec node node_modules/vitest/vitest.mjs run --configLoader runner "$@"`;

if (canRunContainers('the suite')) {
  const shared = mkdtempSync(join(tmpdir(), 'test-container-shared-'));
  const command = ['sh', '-c', run, 'sh', ...words];
  const { code } = await runInContainer({ rules: true }, shared, command, 'inherit');
  rmSync(shared, { recursive: true, force: true });
  process.exitCode = code ?? 1;
}
