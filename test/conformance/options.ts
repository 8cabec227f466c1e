/** What both conformance commands take: `[DIR|FILE…] [--kernel K] [--case NAME]`. */
import { parseArgs } from 'node:util';
import { DEFAULT_KERNEL, type KernelVersion, kernelVersions } from '../../src/abi/kernel.js';
import { vectorFiles } from './run.js';

/** Where the vectors lie, seen from the project's root. */
const VECTORS = 'test/vectors';

export interface ConformanceOptions {
  readonly kernel: KernelVersion;
  /** The one case to run, or all. */
  readonly only: string | undefined;
  readonly files: readonly string[];
}

/** Reads the command line; ends the process with 2 where it cannot be used. */
export function conformanceOptions(): ConformanceOptions {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { kernel: { type: 'string', default: DEFAULT_KERNEL }, case: { type: 'string' } },
  });
  const kernel = values.kernel as KernelVersion;
  if (!kernelVersions.includes(kernel)) {
    console.error(`conformance: no kernel ${kernel}; there are ${kernelVersions.join(', ')}`);
    process.exit(2);
  }
  const files = (positionals.length > 0 ? positionals : [VECTORS]).flatMap(vectorFiles);
  return { kernel, only: values.case, files };
}
