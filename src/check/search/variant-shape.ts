/** What a variant of a user looks like, and whether one does. */
import { z } from 'zod';
import { ScenarioMistake } from '../verify/scenario-mistake.js';
import { type Parts, shippedParts, type Variant } from '../world/parts.js';
import { VariantWatch } from '../world/variant-watch.js';
import { World } from '../world/world.js';

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

/** A user's variant, watched. Throws `ScenarioMistake` where it is none, or a part of it. */
export function watchVariant(each: Variant): VariantWatch {
  const { error } = variant.safeParse(each);
  if (error !== undefined) {
    const { path, message } = error.issues[0]!;
    const where = path.length === 0 ? '' : `${path.join('.')}: `;
    throw new ScenarioMistake(`variant ${each.name}: ${where}${message}`);
  }
  return new VariantWatch(each, exampleWorld());
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
