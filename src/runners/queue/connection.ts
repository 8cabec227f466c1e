/** A connection to a Redis that says clearly why there is none. */
import { Redis } from 'ioredis';
import { UserError } from '../../input/user-error.js';
import type { RedisAddress } from './address.js';

const CONNECT_MOST_MS = 5000;
const RETRY_MOST_MS = 1000;
const RETRY_STEP_MS = 100;

/**
 * Connected. A Redis that goes away later is waited for; commands wait with it. Throws UserError.
 */
export async function connect(address: RedisAddress): Promise<Redis> {
  const { db, host, name, password, port, tls, username } = address;
  let isConnected = false;
  const redis = new Redis({
    host,
    port,
    db,
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    ...(tls === null
      ? {}
      : { tls: { servername: host, ...(tls.ca === null ? {} : { ca: tls.ca }) } }),
    lazyConnect: true,
    connectTimeout: CONNECT_MOST_MS,
    maxRetriesPerRequest: null,
    retryStrategy: (times) => (isConnected ? Math.min(times * RETRY_STEP_MS, RETRY_MOST_MS) : null),
  });
  let why: Error | null = null;
  redis.on('error', (error: Error) => {
    why ??= error;
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    // A server that is there and answers nothing, too.
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('it does not answer')), 2 * CONNECT_MOST_MS);
    });
    await Promise.race([redis.connect().then(() => redis.ping()), late]);
  } catch (error) {
    redis.disconnect();
    throw new UserError(`cannot use the Redis at ${name}: ${reasonOf(why ?? error)}`);
  } finally {
    clearTimeout(timer);
  }
  isConnected = true;
  return redis;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const hints: Readonly<Record<string, string>> = {
    NOAUTH: 'it wants a password (IOPF_REDIS_PASSWORD)',
    WRONGPASS: 'it does not take the password',
    ENOTFOUND: 'its host is not known (ENOTFOUND)',
    ECONNREFUSED: 'nothing listens there (ECONNREFUSED)',
    ETIMEDOUT: 'it does not answer',
  };
  return hints[code ?? ''] ?? hints[message.split(' ')[0]!] ?? message;
}
