/** What a plan is asked, with all that its files say: plain data, to be asked again elsewhere. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { codeOf, readNamed, TEXT_MOST_BYTES } from '../input/named-file.js';
import { UserError } from '../input/user-error.js';
import { curveEnd } from '../sim/curve.js';
import { readModel } from '../sim/input.js';
import { fileOf, sourceOf } from '../sim/machine-source.js';
import { parsePolicy } from '../sim/policy.js';
import type { CurveJob } from './curve-job.js';
import { costModel } from './curve-schemas.js';
import { type Fleet, parseFleet } from './fleet.js';

const question = z.strictObject({
  /** Of the fleet's file, and what stands in it. */
  path: z.string(),
  text: z.string().max(TEXT_MOST_BYTES),
  seed: z.int().nonnegative(),
  model: costModel,
  /** Of the files that classes name. */
  digests: z.record(z.string(), z.string()),
});

export type PlanQuestion = z.output<typeof question>;

/** Throws UserError. */
export function readQuestion(path: string, seed: number): PlanQuestion {
  const text = readNamed({ what: 'a fleet', path }, TEXT_MOST_BYTES).toString();
  const fleet = fleetOf({ path, text });
  const digests: Record<string, string> = {};
  for (const each of fleet.classes) {
    const file = fileOf(each, dirname(path));
    if (file !== null) digests[file] = digestOf(file);
  }
  return { path, text, seed, model: readModel(fleet.model), digests };
}

/** From the JSON of one, which anybody may have written. Throws UserError. */
export function parseQuestion(json: string): PlanQuestion {
  try {
    return question.parse(JSON.parse(json));
  } catch {
    throw new UserError('what was left with the run is no fleet');
  }
}

/** Throws UserError. */
export function fleetOf({ path, text }: Pick<PlanQuestion, 'path' | 'text'>): Fleet {
  const fleet = parseFleet(text, path);
  for (const policy of fleet.policies) parsePolicy(policy);
  return fleet;
}

/** A job for each class, policy and seed. */
export function curveJobs(fleet: Fleet, asked: PlanQuestion): CurveJob[] {
  const { digests, path, seed } = asked;
  const { swap } = fleet.host;
  const model =
    typeof swap === 'number'
      ? { ...asked.model, costs: { ...asked.model.costs, swapIn: swap } }
      : asked.model;
  // The same on every machine.
  const folder = resolve(dirname(path));
  return fleet.classes.flatMap((each) => {
    const { name } = each;
    const file = fileOf(each, dirname(path));
    const source = sourceOf(each);
    const hasChance = source.vm !== undefined || source.scenario !== undefined;
    return fleet.policies.flatMap((policy) => {
      // What is pinned needs what is mapped.
      const seeds = parsePolicy(policy).pinned || !hasChance ? 1 : fleet.seeds;
      return Array.from({ length: seeds }, (_, index) => ({
        name,
        source,
        folder,
        digest: file === null ? null : digests[file]!,
        policy,
        model,
        seed: seed + index,
        worstPercent: curveEnd(fleet.slowdownBound),
      }));
    });
  });
}

function digestOf(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch (error) {
    throw new UserError(`cannot read ${path}: ${codeOf(error)}`);
  }
}
