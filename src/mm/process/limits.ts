/** Resource limits of this process (getrlimit(2)). */
import { getLong, HIGH } from '../../abi/long.js';
import { allocateNative, must, prlimit } from './libc.js';

export const RLIMIT_FSIZE = 1;
export const RLIMIT_NOFILE = 7;
/** RLIM_INFINITY, as its two halves are read. */
const INFINITE = 2 ** 64;

/** Infinity: there is none. */
export interface Limit {
  readonly soft: number;
  readonly hard: number;
}

/** struct rlimit64 */
const memory = allocateNative(16);
const words = new Uint32Array(memory.bytes.buffer, 0, 4);

/** Throws SystemError. */
export function getLimit(resource: number): Limit {
  must('prlimit', prlimit(0, resource, 0, memory.address));
  return { soft: readLimit(0), hard: readLimit(2) };
}

/** Returns 0, or -1 where `errno()` says why not: EPERM to raise the hard limit. */
export function setLimit(resource: number, limit: Limit): number {
  memory.bytes.set(limitBytes(limit));
  return prlimit(0, resource, memory.address, 0);
}

/** A limit as struct rlimit64. */
export function limitBytes({ soft, hard }: Limit): Uint8Array {
  return new Uint8Array(Uint32Array.from([...wordsOf(soft), ...wordsOf(hard)]).buffer);
}

function readLimit(at: number): number {
  const value = getLong(words, at);
  return value >= INFINITE ? Number.POSITIVE_INFINITY : value;
}

function wordsOf(value: number): readonly number[] {
  return value === Number.POSITIVE_INFINITY ? [HIGH - 1, HIGH - 1] : [value, value / HIGH];
}
