/** How a container gets its memory. */
import { parseSize, SIZE_EXPECTED } from '../input/size.js';
import { UserError } from '../input/user-error.js';
import { PREMAP_DEFAULT, PREMAP_MOST } from '../ioas/iopf/premap.js';

export interface Policy {
  /** As the user wrote it. */
  readonly name: string;
  /** Everything is pinned when it is mapped. */
  readonly pinned: boolean;
  /** Pages that a fault brings in. */
  readonly premap: number | 'adaptive';
  /** The program tells ahead which pages a device will touch. */
  readonly prefetch: boolean;
  /** Memory of the host in bytes; null: enough. */
  readonly memoryBytes: number | null;
}

const allowed = `allowed: static, iopf, iopf:premap=N (1 to ${PREMAP_MOST}), iopf:premap=adaptive, iopf:prefetch, and memory=SIZE behind another colon`;

export const defaultPolicies: readonly string[] = [
  'static',
  'iopf',
  'iopf:premap=8',
  'iopf:premap=512',
  'iopf:premap=adaptive',
  'iopf:prefetch',
];

/** Parses `iopf:premap=8:memory=512M`. Throws UserError. */
export function parsePolicy(name: string): Policy {
  const [kind, ...options] = name.split(':');
  if (kind !== 'static' && kind !== 'iopf')
    throw new UserError(`unknown policy "${name}"; ${allowed}`);
  const policy = {
    name,
    pinned: kind === 'static',
    premap: PREMAP_DEFAULT as number | 'adaptive',
    prefetch: false,
    memoryBytes: null as number | null,
  };
  const given = new Set<string>();
  for (const option of options) {
    const [, key, value = ''] = /^([^=]*)(?:=(.*))?$/s.exec(option)!;
    if (given.has(key!)) throw new UserError(`policy "${name}": ${key} is given twice`);
    given.add(key!);
    if (key === 'memory') policy.memoryBytes = memory(name, value);
    else if (policy.pinned) throw new UserError(`policy "${name}": static takes memory=SIZE only`);
    else if (key === 'prefetch' && value === '') policy.prefetch = true;
    else if (key === 'premap') policy.premap = premap(name, value);
    else throw new UserError(`policy "${name}": unknown option "${option}"; ${allowed}`);
  }
  return policy;
}

function premap(name: string, value: string): number | 'adaptive' {
  if (value === 'adaptive') return value;
  const pages = Number(value);
  if (!/^\d+$/.test(value) || pages < 1 || pages > PREMAP_MOST)
    throw new UserError(
      `policy "${name}": premap=${value} must be a number of pages, 1 to ${PREMAP_MOST}, or adaptive`,
    );
  return pages;
}

function memory(name: string, value: string): number {
  const bytes = parseSize(value);
  if (!(bytes > 0))
    throw new UserError(`policy "${name}": memory=${value} must be ${SIZE_EXPECTED}, above 0`);
  return bytes;
}
