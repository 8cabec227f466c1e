/**
 * What a run keeps in a Redis: all keys begin with `iopf:ID:`, so that one scan removes it. Its
 * jobs are a BullMQ queue, its files stand beside it under their digests. What is read here may be
 * anybody's.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { UserError } from '../../input/user-error.js';

/** Prefix of all keys. */
export const PREFIX = 'iopf';
const RUNS = `${PREFIX}:runs`;

const ALIVE_SECONDS = 30;
const WORKER_SECONDS = 10;
/** Clients and workers say that they are there more often than that. */
export const BEAT_MS = 2500;
const SCAN_KEYS = 1000;
/** What a file of a job may have; larger ones are compared where they are. */
const FILE_MOST_BYTES = 256 * 2 ** 20;

const runMeta = z.strictObject({
  version: z.string().max(100),
  command: z.enum(['curve', 'compare', 'check']),
  total: z.int().nonnegative(),
  /** Nobody waits for it now; its data stays until somebody comes for it. */
  detached: z.boolean(),
  /** Whether modules of the user run in it. */
  modules: z.boolean(),
  createdMs: z.number(),
});
export type RunMeta = z.output<typeof runMeta>;

const workerMeta = z.strictObject({
  version: z.string().max(100),
  threads: z.int().positive(),
  modules: z.boolean(),
});
export type WorkerMeta = z.output<typeof workerMeta>;

const digest = z.string().regex(/^[0-9a-f]{64}$/);

/** A job as it lies in the queue; what its input is, its kind knows. */
export const jobData = z.strictObject({
  input: z.unknown(),
  files: z.record(z.string(), digest),
  modules: z.record(z.url({ protocol: /^file$/ }), digest),
});
export type JobData = z.output<typeof jobData>;

export function newId(): string {
  return randomBytes(8).toString('hex');
}

function isId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text);
}

export class RunStore {
  constructor(
    private readonly redis: Redis,
    readonly id: string,
  ) {}

  private key(name: string): string {
    return `${PREFIX}:${this.id}:${name}`;
  }

  /** From now on workers see it. */
  async announce(meta: RunMeta): Promise<void> {
    if (!meta.detached) await this.beat();
    await this.redis.hset(RUNS, this.id, JSON.stringify(meta));
  }

  /** Null: there is no such run. */
  async meta(): Promise<RunMeta | null> {
    const text = await this.redis.hget(RUNS, this.id);
    return text === null ? null : parsed(runMeta, text);
  }

  /** Somebody waits for it. */
  async beat(): Promise<void> {
    await this.redis.set(this.key('waited-for'), '1', 'EX', ALIVE_SECONDS);
  }

  async isWaitedFor(): Promise<boolean> {
    return (await this.redis.exists(this.key('waited-for'))) === 1;
  }

  /** Returns the digest. Throws UserError. */
  async putFile(name: string, bytes: Buffer): Promise<string> {
    if (bytes.length > FILE_MOST_BYTES)
      throw new UserError(
        `${name} is too large for --engine: more than ${FILE_MOST_BYTES / 2 ** 20} MiB`,
      );
    const key = digestOf(bytes);
    await this.redis.set(this.key(`file:${key}`), bytes);
    return key;
  }

  /** Null: it is not there, or another one. */
  async file(key: string): Promise<Buffer | null> {
    const bytes = await this.redis.getBuffer(this.key(`file:${key}`));
    return bytes !== null && digestOf(bytes) === key ? bytes : null;
  }

  async putRequest(json: string): Promise<void> {
    await this.redis.set(this.key('request'), json);
  }

  request(): Promise<string | null> {
    return this.redis.get(this.key('request'));
  }

  /** Nothing of it stays. */
  async remove(): Promise<void> {
    await this.redis.hdel(RUNS, this.id);
    let cursor = '0';
    do {
      const [next, keys] = await this.redis.scan(
        cursor,
        'MATCH',
        `${PREFIX}:${this.id}:*`,
        'COUNT',
        SCAN_KEYS,
      );
      if (keys.length > 0) await this.redis.unlink(...keys);
      cursor = next;
    } while (cursor !== '0');
  }
}

function digestOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function parsed<Value>(schema: z.ZodType<Value>, text: string): Value | null {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return null; // iopf has not written it.
  }
}

/** All runs that are announced, the oldest first. */
export async function runsOf(redis: Redis): Promise<[id: string, meta: RunMeta][]> {
  const all = await redis.hgetall(RUNS);
  return Object.entries(all)
    .flatMap(([id, text]): [string, RunMeta][] => {
      const meta = isId(id) ? parsed(runMeta, text) : null;
      return meta === null ? [] : [[id, meta]];
    })
    .sort(([, a], [, b]) => a.createdMs - b.createdMs);
}

/** Says that a worker is there, for a while. */
export async function beatOfWorker(redis: Redis, id: string, meta: WorkerMeta): Promise<void> {
  await redis.set(`${PREFIX}:worker:${id}`, JSON.stringify(meta), 'EX', WORKER_SECONDS);
}

export async function removeWorker(redis: Redis, id: string): Promise<void> {
  await redis.del(`${PREFIX}:worker:${id}`);
}

export async function workersOf(redis: Redis): Promise<WorkerMeta[]> {
  const found: WorkerMeta[] = [];
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(
      cursor,
      'MATCH',
      `${PREFIX}:worker:*`,
      'COUNT',
      SCAN_KEYS,
    );
    for (const text of keys.length === 0 ? [] : await redis.mget(keys)) {
      const meta = text === null ? null : parsed(workerMeta, text);
      if (meta !== null) found.push(meta);
    }
    cursor = next;
  } while (cursor !== '0');
  return found;
}
