/**
 * The engine's side of a live view: a few times a second it says how the run is, and answers what
 * was asked. What it costs does not grow with what happens: looking again at what is large waits
 * until the last look is a small part of the time.
 */
import { Bug } from '../../abi/bug.js';
import type { Counters } from '../../iommu/observer.js';
import type { LiveAnswer, LiveQuery, LiveSample } from '../../live/live.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { ProcessMemory } from '../../mm/process/memory.js';
import type { HeatData } from '../../trace/heat.js';
import type { Machine } from '../../vfio/machine.js';
import type { Architecture } from '../arch/index.js';
import { namedCalls } from '../incidents/call-names.js';
import type { EngineSummary } from '../run/summary.js';
import type { CallLog, RawCalls } from './call-log.js';
import { devicesOf, mapColumn, mappedRanges, tableOf } from './tables.js';
import type { LiveWatch } from './watch.js';

/**
 * The engine ticks 20 times a second. A sample is due every second tick at first, and every tenth
 * later.
 */
const FIRST_TICKS = 40;
const TICKS_AT_FIRST = 2;
const TICKS_LATER = 10;
/** After a look that took long this many times as long passes before the next. */
const REST = 20;

export interface LiveQuestion {
  readonly id: number;
  readonly query: LiveQuery;
}

/** What the engine tells the main thread while it runs. */
export type EngineLive =
  | {
      readonly kind: 'sample';
      readonly sample: LiveSample;
      readonly calls: RawCalls | null;
      /** When the run began, on the clock of the calls' times. */
      readonly startMs: number;
    }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: LiveAnswer }
  /** Nothing more comes. */
  | { readonly kind: 'over'; readonly heat: HeatData | null };

/** How the engine tells, and is asked. */
export interface LiveWire {
  post(message: EngineLive): void;
  /** The next question, if there is one. */
  question(): LiveQuestion | null;
  /** Nothing more is told. */
  close(): void;
}

export interface SamplerOptions {
  readonly wire: LiveWire;
  readonly counters: Counters;
  readonly machine: Machine;
  readonly memory: ProcessMemory;
  readonly log: CallLog;
  readonly events: () => LiveSample['events'];
  readonly watch: LiveWatch;
  readonly summary: () => EngineSummary;
  readonly architecture: Architecture;
  readonly nowMs: () => number;
  readonly startedMs: number;
}

export class Sampler {
  private ticks = 0;
  private ranges: LiveSample['ranges'] = [];
  private rangesRestUntil = 0;
  private questionsRestUntil = 0;

  constructor(private readonly options: SamplerOptions) {}

  /** Every 50 ms. */
  tick(): void {
    const every = this.ticks < FIRST_TICKS ? TICKS_AT_FIRST : TICKS_LATER;
    this.options.watch.tick();
    if (++this.ticks % every === 0) this.send();
    this.answerQuestions();
  }

  /** The run is over: its last numbers. */
  end(): void {
    this.rangesRestUntil = 0;
    this.send();
    const { watch, wire } = this.options;
    wire.post({ kind: 'over', heat: watch.heat?.data ?? null });
    wire.close();
  }

  private send(): void {
    const calls = this.options.log.take();
    const sample = this.sample();
    const { startedMs, wire } = this.options;
    wire.post({ kind: 'sample', sample, calls, startMs: startedMs });
  }

  private sample(): LiveSample {
    const { architecture, counters, events, machine, watch, summary } = this.options;
    this.updateRanges();
    const { faultLatencyUs, failedCalls, lostInterrupts, refused, vfioProgram, ...counts } =
      summary();
    return {
      kind: 'sample',
      seconds: this.seconds,
      mappedBytes: counters.mappedPages * PAGE_SIZE,
      residentBytes: counters.residentPages * PAGE_SIZE,
      pinnedBytes: counters.pinnedPages * PAGE_SIZE,
      counters: counts,
      latency: faultLatencyUs.buckets,
      incidents: {
        refused: refused.map((each) => ({ ...each })),
        lostInterrupts: lostInterrupts.map((each) => ({ ...each })),
        failedCalls: namedCalls(failedCalls, architecture).map((each) => ({ ...each })),
      },
      events: [...events()],
      user: vfioProgram,
      devices: devicesOf(machine, (device) => watch.faults.get(device) ?? 0),
      ranges: this.ranges,
    };
  }

  private get seconds(): number {
    return Math.round(this.options.nowMs() - this.options.startedMs) / 1000;
  }

  private updateRanges(): void {
    const { machine, watch, nowMs } = this.options;
    const from = nowMs();
    if (!watch.mappingsChanged || from < this.rangesRestUntil) return;
    watch.mappingsChanged = false;
    this.ranges = mappedRanges(machine);
    const to = nowMs();
    this.rangesRestUntil = to + REST * (to - from);
  }

  private answerQuestions(): void {
    const { wire, nowMs } = this.options;
    while (nowMs() >= this.questionsRestUntil) {
      const question = wire.question();
      if (question === null) return;
      const from = nowMs();
      const { id, query } = question;
      wire.post({ kind: 'answer', id, answer: this.answer(query) });
      const took = nowMs() - from;
      // A quick one does not make the next wait for another tick.
      if (took > 0.5) this.questionsRestUntil = nowMs() + REST * took;
    }
  }

  private answer(query: LiveQuery): LiveAnswer {
    const { machine, memory, watch } = this.options;
    if (query.about === 'table') return tableOf(query.first, query.pages, machine, memory);
    if (watch.heat === null) throw new Bug('a question, and nothing is noted to answer it');
    const { heat } = watch;
    const columns = query.segments.map((segment) => mapColumn(segment, machine, heat));
    return { seconds: this.seconds, columns };
  }
}
