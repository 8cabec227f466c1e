/** Whether an address space keeps to what the engine asks: a suite that its author runs. */
import { Random } from '../../abi/random.js';
import { Broken, SpaceBench, type SpaceUnderTest } from './space-bench.js';
import { spaceRules } from './space-rules.js';

export interface CheckAddressSpaceOptions {
  /** Of the random program; 1 unless given. */
  readonly seed?: number;
}

/**
 * Checks address spaces that `make` makes, one for each rule, with nothing mapped in [0x10200,
 * 0x10211) pages: copies, page-in, frames that stay until somebody is told, notifiers that are told
 * before a page goes, the end of the process, pins, the account, a random program. Throws an Error
 * with a line for each rule that is broken, and the seed.
 */
export function checkAddressSpace(
  make: () => SpaceUnderTest,
  { seed = 1 }: CheckAddressSpaceOptions = {},
): void {
  const found: string[] = [];
  for (const { check, name } of spaceRules) {
    try {
      check(new SpaceBench(make()), new Random(seed));
    } catch (error) {
      const { message, stack = '' } = error as Error;
      found.push(`${name}: ${error instanceof Broken ? message : `it throws ${stack || message}`}`);
    }
  }
  if (found.length > 0)
    throw new Error(
      `address space (seed ${seed}):\n${found.map((each) => `  ${each}`).join('\n')}`,
    );
}
