/** The scenarios that `iopf check` runs, by name. */
import type { Scenario } from '../scenario.js';
import * as controlPaths from './control-paths.js';
import * as dirtyLog from './dirty-log.js';
import * as memory from './memory.js';
import * as pageInRaces from './page-in-races.js';
import * as requests from './requests.js';

export const scenarios: readonly Scenario[] = [pageInRaces, memory, controlPaths, dirtyLog, requests].flatMap(
  (file) => Object.values(file) as Scenario[],
);

export function scenarioNamed(name: string): Scenario | undefined {
  return scenarios.find((scenario) => scenario.name === name);
}
