/** One run, while it goes or as it was saved. */

import { formatSize } from '../input/size.js';
import { KeptSamples } from '../live/kept-samples.js';
import type {
  LiveCalls,
  LiveEnd,
  LiveMapColumn,
  LiveSample,
  LiveStart,
  SavedRun,
} from '../live/live.js';
import type { Report } from '../report/report.js';
import { AddressMapView } from './address-map.js';
import { CallLog } from './call-log.js';
import { askTable } from './connection.js';
import { DeviceTable } from './device-table.js';
import { make, section, setText } from './dom.js';
import { count, rate } from './format.js';
import { IncidentTables, VerdictLine } from './incidents.js';
import { MapHistory } from './map-history.js';
import { marksOf } from './marks.js';
import { named } from './names.js';
import { flat, NumberList } from './numbers.js';
import { drawn } from './painter.js';
import { RunCharts } from './run-charts.js';
import { ofSamples, ofTimeline, type TimeData } from './run-data.js';
import { TablePanel } from './table-panel.js';

const tiles = ['mapped', 'resident', 'pinned', 'faults', 'taken', 'dma'] as const;
type Tile = (typeof tiles)[number];
/** Title, and name in the glossary. */
const titles: Readonly<Record<Tile, readonly [string, string]>> = {
  mapped: ['mapped for DMA', 'mappedBytesPeak'],
  resident: ['in I/O page tables', 'residentBytesPeak'],
  pinned: ['pinned', 'pinnedBytesPeak'],
  faults: ['page requests', 'faults'],
  taken: ['invalidated', 'pagesInvalidated'],
  dma: ['device DMA', 'dma'],
};

export class RunView {
  readonly root: HTMLElement;
  readonly map: AddressMapView;
  private readonly samples = new KeptSamples();
  private readonly charts = new RunCharts(['run']);
  private readonly devices = new DeviceTable();
  private readonly log = new CallLog();
  private readonly numbers = new NumberList();
  private readonly verdict = new VerdictLine();
  private readonly incidents = new IncidentTables();
  private readonly tiles: Readonly<Record<Tile, { value: HTMLElement; about: HTMLElement }>>;
  private report: Report | null = null;
  private end: LiveEnd | null = null;
  private readonly changed: () => void;

  /** @param live whether the engine can be queried */
  constructor(
    private readonly start: LiveStart,
    live: boolean,
  ) {
    const panel = new TablePanel(askTable, () => this.map.focus());
    this.map = new AddressMapView(
      live ? (first, pages) => void panel.open(first, pages) : null,
      true,
    );
    const strip = make('dl', { class: 'tiles', 'aria-label': 'Now' });
    this.tiles = Object.fromEntries(
      tiles.map((name) => {
        const value = make('span', { 'data-tile': name }, '–');
        const about = make('small');
        const [title, meaning] = titles[name];
        const head = make('dt', {}, named(meaning, title));
        strip.append(make('div', { class: name }, head, make('dd', {}, value, about)));
        return [name, { value, about }];
      }),
    ) as unknown as typeof this.tiles;
    this.root = make(
      'div',
      { class: 'view' },
      this.verdict.root,
      strip,
      this.incidents.root,
      make('section', { 'aria-label': 'Over time' }, this.charts.root),
      section('Devices', 'wide', this.devices.root),
      make('section', { 'aria-label': 'Addresses' }, this.map.root, panel.root),
      this.log.root,
      section('Counters', 'wide', this.numbers.root),
    );
    this.changed = drawn(strip, () => this.draw());
  }

  /** A saved run, whole. */
  static saved(report: Report, run: SavedRun): RunView {
    const view = new RunView(run.start, false);
    view.samples.take(run.samples, run.last);
    view.calls({ kind: 'calls', calls: run.calls, total: run.total });
    view.take(report);
    if (run.end !== null) view.finish(run.end);
    return view;
  }

  sample(sample: LiveSample): void {
    if (!this.samples.add(sample)) return;
    this.map.grow(sample.ranges);
    this.map.pass(sample.seconds, sample.mappedBytes > 0);
    this.changed();
  }

  calls({ calls, total }: LiveCalls): void {
    this.log.add(calls, total);
  }

  /** What the map's ranges look like now. */
  columns(seconds: number, columns: readonly LiveMapColumn[]): void {
    this.map.advance(this.map.live().add(seconds, columns));
  }

  /** What `--html` would write: it knows the whole run, the page only what it was there for. */
  take(report: Report): void {
    this.report = report;
    if (report.verdict !== undefined) this.verdict.set(report.verdict.verdict, report.verdict.hint);
    const map = report.groups[0]?.runs[0]?.map;
    if (map) {
      const history = this.map.live();
      const whole = MapHistory.of(map);
      const until = this.samples.last?.seconds ?? 0;
      if (history.steps.length === 0) this.map.show(whole, until);
      else {
        history.underlay(whole);
        this.map.show(history, until);
      }
    }
    this.changed();
  }

  finish(end: LiveEnd): void {
    this.end = end;
    this.changed();
  }

  /** What a file keeps; null: the run still goes on. */
  get saved(): Report | null {
    if (this.report === null) return null;
    const { end, log, start } = this;
    const { last, samples } = this.samples;
    const { calls, total } = log.kept;
    return { ...this.report, run: { start, samples, last, calls, total, end } };
  }

  destroy(): void {
    this.charts.destroy();
    this.map.destroy();
    this.log.destroy();
    this.root.remove();
  }

  private draw(): void {
    const { last } = this.samples;
    const run = this.report?.groups[0]?.runs[0];
    const timeline = run?.timeline ?? [];
    // A run of fewer than a few samples is drawn from its report's timeline.
    const { samples } = this.samples;
    const sampled = ofSamples(samples);
    const time: TimeData =
      samples.length < timeline.length && this.ended ? ofTimeline(timeline) : sampled;
    const latency = run?.latency ?? last?.latency ?? {};
    if (time.seconds.length > 0) this.charts.set([time], [latency]);
    this.charts.setDevices(sampled);
    const counters = run?.numbers ?? last?.counters ?? {};
    this.numbers.set(flat(counters));
    if (last === null) return;
    this.devices.set(last.devices);
    this.incidents.set(last.incidents);
    const marks = marksOf(last);
    for (const part of [this.charts, this.map, this.log]) part.mark(marks);
    this.drawTiles(last, time);
  }

  private get ended(): boolean {
    return this.report !== null;
  }

  private drawTiles(sample: LiveSample, time: TimeData): void {
    const of = (name: string): number => sample.counters[name] ?? 0;
    const put = (name: Tile, value: string, about: string): void => {
      setText(this.tiles[name].value, value);
      setText(this.tiles[name].about, about);
    };
    // What is over has no "now": everything has been unmapped.
    const memory = (now: number, peak: string, about: string, atPeak: string): [string, string] =>
      this.ended
        ? [formatSize(of(peak)), `at the peak${atPeak}`]
        : [formatSize(now), `${about}peak ${formatSize(of(peak))}`];
    const [mapped, resident] = this.ended
      ? [of('mappedBytesPeak'), of('residentBytesPeak')]
      : [sample.mappedBytes, sample.residentBytes];
    const share = mapped === 0 ? 0 : (100 * resident) / mapped;
    const percent = `${share.toFixed(share < 10 ? 1 : 0)} % of what`;
    const pinned = 'static pinning would pin it';
    put('mapped', ...memory(sample.mappedBytes, 'mappedBytesPeak', `${pinned}; `, `; ${pinned}`));
    put(
      'resident',
      ...memory(
        sample.residentBytes,
        'residentBytesPeak',
        `${percent} is mapped; `,
        `; ${percent} was mapped`,
      ),
    );
    put('pinned', ...memory(sample.pinnedBytes, 'pinnedBytesPeak', '', ''));
    const faultsNow = this.ended ? '' : `; ${rate(time.faults.at(-1) ?? 0)} now`;
    put(
      'faults',
      count(of('faults')),
      `${count(of('pagesFaultedIn'))} pages in, ${count(of('pagesPremapped'))} pre-mapped${faultsNow}`,
    );
    const reclaimed = of('pagesReclaimed');
    put(
      'taken',
      `${count(of('pagesInvalidated'))} pages`,
      `in ${count(of('invalidations'))} events${reclaimed === 0 ? '' : `; ${count(reclaimed)} reclaimed`}`,
    );
    put(
      'dma',
      formatSize(of('dmaBytesRead') + of('dmaBytesWritten')),
      `${formatSize(of('dmaBytesRead'))} read, ${formatSize(of('dmaBytesWritten'))} written`,
    );
  }
}
