/** What a scenario of a user looks like, and whether one does. */
import { z } from 'zod';
import { described } from '../../input/described.js';
import { shippedParts } from '../world/parts.js';
import type { Scenario } from '../world/scenario.js';
import { Execution } from './execution.js';

/** An actor is a bit of a number; so many would have more orders than anybody can run. */
const ACTORS_MAX = 16;
/** What the dirty bitmap of a scenario has room for. */
const PAGES_MAX = 1024;

const path = z.custom<() => never>((value) => typeof value === 'function', 'a function is needed');
const flag = z.boolean().optional();
const count = z.int().positive().optional();

const deviceSpec = z.strictObject({
  canFault: flag,
  nested: flag,
  merges: flag,
  ownDomain: flag,
  group: count,
  attached: flag,
  pendingGroups: count,
});

const worldOptions = z.strictObject({
  devices: z.array(deviceSpec).optional(),
  pages: z.int().positive().max(PAGES_MAX).optional(),
  premapPages: count,
  processes: count,
  lockLimitPages: z.int().nonnegative().optional(),
  swapInWaits: flag,
  hugePages: flag,
  frames: count,
  iommufd: z.enum(['auto', 'off']).optional(),
  enabled: flag,
});

const scenario = z.strictObject({
  name: z.string().regex(/^[^\s#,]+$/, 'words with hyphens between them are needed'),
  about: z.string(),
  rows: z.array(z.string()),
  world: worldOptions.optional(),
  setup: path.optional(),
  actors: z
    .record(z.string(), path)
    .refine((actors) => Object.keys(actors).length > 0, 'at least one actor is needed')
    .refine(
      (actors) => Object.keys(actors).length <= ACTORS_MAX,
      `at most ${ACTORS_MAX} actors are possible`,
    ),
  after: path.optional(),
  scaled: path.optional(),
});

/** Throws an Error that says which key is wrong, or why it cannot begin. */
export function checkScenario(value: Scenario): void {
  const { error } = scenario.safeParse(value);
  if (error !== undefined) {
    const { path, message } = error.issues[0]!;
    throw new Error(
      `scenario ${value.name}: ${path.length === 0 ? '' : `${path.join('.')}: `}${message}`,
    );
  }
  try {
    const { world } = new Execution(value, shippedParts);
    for (const [name, actor] of Object.entries(value.actors))
      if (typeof actor(world)?.next !== 'function')
        throw new Error(
          `actor ${name} returns no flow: it is a generator (*${name}(world) {…}) or returns one`,
        );
  } catch (failure) {
    const { message } = (failure ?? {}) as Partial<Error>;
    throw new Error(
      `scenario ${value.name} cannot begin: ${message ?? `${described(failure)} is thrown`}`,
    );
  }
}
