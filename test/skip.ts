/** Tests that cannot run here say so: what is skipped, and what it would take. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'vitest';

const CAP_IPC_LOCK = 1 << 14;

/**
 * Returns `there`, to skip by: `describe.skipIf(!available(…))`. Prints what is skipped, and why,
 * where it is false.
 */
export function available(there: boolean, skipped: string, why: string): boolean {
  if (!there) console.warn(`SKIPPED: ${skipped}: ${why}`);
  return there;
}

const asked = process.env['IOPF_TESTS'];

/**
 * Whether a test runs that `npm test` has no time for: IOPF_TESTS=more, which CI asks for behind
 * it, runs one of each kind, IOPF_TESTS=all each in all of its modes.
 */
export const isWhole = asked === 'all';

export function moreIsAsked(skipped: string): boolean {
  return available(asked === 'more' || isWhole, skipped, 'IOPF_TESTS=more is not set');
}

/** Skips the test that runs: what it needs is known only now. */
export function skip(context: TestContext, why: string): never {
  console.warn(`SKIPPED: ${context.task.name}: ${why}`);
  return context.skip(why);
}

/** Whether a command exists. */
export function have(command: string, skipped: string): boolean {
  const found = spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;
  return available(found, skipped, `this machine has no ${command}`);
}

/** Whether setpriv(1) may make us a user without privilege. */
export function canDropPrivilege(skipped: string): boolean {
  return (
    available(process.getuid!() === 0, skipped, 'it takes root to become another user') &&
    have('setpriv', skipped)
  );
}

/** Skips the test that runs where its programs may not pin so many bytes. */
export function needsToPin(context: TestContext, bytes: number): void {
  const limit = Number(spawnSync('sh', ['-c', 'ulimit -l'], { encoding: 'utf8' }).stdout) * 1024;
  const capabilities = /^CapEff:\s+(\w+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]!;
  const mayExceed = (Number.parseInt(capabilities.slice(-8), 16) & CAP_IPC_LOCK) !== 0;
  // NaN: unlimited.
  if (!mayExceed && limit < bytes) skip(context, `it pins ${bytes} bytes, and may pin ${limit}`);
}

/** Whether the host has swap; .ci/run sets some up where it may. */
export function hasSwap(): boolean {
  return readFileSync('/proc/swaps', 'latin1').trim().split('\n').length > 1;
}
