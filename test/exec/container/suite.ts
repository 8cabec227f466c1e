/**
 * The tests of exec in a container under Docker's rules, read-only but for /tmp.
 *
 * usage: npm run test:container [-- WORD...]; the words are vitest's, test/exec unless given.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canRunContainers, IOPF, runInContainer } from './container.js';

const words = process.argv.length > 2 ? process.argv.slice(2) : ['test/exec'];
const run = `cd ${IOPF} && exec node node_modules/vitest/vitest.mjs run --configLoader runner "$@"`;

if (canRunContainers('the suite')) {
  const shared = mkdtempSync(join(tmpdir(), 'test-container-shared-'));
  const command = ['sh', '-c', run, 'sh', ...words];
  const { code } = await runInContainer(
    { rules: true, roomyTmp: true },
    shared,
    command,
    'inherit',
  );
  rmSync(shared, { recursive: true, force: true });
  process.exitCode = code ?? 1;
}
