import type { ScenarioOf } from './scenario-world.js';
import type { World } from './world.js';

/** One that ships, which may use of its world what users' may not. */
export type Scenario = ScenarioOf<World>;
