/** Variants of a user: a module that exports them, one by one or in arrays. */
import { z } from 'zod';
import { ScenarioMistake } from '../verify/scenario-mistake.js';
import { type Parts, shippedParts, type Variant } from '../world/parts.js';
import { VariantWatch } from '../world/variant-watch.js';
import { World } from '../world/world.js';
import { exportsOf } from './user-module.js';

const part = z.custom<() => never>((value) => typeof value === 'function', 'a class is needed');
const { watch: _, ...replaceable } = shippedParts;
const names = Object.keys(replaceable) as [keyof typeof replaceable];

const variant = z.strictObject({
  name: z.string().regex(/^[^\s#,]+$/, 'words with hyphens between them are needed'),
  about: z.string(),
  row: z.string(),
  parts: z
    .partialRecord(z.enum(names), part)
    .refine(
      (parts) => Object.keys(parts).length > 0,
      `at least one of ${names.join(', ')} is needed`,
    ),
});

/** The variants that a module exports, watched; `module` is its URL. Throws `ScenarioMistake`. */
export async function variantsIn(module: string): Promise<VariantWatch[]> {
  const known = new Set<string>();
  return (await exportsOf(module)).filter(isMeant).map((each) => {
    const { error } = variant.safeParse(each);
    if (error !== undefined) {
      const { path, message } = error.issues[0]!;
      const where = path.length === 0 ? '' : `${path.join('.')}: `;
      throw new ScenarioMistake(`variant ${each.name}: ${where}${message}`);
    }
    if (known.has(each.name))
      throw new ScenarioMistake(`variant ${each.name}: another one has this name`);
    known.add(each.name);
    return watchVariant(each);
  });
}

/** Parts of a user's variant, watched. Throws `ScenarioMistake` where one is no part. */
export function watchVariant(each: Variant): VariantWatch {
  return new VariantWatch(each, exampleWorld());
}

function isMeant(value: unknown): value is Variant {
  return typeof value === 'object' && value !== null && 'parts' in value;
}

/** A world of shipped parts with an object of every class that a variant may replace. */
function exampleWorld(): World {
  const world = new World({}, shippedParts satisfies Parts);
  const map = world.programs[0]!.map(0, 1);
  while (map.next().done !== true);
  const write = world.devices[0]!.write(0);
  while (world.space.iopf.handler.pageIns.length === 0) write.next();
  return world;
}
