/**
 * The drawings of one run, or of several beside each other: memory and rates over time, and fault
 * latency.
 */

import { formatSize } from '../input/size.js';
import { DeviceChart } from './device-chart.js';
import { make } from './dom.js';
import { rate } from './format.js';
import { Histogram } from './histogram.js';
import type { Line, LineSet } from './legend.js';
import type { Mark } from './marks.js';
import type { TimeData } from './run-data.js';
import { runColour } from './theme.js';
import { type LineData, TimeChart } from './time-chart.js';

const PINNED_DASH = [7, 4];
const MAPPED_DASH = [2, 3];

const mapped: Line = {
  name: 'mapped: what static pinning takes',
  colour: (p) => p.mapped,
  dash: MAPPED_DASH,
  width: 1.8,
};

const reclaimed: Line = {
  name: 'pages reclaimed',
  colour: (p) => p.taken,
  dash: MAPPED_DASH,
  width: 1.8,
};

/**
 * Runs of one name: what each is is shown by the kind of line. Of several: by colour, and the
 * legend.
 */
export class RunCharts {
  readonly root = make('div', { class: 'charts' });
  private readonly memory: TimeChart;
  private readonly rates: TimeChart;
  private readonly latency: Histogram;
  /** Of one run alone. */
  private readonly devices: DeviceChart | null;

  constructor(names: readonly string[]) {
    const several = names.length > 1;
    this.memory = new TimeChart({
      id: 'memory',
      title: several
        ? 'Memory: in I/O page tables; dashed: pinned'
        : 'Memory: mapped, in I/O page tables, pinned',
      sets: memorySets(names),
      unit: formatSize,
      binary: true,
      logarithmic: several,
    });
    this.rates = new TimeChart({
      id: 'rates',
      title: several
        ? 'Faults per second; dashed: invalidations'
        : 'Faults, invalidations and reclaimed pages per second',
      sets: rateSets(names),
      unit: rate,
      binary: false,
      logarithmic: true,
    });
    this.latency = new Histogram(names);
    this.devices = several ? null : new DeviceChart(this.root);
    this.root.append(this.memory.root, this.rates.root, this.latency.root);
  }

  /** One entry for each run. */
  set(times: readonly TimeData[], latencies: readonly Readonly<Record<string, number>>[]): void {
    const longest = times.reduce((most, each) =>
      last(each.seconds) > last(most.seconds) ? each : most,
    );
    const memory: LineData[] = times.map(({ seconds, resident, pinned }) => ({
      seconds,
      values: [resident, pinned],
    }));
    // All runs map the same; one line stands for it.
    this.memory.set([{ seconds: longest.seconds, values: [longest.mapped] }, ...memory]);
    this.rates.set(
      times.map(({ seconds, faults, invalidations, reclaimed }) => ({
        seconds,
        values: times.length > 1 ? [faults, invalidations] : [faults, invalidations, reclaimed],
      })),
    );
    this.latency.set(latencies);
  }

  /** What each device of the run did. */
  setDevices(data: TimeData): void {
    this.devices?.set(data);
  }

  mark(marks: readonly Mark[]): void {
    this.devices?.mark(marks);
    this.memory.mark(marks);
    this.rates.mark(marks);
  }

  destroy(): void {
    this.memory.destroy();
    this.rates.destroy();
    this.latency.destroy();
    this.devices?.destroy();
  }
}

function memorySets(names: readonly string[]): LineSet[] {
  if (names.length === 1)
    return [
      { name: '', lines: [mapped] },
      {
        name: '',
        lines: [
          { name: 'resident', colour: (p) => p.resident, width: 2, filled: true },
          { name: 'pinned', colour: (p) => p.pinned, dash: PINNED_DASH, width: 2 },
        ],
      },
    ];
  return [
    { name: '', lines: [mapped] },
    ...names.map((name, index) => ({
      name,
      lines: [
        { name: 'resident', colour: runColour(index) },
        { name: 'pinned', colour: runColour(index), dash: PINNED_DASH },
      ],
    })),
  ];
}

function rateSets(names: readonly string[]): LineSet[] {
  const several = names.length > 1;
  return names.map((name, index) => ({
    name: several ? name : '',
    lines: [
      { name: 'faults', colour: several ? runColour(index) : (p) => p.faults, width: 1.8 },
      {
        name: 'invalidations',
        colour: several ? runColour(index) : (p) => p.invalidations,
        dash: PINNED_DASH,
        width: 1.8,
      },
      ...(several ? [] : [reclaimed]),
    ],
  }));
}

function last(values: readonly number[]): number {
  return values.at(-1) ?? 0;
}
