/**
 * A thread that checks, and somebody who watches it: what a user's file does to its thread is told
 * as the file's mistake.
 */
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { History } from '../report/history.js';
import { described, ScenarioMistake } from '../verify/scenario-mistake.js';
import { Unsound } from '../verify/unsound.js';
import type { Job } from './job.js';
import type { Ref, ScenarioReport } from './run-scenario.js';

export type ThreadRequest =
  | { readonly kind: 'job'; readonly job: Job }
  /** Which scenarios and variants a file exports. */
  | { readonly kind: 'list'; readonly module: string }
  | {
      readonly kind: 'replay';
      readonly ref: Ref;
      readonly order: readonly number[];
      readonly variant: Ref | null;
    };

/** The module of a user that is run, or null; of a scenario before that of a variant. */
export function moduleOf(request: ThreadRequest): string | null {
  if (request.kind === 'list') return request.module;
  const { variant } = request.kind === 'job' ? request.job : request;
  const refs = request.kind === 'job' ? request.job.scenarios : [request.ref];
  return [...refs, variant].find((ref) => (ref?.module ?? null) !== null)?.module ?? null;
}

/** What a replay came to. */
export interface ReplayAnswer {
  readonly actors: readonly string[];
  readonly steps: History['steps'];
  readonly violation: {
    readonly row: string;
    readonly invariant: string;
    readonly detail: string;
  } | null;
}

export type ThreadMessage =
  | { readonly kind: 'report'; readonly report: ScenarioReport }
  | { readonly kind: 'progress'; readonly scenario: string; readonly states: number }
  | { readonly kind: 'done' }
  | {
      readonly kind: 'exports';
      readonly scenarios: readonly string[];
      readonly variants: readonly string[];
    }
  | { readonly kind: 'replayed'; readonly answer: ReplayAnswer }
  | { readonly kind: 'refused'; readonly why: keyof typeof refusals; readonly message: string };

/** What a thread refuses with, as an error of this one. */
const refusals = { mistake: ScenarioMistake, unsound: Unsound, range: RangeError } as const;

/** No step takes so long, nor does loading a file. */
const STUCK_MS = 10_000;
/** How often it is looked in that time. */
const LOOKS = 10;
const LOOK_MS = STUCK_MS / LOOKS;
/** Who has less of a processor between two looks does not want one. */
const IDLE_MS = 5;

export class CheckThread {
  private readonly pulse = new Int32Array(new SharedArrayBuffer(8));
  private readonly worker: Worker;
  private settle: { resolve(last: ThreadMessage): void; reject(error: unknown): void } | null =
    null;
  private watch: NodeJS.Timeout | undefined;
  private tell: (message: ThreadMessage) => void = () => {};
  private file: string | null = null;

  constructor() {
    this.worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: this.pulse });
    this.worker.on('message', (message: ThreadMessage) => this.take(message));
    this.worker.on('error', (error: unknown) => this.fail(this.ofFile('throws', error) ?? error));
    this.worker.on('exit', () =>
      this.fail(
        this.file === null
          ? new Error('a thread of the check ended by itself')
          : new ScenarioMistake(`${this.file} ends its own thread (process.exit)`),
      ),
    );
  }

  /**
   * What the thread says last; what it says before goes to `tell`. Rejects with ScenarioMistake,
   * Unsound, RangeError.
   */
  ask(
    request: ThreadRequest,
    tell: (message: ThreadMessage) => void = () => {},
  ): Promise<ThreadMessage> {
    const module = moduleOf(request);
    this.file = module === null ? null : fileURLToPath(module);
    this.tell = tell;
    if (this.file !== null) this.watchSteps(this.file);
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
      this.worker.postMessage(request);
    });
  }

  async end(): Promise<void> {
    clearInterval(this.watch);
    this.settle = null;
    await this.worker.terminate();
  }

  private take(message: ThreadMessage): void {
    if (message.kind === 'report' || message.kind === 'progress') {
      this.tell(message);
      return;
    }
    if (message.kind === 'refused') {
      this.fail(new refusals[message.why](message.message));
      return;
    }
    clearInterval(this.watch);
    const { settle } = this;
    this.settle = null;
    settle?.resolve(message);
  }

  private fail(error: unknown): void {
    clearInterval(this.watch);
    const { settle } = this;
    this.settle = null;
    settle?.reject(error);
  }

  private ofFile(does: string, error: unknown): ScenarioMistake | null {
    if (this.file === null) return null;
    const what = error instanceof Error ? `${error.name}: ${error.message}` : described(error);
    return new ScenarioMistake(`${this.file} ${does} ${what}`);
  }

  /** A thread that is in one step for too long is ended: nothing else can. */
  private watchSteps(file: string): void {
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
      this.fail(
        new ScenarioMistake(`${file} does not come to an end: ${STUCK_MS / 1000} s ${which}`),
      );
      void this.worker.terminate();
    }, LOOK_MS);
  }
}
