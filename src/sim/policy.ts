/** How a container gets its memory. */
import { z } from 'zod';
import { parseSize, size } from '../input/size.js';
import { UserError } from '../input/user-error.js';

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

const PREMAP_MOST = 512;
const allowed =
  'allowed: static, iopf, iopf:premap=N (1 to 512), iopf:premap=adaptive, iopf:prefetch, and memory=SIZE behind another colon';

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
    premap: 1 as number | 'adaptive',
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
  const parsed = size.safeParse(/^\d+$/.test(value) ? Number(value) : value);
  if (!parsed.success || parseSize(parsed.data) < 1)
    throw new UserError(
      `policy "${name}": memory=${value} ${z.prettifyError(parsed.error ?? new z.ZodError([])).slice(2) || 'must be a number of bytes, like 512M'}`,
    );
  return parseSize(parsed.data);
}
