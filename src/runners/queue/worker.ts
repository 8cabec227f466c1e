/** `iopf worker`: does the jobs of all runs of the same iopf at a Redis, in threads. */
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Job, UnrecoverableError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { lineOf, refusalOf } from '../../jobs/job.js';
import { ThreadEnded } from '../../jobs/job-thread.js';
import { Seat } from '../../jobs/thread-runner.js';
import { kindNames, loadKind } from '../kinds.js';
import { redisAddress } from './address.js';
import { BroughtFiles } from './brought-files.js';
import { codeVersion } from './code-version.js';
import { connect } from './connection.js';
import { refusalText } from './failure.js';
import {
  BEAT_MS,
  beatOfWorker,
  jobData,
  newId,
  PREFIX,
  type RunMeta,
  RunStore,
  removeWorker,
  runsOf,
} from './run-store.js';

export interface WorkerRequest {
  readonly url: string;
  readonly threads: number;
  readonly allowModules: boolean;
  /** A line for the user. */
  tell(text: string): void;
  /** Jobs that run are finished, no others are taken. */
  readonly stop: AbortSignal;
}

const LOOK_MS = 250;
/** A job whose worker has not been heard of for so long is given to another. */
const LOCK_MS = 10_000;
const STALLED_LOOK_MS = 5000;
/** After so many it counts as failed: two, and the third. */
const STALLED_MOST = 2;
/** A run that nobody waits for any more is taken away. */
const ABANDONED_MS = 20_000;

/** Until it is stopped. Throws UserError. */
export async function serveJobs(request: WorkerRequest): Promise<void> {
  const { allowModules, stop, tell, threads, url } = request;
  const address = redisAddress(url);
  const redis = await connect(address);
  const version = codeVersion();
  redis.on('close', () => {
    if (!stop.aborted) tell(`the Redis at ${address.name} has gone away: waiting for it`);
  });
  const server = new JobServer(redis, request);
  const id = newId();
  tell(
    `iopf ${version} does jobs from ${address.name} in ${threads} threads` +
      (allowModules ? ', modules of users among them' : ''),
  );
  try {
    let beaten = Number.NEGATIVE_INFINITY;
    while (!stop.aborted) {
      if (performance.now() - beaten > BEAT_MS) {
        beaten = performance.now();
        await beatOfWorker(redis, id, { version, threads, modules: allowModules });
      }
      await server.look(await runsOf(redis));
      await pause(LOOK_MS, undefined, { signal: stop }).catch(() => {});
    }
    await server.finish();
  } finally {
    if (redis.status === 'ready') await removeWorker(redis, id);
    await server.end();
    redis.disconnect();
  }
}

class JobServer {
  private readonly workers = new Map<string, Worker>();
  private readonly leftAlone = new Set<string>();
  private readonly unwaitedSince = new Map<string, number>();
  private readonly files = new BroughtFiles();
  private readonly free: Seat[];
  private readonly wanting: ((seat: Seat) => void)[] = [];

  constructor(
    private readonly redis: Redis,
    private readonly request: WorkerRequest,
  ) {
    this.free = Array.from({ length: request.threads }, () => new Seat());
  }

  /** Takes part in the runs that there are, and no longer in others. */
  async look(runs: readonly (readonly [id: string, meta: RunMeta])[]): Promise<void> {
    const known = new Set(runs.map(([id]) => id));
    for (const id of this.workers.keys()) if (!known.has(id)) await this.leave(id);
    for (const id of this.leftAlone) if (!known.has(id)) this.leftAlone.delete(id);
    for (const [id, meta] of runs) {
      if (!meta.detached && (await this.isAbandoned(id))) continue;
      if (this.workers.has(id) || this.leftAlone.has(id)) continue;
      const why = this.whyNot(meta);
      if (why === null) this.join(id);
      else {
        this.leftAlone.add(id);
        this.request.tell(`run ${id} is left alone: ${why}`);
      }
    }
  }

  /** Waits for the jobs that run. */
  async finish(): Promise<void> {
    await Promise.all([...this.workers.values()].map((worker) => worker.close()));
    this.workers.clear();
  }

  async end(): Promise<void> {
    for (const worker of this.workers.values()) await worker.close(true).catch(() => {});
    for (const seat of this.free) await seat.end();
    this.files.remove();
  }

  private whyNot({ modules, version }: RunMeta): string | null {
    const own = codeVersion();
    if (version !== own) return `it is of iopf ${version}, and this is ${own}`;
    if (modules && !this.request.allowModules)
      return 'it runs modules of a user, and this worker was started without --allow-modules';
    return null;
  }

  /** Whoever waited for it is gone: it goes, too. */
  private async isAbandoned(id: string): Promise<boolean> {
    const store = new RunStore(this.redis, id);
    if (await store.isWaitedFor()) {
      this.unwaitedSince.delete(id);
      return false;
    }
    const since = this.unwaitedSince.get(id) ?? performance.now();
    this.unwaitedSince.set(id, since);
    if (performance.now() - since < ABANDONED_MS) return false;
    this.unwaitedSince.delete(id);
    this.request.tell(`run ${id} is taken away: nobody waits for it`);
    await store.remove();
    await this.leave(id);
    return true;
  }

  private join(id: string): void {
    const store = new RunStore(this.redis, id);
    const worker = new Worker(id, (job) => this.work(store, job), {
      connection: this.redis,
      prefix: PREFIX,
      concurrency: this.request.threads,
      lockDuration: LOCK_MS,
      stalledInterval: STALLED_LOOK_MS,
      maxStalledCount: STALLED_MOST,
      skipVersionCheck: true,
    });
    worker.on('error', () => {}); // The connection is looked at itself.
    this.workers.set(id, worker);
  }

  /** The run is over; what is still done of it is of no use. */
  private async leave(id: string): Promise<void> {
    const worker = this.workers.get(id);
    this.workers.delete(id);
    await worker?.close(true).catch(() => {});
    // What BullMQ has noted down for itself since.
    await new RunStore(this.redis, id).remove();
    this.files.forget(id);
  }

  private async work(store: RunStore, job: Job): Promise<unknown> {
    const { allowModules } = this.request;
    const name = kindNames.find((each) => each === job.name);
    if (name === undefined) throw new UnrecoverableError(`no kind of job is called ${job.name}`);
    const kind = await loadKind(name);
    const schemas = await kind.schemas();
    const data = jobData.safeParse(job.data);
    const input = schemas.input.safeParse(data.data?.input);
    if (data.data === undefined || !input.success)
      throw new UnrecoverableError('what lies in the queue is no job of iopf');
    const wanted = kind.modulesOf(input.data);
    if (wanted.length > 0 && !allowModules)
      throw new UnrecoverableError('it runs modules of a user: --allow-modules');
    const places = await this.files.of(store, data.data.files);
    const modules = await this.files.modulesOf(store, data.data.modules);
    if (wanted.some((url) => !Object.hasOwn(modules, url)))
      throw new UnrecoverableError('a module did not come with the job');
    const seat = await this.seat();
    try {
      const here = kind.withModules(input.data, (url) => modules[url]!);
      const progress = (value: unknown): void => {
        job.updateProgress(value as object).catch(() => {});
      };
      const json = await seat.thread().ask(kind, here, progress, places);
      return JSON.parse(asThere(json, modules));
    } catch (error) {
      if (error instanceof ThreadEnded) await seat.end();
      const why = refusalOf(kind, error);
      if (why === null) throw new Error(lineOf(error));
      throw new UnrecoverableError(refusalText(why, asThere((error as Error).message, modules)));
    } finally {
      this.giveBack(seat);
    }
  }

  private seat(): Promise<Seat> {
    const seat = this.free.pop();
    if (seat !== undefined) return Promise.resolve(seat);
    return new Promise((resolve) => this.wanting.push(resolve));
  }

  private giveBack(seat: Seat): void {
    const next = this.wanting.shift();
    if (next === undefined) this.free.push(seat);
    else next(seat);
  }
}

/** A text with the names of modules that they have where they come from. */
function asThere(text: string, modules: Readonly<Record<string, string>>): string {
  let changed = text;
  for (const [there, here] of Object.entries(modules))
    changed = changed.replaceAll(here, there).replaceAll(fileURLToPath(here), fileURLToPath(there));
  return changed;
}
