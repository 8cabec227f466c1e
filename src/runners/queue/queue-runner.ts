/**
 * Jobs on other machines: a run is a BullMQ queue of its own, from which workers take. This side
 * polls it for results: what lies in the queue counts, and no message about it, so that nothing is
 * lost or counted twice when the Redis goes away for a while.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Job, Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { z } from 'zod';
import { hostFiles } from '../../input/file-source.js';
import { UserError } from '../../input/user-error.js';
import {
  ATTEMPTS,
  type JobEvents,
  type JobKind,
  type JobOutcome,
  type JobRunner,
} from '../../jobs/job.js';
import { type RedisAddress, redisAddress } from './address.js';
import { codeVersion } from './code-version.js';
import { connect } from './connection.js';
import { failureLine, refusalIn } from './failure.js';
import { BEAT_MS, type JobData, newId, PREFIX, RunStore, workersOf } from './run-store.js';

export interface QueueOptions {
  /** A line for the user. */
  tell(text: string): void;
}

const LOOK_MS = 100;
const ADD_AT_A_TIME = 1000;
const ACTIVE_MOST = 256;
const FILE_MOST_BYTES = 2 ** 30;
/** A Redis that is away for longer is given up. */
const AWAY_MOST_MS = 60_000;
const INTERRUPTED = 130;

/** Throws UserError where the address is none. */
export function queueRunner(url: string, options: QueueOptions): JobRunner {
  const address = redisAddress(url);
  return {
    run: (kind, inputs, events = {}) =>
      inputs.length === 0
        ? Promise.resolve([])
        : withRedis(address, async (redis) => {
            const run = new QueueRun(redis, address, newId(), kind, options);
            return run.toTheEnd(() => run.put(inputs, null), inputs.length, events);
          }),
  };
}

/** Leaves jobs to the workers, with a text about them; returns the run's ID. Throws UserError. */
export function detach<Input, Result, Progress>(
  url: string,
  kind: JobKind<Input, Result, Progress>,
  inputs: readonly Input[],
  request: string,
  options: QueueOptions,
): Promise<string> {
  const address = redisAddress(url);
  return withRedis(address, async (redis) => {
    const id = newId();
    const run = new QueueRun(redis, address, id, kind, options);
    await run.unlessInterrupted(() => run.put(inputs, request));
    return id;
  });
}

/** The text about a run, and who gets its results: jobs are those that were left. */
export async function attach(
  url: string,
  id: string,
  options: QueueOptions,
): Promise<{ readonly request: string; readonly runner: JobRunner }> {
  const address = redisAddress(url);
  const request = await withRedis(address, async (redis) => {
    const store = new RunStore(redis, id);
    const meta = await store.meta();
    const text = await store.request();
    if (meta === null || text === null)
      throw new UserError(`there is no run ${id} at ${address.name}`);
    if (meta.version !== codeVersion())
      throw new UserError(`run ${id} is of iopf ${meta.version}, and this is ${codeVersion()}`);
    return text;
  });
  const runner: JobRunner = {
    run: (kind, inputs, events = {}) =>
      withRedis(address, async (redis) => {
        const run = new QueueRun(redis, address, id, kind, options);
        return run.toTheEnd(() => run.checkTotal(inputs.length), inputs.length, events);
      }),
  };
  return { request, runner };
}

async function withRedis<Value>(
  address: RedisAddress,
  use: (redis: Redis) => Promise<Value>,
): Promise<Value> {
  const redis = await connect(address);
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

const jobId = (index: number): string => `job-${index}`;

class QueueRun<Input, Result, Progress> {
  private readonly store: RunStore;
  private readonly queue: Queue;
  private readonly outcomes = new Map<number, JobOutcome<Result>>();
  /** What was put, to be put again where the Redis has lost it. */
  private again: (() => Promise<void>) | null = null;
  private isOver = false;
  /** There is no worker, and the user knows. */
  private isAlone = false;

  constructor(
    private readonly redis: Redis,
    private readonly address: RedisAddress,
    id: string,
    private readonly kind: JobKind<Input, Result, Progress>,
    private readonly options: QueueOptions,
  ) {
    this.store = new RunStore(redis, id);
    this.queue = new Queue(id, { connection: redis, prefix: PREFIX, skipVersionCheck: true });
    this.queue.on('error', () => {}); // The connection is looked at itself.
  }

  /** `request` is not null where nobody is going to wait. */
  async put(inputs: readonly Input[], request: string | null): Promise<void> {
    const modules = new Set(inputs.flatMap((input) => this.kind.modulesOf(input)));
    await this.checkWorkers(modules.size > 0, request !== null);
    const digests = new Map<string, string>();
    const putAll = async (): Promise<void> => {
      const about = {
        version: codeVersion(),
        command: this.kind.name,
        total: inputs.length,
        detached: request !== null,
        modules: modules.size > 0,
        createdMs: Date.now(),
      };
      // First, so that somebody clears up whenever this ends.
      await this.store.announce(about);
      if (request !== null) await this.store.putRequest(request);
      const data: JobData[] = [];
      for (const input of inputs)
        data.push({
          input,
          files: await this.putFiles(this.kind.filesOf(input), digests),
          modules: await this.putFiles(this.kind.modulesOf(input), digests),
        });
      await this.addJobs(data);
    };
    await putAll();
    this.again = async () => {
      digests.clear();
      await putAll();
    };
  }

  /** As many jobs as are expected lie there. Throws UserError. */
  async checkTotal(total: number): Promise<void> {
    const meta = await this.store.meta();
    if (meta?.total !== total || meta.command !== this.kind.name)
      throw new UserError(`run ${this.store.id} is another one than was asked for`);
    await this.store.beat();
  }

  /** Then nothing of the run is left. */
  async toTheEnd(
    begin: () => Promise<void>,
    total: number,
    events: JobEvents<Result, Progress>,
  ): Promise<JobOutcome<Result>[]> {
    await this.unlessInterrupted(async () => {
      await begin();
      await this.collect(total, events);
    });
    await this.store.remove();
    return Array.from({ length: total }, (_, index) => this.outcomes.get(index)!);
  }

  /** Interrupted, the run is taken away. */
  async unlessInterrupted<Value>(work: () => Promise<Value>): Promise<Value> {
    let stop: (error: UserError) => void = () => {};
    const stopped = new Promise<never>((_, reject) => {
      stop = reject;
    });
    const interrupted = (): void =>
      stop(new UserError('interrupted: the run is taken back', INTERRUPTED));
    const watch = this.watchConnection(stop);
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
    const working = work();
    try {
      return await Promise.race([working, stopped]);
    } catch (error) {
      this.isOver = true;
      if (this.redis.status === 'ready') {
        await working.catch(() => {}); // It puts nothing more.
        await this.store.remove();
      }
      throw error;
    } finally {
      this.isOver = true;
      watch();
      process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    }
  }

  /** Gives up a Redis that stays away; one that is back is given what it has lost. */
  private watchConnection(stop: (error: UserError) => void): () => void {
    const { address, options, redis } = this;
    let timer: NodeJS.Timeout | undefined;
    const away = (): void => {
      if (timer !== undefined || this.isOver) return;
      options.tell(`the Redis at ${address.name} has gone away: waiting for it`);
      const seconds = AWAY_MOST_MS / 1000;
      timer = setTimeout(
        () => stop(new UserError(`the Redis at ${address.name} is away for ${seconds} s`)),
        AWAY_MOST_MS,
      );
    };
    const back = (): void => {
      clearTimeout(timer);
      timer = undefined;
      this.again?.().catch(stop);
    };
    redis.on('close', away).on('ready', back);
    return () => {
      clearTimeout(timer);
      redis.off('close', away).off('ready', back);
    };
  }

  private async checkWorkers(withModules: boolean, canWait: boolean): Promise<void> {
    const { address, redis } = this;
    const workers = await workersOf(redis);
    if (workers.length === 0) {
      if (!canWait) this.tellAlone();
      return;
    }
    const version = codeVersion();
    const same = workers.filter((each) => each.version === version);
    if (same.length === 0) {
      const others = [...new Set(workers.map((each) => each.version))].join(', ');
      throw new UserError(
        `no worker at ${address.name} has this iopf (${version}), but ${others}: ` +
          'install the same on all machines',
      );
    }
    if (withModules && !same.some(({ modules }) => modules))
      throw new UserError(
        `no worker at ${address.name} runs modules of users: start one with --allow-modules`,
      );
  }

  /** Said again where workers came and went. */
  private tellAlone(): void {
    if (!this.isAlone)
      this.options.tell(
        `no worker is at ${this.address.name}: start iopf worker redis://HOST, on any machine`,
      );
    this.isAlone = true;
  }

  private async putFiles(
    names: readonly string[],
    digests: Map<string, string>,
  ): Promise<Record<string, string>> {
    const all: Record<string, string> = {};
    for (const name of names) {
      this.checkGoesOn();
      let digest = digests.get(name);
      if (digest === undefined) {
        const bytes = name.startsWith('file:')
          ? readFileSync(fileURLToPath(name))
          : hostFiles.read({ what: 'the input', path: name }, FILE_MOST_BYTES);
        digest = await this.store.putFile(name, bytes);
        digests.set(name, digest);
      }
      all[name] = digest;
    }
    return all;
  }

  /** Those that lie there already stay as they are. */
  private async addJobs(data: readonly JobData[]): Promise<void> {
    for (let from = 0; from < data.length; from += ADD_AT_A_TIME) {
      this.checkGoesOn();
      await this.queue.addBulk(
        data.slice(from, from + ADD_AT_A_TIME).flatMap((each, offset) => {
          const index = from + offset;
          if (this.outcomes.has(index)) return [];
          const opts = { jobId: jobId(index), attempts: ATTEMPTS, stackTraceLimit: 0 };
          return [{ name: this.kind.name, data: each, opts }];
        }),
      );
    }
  }

  private checkGoesOn(): void {
    if (this.isOver) throw new Error('the run is over');
  }

  private async collect(total: number, events: JobEvents<Result, Progress>): Promise<void> {
    const { result, progress } = await this.kind.schemas();
    let beaten = 0;
    while (!this.isOver) {
      const isBeat = performance.now() - beaten > BEAT_MS;
      if (isBeat) {
        beaten = performance.now();
        await this.store.beat();
        if ((await this.store.meta()) === null && this.redis.status === 'ready') await this.lost();
      }
      for (const state of ['completed', 'failed'] as const) {
        const ids = await this.queue.getRanges([state], 0, -1);
        await Promise.all(ids.map((id) => this.take(id, state, total, result, events)));
      }
      if (this.outcomes.size === total) return;
      if (isBeat && this.redis.status === 'ready') {
        if ((await workersOf(this.redis)).length === 0) this.tellAlone();
        else this.isAlone = false;
      }
      await this.tellProgress(progress, total, events);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** The run is not there any more. */
  private async lost(): Promise<void> {
    if (this.again !== null) {
      await this.again();
      return;
    }
    throw new UserError(
      `run ${this.store.id} is gone from the Redis at ${this.address.name}: somebody took it away, ` +
        'or the Redis was restarted without its append-only file',
    );
  }

  private async take(
    id: string,
    state: 'completed' | 'failed',
    total: number,
    schema: z.ZodType<Result>,
    events: JobEvents<Result, Progress>,
  ): Promise<void> {
    const index = Number(/^job-(\d{1,9})$/.exec(id)?.[1] ?? -1);
    if (index < 0 || index >= total || this.outcomes.has(index)) return;
    const job = await Job.fromId(this.queue, id);
    if (job === undefined || this.outcomes.has(index)) return;
    const outcome = this.outcomeOf(job, state, schema);
    this.outcomes.set(index, outcome);
    events.done?.(index, outcome);
  }

  private outcomeOf(
    job: Job,
    state: 'completed' | 'failed',
    schema: z.ZodType<Result>,
  ): JobOutcome<Result> {
    if (state === 'failed') {
      const text = String(job.failedReason);
      const refusal = refusalIn(text, this.kind);
      if (refusal !== null) throw refusal;
      return { kind: 'failed', message: failureLine(text) };
    }
    const value: unknown = job.returnvalue;
    const { error } = schema.safeParse(value);
    // As it is, and not as the schema orders its keys: as from a thread.
    if (error === undefined) return { kind: 'done', result: value as Result };
    const { message, path } = error.issues[0]!;
    return { kind: 'failed', message: `its result is none: ${path.join('.')}: ${message}` };
  }

  private async tellProgress(
    schema: z.ZodType<Progress>,
    total: number,
    events: JobEvents<Result, Progress>,
  ): Promise<void> {
    if (events.progress === undefined) return;
    for (const job of await this.queue.getJobs(['active'], 0, ACTIVE_MOST)) {
      const index = Number(/^job-(\d{1,9})$/.exec(job?.id ?? '')?.[1] ?? -1);
      if (index < 0 || index >= total || this.outcomes.has(index)) continue;
      const { data, success } = schema.safeParse(job.progress);
      if (success) events.progress(index, data);
    }
  }
}
