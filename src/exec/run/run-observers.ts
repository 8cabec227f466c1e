import type { Counters, Observer } from '../../iommu/observer.js';
import { HeatMap } from '../../trace/heat.js';
import { LivePicture, type Picture } from '../../trace/live-picture.js';
import { Recorder } from '../../trace/recorder.js';
import { tee } from '../../trace/tee.js';
import { openTrace, type Trace, type TracedTask } from '../../trace/trace-file.js';
import { LiveWatch } from '../live/watch.js';
import type { ExecOptions } from './exec-options.js';

/** Who notes what happens in a run: trace and recording files, a report's picture, a live view. */
export class RunObservers {
  readonly observer: Observer | null;
  /** When the run began: all that is told of it counts from here. */
  readonly startedMs: number;
  /** The program's process, once it is known. */
  pid = 0;
  /** What a live view notes; null: there is none. */
  readonly watch: LiveWatch | null;
  private readonly trace: Trace | null;
  private readonly recorder: Recorder | null;
  private readonly drawn: LivePicture | null;

  /**
   * Opens the files. Throws UserError.
   * @param watched by a live view, which may also ask
   * @param nowUs the clock in microseconds
   */
  constructor(
    options: ExecOptions,
    watched: { readonly asks: boolean } | null,
    counters: Counters,
    nowUs: () => number,
  ) {
    this.startedMs = nowUs() / 1000;
    const { program, arguments: words, kernel, iopf, premapPages, trace, record } = options;
    const header = { program, arguments: words, kernel, iopf, premap: premapPages };
    const task = (): TracedTask => ({ name: program, pid: this.pid });
    this.trace = trace === null ? null : openTrace(trace, nowUs, task);
    try {
      this.recorder = record === null ? null : new Recorder(record, header, counters, nowUs);
    } catch (error) {
      this.trace?.discard();
      throw error;
    }
    this.drawn = options.picture ? new LivePicture(counters, nowUs) : null;
    this.watch =
      watched === null
        ? null
        : new LiveWatch(
            watched.asks ? new HeatMap() : null,
            options.picture ? null : new LivePicture(counters, nowUs),
          );
    this.observer = tee([this.trace?.observer ?? null, this.recorder, this.drawn, this.watch]);
  }

  /** Every 50 ms or so. */
  tick(): void {
    this.trace?.tick();
    this.recorder?.tick();
    this.drawn?.tick();
  }

  /** What a report draws, where one was asked for. */
  get picture(): Picture | null {
    return this.drawn?.picture ?? this.watch?.picture ?? null;
  }

  /** Closes the files. Returns what is missing of them, a sentence each. */
  close(): string[] {
    const missing = [this.trace?.close() ?? null, this.recorder?.close() ?? null];
    return missing.filter((sentence) => sentence !== null);
  }

  /** Nothing ran: the files are as they were. */
  discard(): void {
    this.trace?.discard();
    this.recorder?.discard();
  }
}
