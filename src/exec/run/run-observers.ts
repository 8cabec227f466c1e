import { UserError } from '../../input/user-error.js';
import type { Counters, Observer } from '../../iommu/observer.js';
import { LivePicture, type Picture } from '../../trace/live-picture.js';
import { Recorder } from '../../trace/recorder.js';
import { tee } from '../../trace/tee.js';
import { openTrace, type Trace } from '../../trace/trace-file.js';
import { LiveWatch } from '../live/watch.js';
import type { ExecOptions } from './exec-options.js';

/** Who notes what happens in a run: trace and recording files, a report's picture, a live view. */
export class RunObservers {
  readonly observer: Observer | null;
  /** What a live view notes; null: there is none. */
  readonly watch: LiveWatch | null;
  private readonly trace: Trace | null;
  private readonly recorder: Recorder | null;
  private readonly drawn: LivePicture | null;

  /**
   * Opens the files. Throws UserError.
   * @param nowUs the clock in microseconds
   */
  constructor(options: ExecOptions, isWatched: boolean, counters: Counters, nowUs: () => number) {
    const { program, arguments: words, kernel, iopf, premapPages, trace, record } = options;
    const header = { program, arguments: words, kernel, iopf, premap: premapPages };
    this.trace = trace === null ? null : forUser('trace', trace, () => openTrace(trace, nowUs));
    this.recorder =
      record === null
        ? null
        : forUser('recording', record, () => new Recorder(record, header, counters, nowUs));
    this.drawn = options.picture ? new LivePicture(counters, nowUs) : null;
    this.watch = isWatched ? new LiveWatch(counters, nowUs) : null;
    this.observer = tee([this.trace?.observer ?? null, this.recorder, this.drawn, this.watch]);
  }

  /** Every 50 ms or so. */
  tick(): void {
    this.recorder?.tick();
    this.drawn?.tick();
  }

  /** What a report draws, where one was asked for. */
  get picture(): Picture | null {
    return (this.drawn ?? this.watch)?.picture ?? null;
  }

  /** Closes the files. Returns why the trace is incomplete, or null. */
  close(): string | null {
    this.recorder?.close();
    return this.trace?.close() ?? null;
  }
}

/**
 * Opens a file that the run writes; what the system says against it is for the user. Throws
 * UserError.
 */
function forUser<File>(what: string, path: string, open: () => File): File {
  try {
    return open();
  } catch (error) {
    throw new UserError(
      `cannot write the ${what} ${path}: ${(error as NodeJS.ErrnoException).code}`,
    );
  }
}
