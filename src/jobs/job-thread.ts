/**
 * A thread that does jobs, and is watched: what a user's module does to it is reported as the
 * module's mistake.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { described } from '../input/described.js';
import type { JobKind } from './job.js';

export interface ThreadRequest {
  readonly kind: JobKind<never, unknown, never>['name'];
  readonly input: unknown;
  /** Files that stand for those that the input names; null: those of this host. */
  readonly files: Readonly<Record<string, string>> | null;
}

export type ThreadMessage =
  | { readonly kind: 'progress'; readonly value: unknown }
  | { readonly kind: 'done'; readonly json: string }
  | { readonly kind: 'refused'; readonly why: string; readonly message: string };

/** The thread ended otherwise than by a result or a refusal, and is not usable any more. */
export class ThreadEnded extends Error {
  override readonly name = 'ThreadEnded';
}

/** No step takes so long, nor does loading a file. */
const STUCK_MS = 10_000;
/** Looks at it in that time. */
const LOOKS = 10;
const LOOK_MS = STUCK_MS / LOOKS;
/** A process that got less of a processor than this between two looks was idle. */
const IDLE_MS = 5;

interface Waiting {
  resolve(json: string): void;
  reject(error: unknown): void;
  progress(value: unknown): void;
  readonly refusals: Readonly<Record<string, new (message: string) => Error>>;
}

export class JobThread {
  private readonly pulse = new Int32Array(new SharedArrayBuffer(8));
  private readonly worker: Worker;
  private waiting: Waiting | null = null;
  private watch: NodeJS.Timeout | undefined;
  private module: string | null = null;

  constructor() {
    this.worker = new Worker(new URL('../runners/thread.js', import.meta.url), {
      workerData: this.pulse,
    });
    this.worker.on('message', (message: ThreadMessage) => this.take(message));
    this.worker.on('error', (error: unknown) => this.fail(this.asEnd('throws', error)));
    this.worker.on('exit', () =>
      this.fail(
        this.module === null
          ? new ThreadEnded('its thread ended by itself')
          : this.mistake(`${this.module} ends its own thread (process.exit)`),
      ),
    );
  }

  /** The result as JSON. Rejects with a refusal of the kind, ThreadEnded. */
  ask<Input, Result, Progress>(
    kind: JobKind<Input, Result, Progress>,
    input: Input,
    progress: (value: Progress) => void,
    files: ThreadRequest['files'] = null,
  ): Promise<string> {
    const [module = null] = kind.modulesOf(input);
    this.module = module === null ? null : fileURLToPath(module);
    if (this.module !== null) this.watchSteps(this.module);
    return new Promise((resolve, reject) => {
      const told = progress as (value: unknown) => void;
      this.waiting = { resolve, reject, progress: told, refusals: kind.refusals };
      this.worker.postMessage({ kind: kind.name, input, files } satisfies ThreadRequest);
    });
  }

  async end(): Promise<void> {
    clearInterval(this.watch);
    this.waiting = null;
    await this.worker.terminate();
  }

  private take(message: ThreadMessage): void {
    const { waiting } = this;
    if (waiting === null) return;
    if (message.kind === 'progress') {
      waiting.progress(message.value);
      return;
    }
    clearInterval(this.watch);
    this.waiting = null;
    if (message.kind === 'done') waiting.resolve(message.json);
    else waiting.reject(new waiting.refusals[message.why]!(message.message));
  }

  private fail(error: unknown): void {
    clearInterval(this.watch);
    const { waiting } = this;
    this.waiting = null;
    waiting?.reject(error);
  }

  private asEnd(does: string, error: unknown): Error {
    const isError = error instanceof Error;
    if (this.module === null)
      return new ThreadEnded(isError ? (error.stack ?? error.message) : described(error));
    const what = isError ? `${error.name}: ${error.message}` : described(error);
    return this.mistake(`${this.module} ${does} ${what}`);
  }

  /** Kinds that run modules of users have a refusal of this name. */
  private mistake(message: string): Error {
    return new (this.waiting?.refusals['mistake'] ?? ThreadEnded)(message);
  }

  /** A thread that is in one step for too long is ended: nothing else can. */
  private watchSteps(module: string): void {
    let steps = Atomics.load(this.pulse, 0);
    let stuckMs = 0;
    let cpu = process.cpuUsage();
    clearInterval(this.watch);
    this.watch = setInterval(() => {
      const now = Atomics.load(this.pulse, 0);
      const { user, system } = process.cpuUsage(cpu);
      cpu = process.cpuUsage();
      if (now !== steps) {
        steps = now;
        stuckMs = 0;
        return;
      }
      // On a busy machine only the time counts in which this process could work.
      const workedMs = (user + system) / 1000;
      stuckMs += workedMs < IDLE_MS ? LOOK_MS : Math.min(workedMs, LOOK_MS);
      if (stuckMs < STUCK_MS) return;
      const actor = Atomics.load(this.pulse, 1);
      const which =
        now === 0 ? 'before its first step' : `in a step of its actor ${actor} (from 0)`;
      this.fail(this.mistake(`${module} does not come to an end: ${STUCK_MS / 1000} s ${which}`));
      void this.worker.terminate();
    }, LOOK_MS);
  }
}
