/** A module of a user, by its URL. */
import { fileURLToPath } from 'node:url';
import { described } from '../../input/described.js';
import { loadUserModule, withoutRequireStack } from '../../input/user-module.js';
import * as api from '../api/index.js';
import { ScenarioMistake } from '../verify/scenario-mistake.js';

/**
 * What a module exports, one by one or in arrays. What it throws is told as a `ScenarioMistake`.
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

/** Node loads JavaScript faster; but iopf need not be installed where a file imports of it. */
async function load(module: string): Promise<Record<string, unknown>> {
  if (!/\.[cm]?ts$/.test(module)) {
    try {
      return (await import(module)) as Record<string, unknown>;
    } catch (error) {
      const { code, message } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
      if (code !== 'ERR_MODULE_NOT_FOUND' || !message?.includes("'iopf'")) throw error;
    }
  }
  return await loadUserModule(fileURLToPath(module), { 'iopf/check': api });
}
