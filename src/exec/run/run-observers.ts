import type { Counters, Observer } from '../../iommu/observer.js';
import { HeatMap } from '../../trace/heat.js';
import { LivePicture, type Picture } from '../../trace/live-picture.js';
import { Pcapng } from '../../trace/pcapng.js';
import { Recorder } from '../../trace/recorder.js';
import { tee } from '../../trace/tee.js';
import { openTrace, type Trace, type TracedTask } from '../../trace/trace-file.js';
import { LiveWatch } from '../live/watch.js';
import type { ExecOptions } from './exec-options.js';
import { ModelledTime } from './modelled-time.js';

/** A file that is written while the run goes on. */
type RunOutput = Omit<Trace, 'observer'>;

/** What of a run's options says what is noted of it. */
export type Observed = Pick<
  ExecOptions,
  | 'program'
  | 'arguments'
  | 'kernel'
  | 'iopf'
  | 'premapPages'
  | 'trace'
  | 'record'
  | 'pcap'
  | 'picture'
  | 'inject'
  | 'times'
>;

/** What notes the events of a run: traces, recordings, captures, a report, a live view. */
export class RunObservers {
  readonly observer: Observer | null;
  /** When the run began: the times of all events count from here. */
  readonly startedMs: number;
  /** The program's process, once it is known. */
  pid = 0;
  /** What a live view notes; null: there is none. */
  readonly watch: LiveWatch | null;
  /** Of the frames of network cards; null: nobody captures. */
  readonly capture: Pcapng | null;
  /** Null: page requests take as long as they do. */
  readonly modelled: ModelledTime | null;
  private readonly files: RunOutput[] = [];
  private readonly drawn: LivePicture | null;

  /**
   * Opens the files. Throws UserError.
   * @param watched by a live view, which may also ask
   * @param nowUs the clock in microseconds
   */
  constructor(
    options: Observed,
    watched: { readonly asks: boolean } | null,
    counters: Counters,
    nowUs: () => number,
  ) {
    this.startedMs = nowUs() / 1000;
    const { program, arguments: words, kernel, iopf, premapPages, inject, trace, record } = options;
    const header = {
      ...{ program, arguments: words, kernel, iopf, premap: premapPages },
      ...(inject === null
        ? {}
        : { inject: { rules: inject.rules.map(({ text }) => text), seed: inject.seed } }),
    };
    const task = (): TracedTask => ({ name: program, pid: this.pid });
    const opened = <File extends RunOutput>(path: string | null, open: (path: string) => File) => {
      const file = path === null ? null : open(path);
      if (file !== null) this.files.push(file);
      return file;
    };
    const epochUs = (): number => performance.timeOrigin * 1000 + nowUs();
    let traced: Observer | null;
    let recorder: Recorder | null;
    try {
      traced = opened(trace, (path) => openTrace(path, nowUs, task))?.observer ?? null;
      recorder = opened(record, (path) => new Recorder(path, header, counters, nowUs));
      this.capture = opened(options.pcap, (path) => new Pcapng(path, epochUs));
    } catch (error) {
      this.discard();
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
    this.modelled = options.times === null ? null : new ModelledTime(options.times, nowUs);
    // First: what others note of a page request is what it took.
    this.observer = tee([this.modelled, traced, recorder, this.drawn, this.watch]);
  }

  /** Every 50 ms or so. */
  tick(): void {
    for (const file of this.files) file.tick();
    this.drawn?.tick();
  }

  /** What a report draws, where one was asked for. */
  get picture(): Picture | null {
    return this.drawn?.picture ?? this.watch?.picture ?? null;
  }

  /** Closes the files. Returns what is missing of them, a sentence each. */
  close(): string[] {
    return this.files.map((file) => file.close()).filter((sentence) => sentence !== null);
  }

  /** Nothing ran: the files are as they were. */
  discard(): void {
    for (const file of this.files) file.discard();
  }
}
