/**
 * The engine's side of a live view: a few times a second it says how the run is, and answers what
 * was asked. What it costs does not grow with what happens: looking again at what is large waits
 * until the last look is a small part of the time.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
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
  | { readonly kind: 'over'; readonly heat: HeatData };

export interface SamplerOptions {
  readonly port: MessagePort;
  readonly counters: Counters;
  readonly machine: Machine;
  readonly memory: ProcessMemory;
  readonly log: CallLog;
  readonly watch: LiveWatch;
  readonly summary: () => EngineSummary;
  readonly architecture: Architecture;
  readonly nowMs: () => number;
}

export class Sampler {
  private ticks = 0;
  private readonly started: number;
  private ranges: LiveSample['ranges'] = [];
  private rangesRestUntil = 0;
  private questionsRestUntil = 0;

  constructor(private readonly options: SamplerOptions) {
    this.started = options.nowMs();
  }

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
    this.post({ kind: 'over', heat: this.options.watch.heat.data });
    this.options.port.close();
  }

  private send(): void {
    const calls = this.options.log.take();
    this.post({ kind: 'sample', sample: this.sample(), calls, startMs: this.started });
  }

  private sample(): LiveSample {
    const { architecture, counters, machine, watch, summary } = this.options;
    this.updateRanges();
    const {
      faultLatencyUs,
      failedCalls,
      injected: _,
      lostInterrupts,
      refused,
      ...counts
    } = summary();
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
      devices: devicesOf(machine, (device) => watch.faults.get(device) ?? 0),
      ranges: this.ranges,
    };
  }

  private get seconds(): number {
    return Math.round(this.options.nowMs() - this.started) / 1000;
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
    const { port, nowMs } = this.options;
    while (nowMs() >= this.questionsRestUntil) {
      const received = receiveMessageOnPort(port) as { message: LiveQuestion } | undefined;
      if (received === undefined) return;
      const from = nowMs();
      const { id, query } = received.message;
      this.post({ kind: 'answer', id, answer: this.answer(query) });
      const took = nowMs() - from;
      // A quick one does not make the next wait for another tick.
      if (took > 0.5) this.questionsRestUntil = nowMs() + REST * took;
    }
  }

  private answer(query: LiveQuery): LiveAnswer {
    const { machine, memory, watch } = this.options;
    if (query.about === 'table') return tableOf(query.first, query.pages, machine, memory);
    const columns = query.segments.map((segment) => mapColumn(segment, machine, watch.heat));
    return { seconds: this.seconds, columns };
  }

  private post(message: EngineLive): void {
    this.options.port.postMessage(message);
  }
}
