/** The variants that `--variant` names: one, or all that begin with a name and a slash. */
import type { Variant } from '../world/parts.js';
import { rfcV3 } from './rfc-v3.js';

export const variants: readonly Variant[] = [...rfcV3];

export function variantsNamed(name: string): readonly Variant[] {
  return variants.filter((variant) => variant.name === name || variant.name.startsWith(`${name}/`));
}
