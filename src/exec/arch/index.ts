import type { Architecture } from './architecture.js';
import { arm64 } from './arm64.js';
import { x64 } from './x64.js';

export type { Architecture, MachineCode, SystemCall } from './architecture.js';

const architectures: readonly Architecture[] = [x64, arm64];

/** The architecture that Node calls so (`process.arch`), or null where exec knows it not. */
export function architecture(name: string): Architecture | null {
  return architectures.find((known) => known.name === name) ?? null;
}
