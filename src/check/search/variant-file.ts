/** Variants of a user: a module that exports them, one by one or in arrays. */
import { ScenarioMistake } from '../verify/scenario-mistake.js';
import type { Variant } from '../world/parts.js';
import type { VariantWatch } from '../world/variant-watch.js';
import { exportsOf } from './user-module.js';
import { watchVariant } from './variant-shape.js';

/** The variants that a module exports, watched; `module` is its URL. Throws `ScenarioMistake`. */
export async function variantsIn(module: string): Promise<VariantWatch[]> {
  const known = new Set<string>();
  return (await exportsOf(module)).filter(isMeant).map((each) => {
    const watched = watchVariant(each);
    if (known.has(each.name))
      throw new ScenarioMistake(`variant ${each.name}: another one has this name`);
    known.add(each.name);
    return watched;
  });
}

function isMeant(value: unknown): value is Variant {
  return typeof value === 'object' && value !== null && 'parts' in value;
}
