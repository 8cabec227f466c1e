/** A module of a user, by its URL. */
import { fileURLToPath } from 'node:url';
import { withoutRequireStack } from '../../input/user-module.js';
import { described, ScenarioMistake } from '../verify/scenario-mistake.js';

/**
 * What a module exports, one by one or in arrays. TypeScript is run without a look at its types.
 * What it throws is told as a `ScenarioMistake`.
 */
export async function exportsOf(module: string): Promise<unknown[]> {
  try {
    return Object.values(await load(module)).flat();
  } catch (error) {
    throw asMistake(withoutRequireStack(error));
  }
}

/** What loading or looking at a user's export threw. */
export function asMistake(error: unknown): ScenarioMistake {
  const { message } = (error ?? {}) as Partial<Error>;
  return new ScenarioMistake(message ?? `throws ${described(error)}`);
}

async function load(module: string): Promise<Record<string, unknown>> {
  if (!/\.[cm]?ts$/.test(module)) return (await import(module)) as Record<string, unknown>;
  // Node 20 runs no TypeScript.
  const { createJiti } = await import('jiti');
  return await createJiti(import.meta.url, { fsCache: false }).import(fileURLToPath(module));
}
