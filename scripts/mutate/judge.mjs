/**
 * A process that keeps vitest loaded and runs one test file after the other for scripts/mutate. Its
 * parent says `{ changed, test }`, paths in the working directory, and hears `{ failed, ms }`:
 * the name of a test that failed, or null.
 */
import { resolve } from 'node:path';
import { createVitest } from 'vitest/node';

const vitest = await createVitest('test', {
  watch: false,
  bail: 1,
  maxWorkers: 1,
  silent: true,
  // No reporter: what failed goes to our parent.
  reporters: [{}],
});

process.on('message', async ({ changed, test }) => {
  for (const path of changed) vitest.invalidateFile(resolve(path));
  const started = performance.now();
  const path = resolve(test);
  const project = vitest.projects.find((one) => one.matchesTestGlob(path));
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications([
    project.createSpecification(path),
  ]);
  // It names the modules of earlier runs, too.
  const module = testModules.find(({ moduleId }) => moduleId === path);
  process.send({ failed: failure(module, unhandledErrors), ms: performance.now() - started });
});
process.on('disconnect', () => process.exit());

function failure(module, unhandled) {
  if (unhandled.length > 0) return `${unhandled[0].message ?? unhandled[0]}`;
  if (module === undefined) return 'it did not run';
  if (module.ok()) return null;
  for (const test of module.children.allTests('failed'))
    return `${test.fullName}: ${test.result().errors[0]?.message}`;
  return `${module.errors()[0]?.message ?? module.state()}`;
}

process.send('ready');
