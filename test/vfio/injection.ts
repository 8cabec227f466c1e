/** What a call asks of its process, made to fail. */
import { Errno, fail } from '../../src/abi/errno.js';
import type { Kit } from './kit.js';

export interface Injection {
  /** Requests that still succeed; the next one fails. */
  left: number;
  /** What failed, or null where the call asked for less. */
  failed: 'copyFrom' | 'copyTo' | 'pin' | 'install' | 'eventfd' | null;
}

/** Lets the kernel's side of a kit's process fail; `left` is far away until a test sets it. */
export function inject({ mm, process }: Pick<Kit, 'mm' | 'process'>): Injection {
  const injection: Injection = { left: Number.POSITIVE_INFINITY, failed: null };
  const fails = (what: Injection['failed']): boolean => {
    if (injection.failed !== null || injection.left-- > 0) return false;
    injection.failed = what;
    return true;
  };
  const { copyFrom, copyTo, pin } = mm;
  const { install, reserve, file } = process;
  mm.copyFrom = (address, into) => !fails('copyFrom') && copyFrom.call(mm, address, into);
  mm.copyTo = (address, from) => !fails('copyTo') && copyTo.call(mm, address, from);
  mm.pin = (first, count, access, frames) =>
    fails('pin') ? -Errno.ENOMEM : pin.call(mm, first, count, access, frames);
  process.install = (opened) => (fails('install') ? fail('EMFILE') : install.call(process, opened));
  process.reserve = (opened) => (fails('install') ? fail('EMFILE') : reserve.call(process, opened));
  process.file = (fd) => {
    const found = file.call(process, fd);
    if (found?.kind !== 'eventfd') return found;
    return { kind: 'eventfd', take: () => (fails('eventfd') ? fail('ENOMEM') : found.take()) };
  };
  return injection;
}
