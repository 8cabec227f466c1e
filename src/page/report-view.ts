/** A report: runs beside each other, tables, and orders of events. */
import { formatSize } from '../input/size.js';
import type { Report, ReportCurves, ReportRun } from '../report/report.js';
import { AddressMapView } from './address-map.js';
import { make, section } from './dom.js';
import { historySection } from './histories.js';
import { VerdictLine } from './incidents.js';
import { MapHistory } from './map-history.js';
import { flat, NumberList, table } from './numbers.js';
import { RunCharts } from './run-charts.js';
import { ofTimeline } from './run-data.js';
import { runColour } from './theme.js';
import { TimeChart } from './time-chart.js';

interface Destroyable {
  destroy(): void;
}

export class ReportView {
  readonly root = make('div', { class: 'view' });
  private readonly parts: Destroyable[] = [];

  constructor(report: Report) {
    if (report.verdict !== undefined) {
      const line = new VerdictLine();
      line.set(report.verdict.verdict, report.verdict.hint);
      this.root.append(line.root);
    }
    for (const group of report.groups) this.root.append(this.group(group));
    for (const curves of report.curves ?? []) this.root.append(this.curves(curves));
    for (const { rows, title } of report.tables)
      this.root.append(section(title, 'wide', table(rows)));
    for (const history of report.histories ?? []) this.root.append(historySection(history));
  }

  destroy(): void {
    for (const part of this.parts) part.destroy();
    this.root.remove();
  }

  private group({ note, runs, title }: Report['groups'][number]): HTMLElement {
    const node = section(title, 'wide', numbersOf(runs));
    if (note !== undefined) node.append(make('p', { class: 'dim hint' }, note));
    const drawn = runs.filter((run) => run.timeline.length > 0);
    if (drawn.length > 0) {
      const charts = new RunCharts(drawn.map((run) => run.name));
      charts.set(
        drawn.map((run) => ofTimeline(run.timeline)),
        drawn.map((run) => run.latency),
      );
      this.parts.push(charts);
      node.append(charts.root);
    }
    const mapped = runs.filter((run) => run.map !== null && run.map.rows.length > 0);
    if (mapped.length > 0) node.append(this.map(mapped));
    return node;
  }

  private curves({ along, lines, title }: ReportCurves): HTMLElement {
    const chart = new TimeChart({
      id: `curves-${along}`,
      title: along === 'memory' ? 'Slowdown by memory' : 'Slowdown by machines on the host',
      sets: lines.map(({ name }, index) => ({
        name,
        lines: [{ name: 'slowdown', colour: runColour(index) }],
      })),
      unit: (percent) => `${percent.toFixed(1)} %`,
      along:
        along === 'memory'
          ? { unit: formatSize, binary: true }
          : { unit: (machines) => `${Math.round(machines)}`, binary: false },
      binary: false,
    });
    chart.set(lines.map(({ at, slowdownPercent }) => ({ seconds: at, values: [slowdownPercent] })));
    this.parts.push(chart);
    return section(title, 'wide', chart.root);
  }

  private map(runs: readonly ReportRun[]): HTMLElement {
    const box = make('div');
    let view: AddressMapView | null = null;
    const draw = (index: number): void => {
      view?.destroy();
      view = new AddressMapView(null, false);
      view.show(MapHistory.of(runs[index]!.map!));
      box.replaceChildren(view.root);
      if (choice !== null) view.root.querySelector('.toolbar')!.prepend(choice);
    };
    const choice =
      runs.length > 1
        ? make(
            'select',
            { 'aria-label': 'Policy' },
            ...runs.map((run) => make('option', {}, run.name)),
          )
        : null;
    choice?.addEventListener('change', () => {
      draw(choice.selectedIndex);
      choice.focus();
    });
    draw(0);
    this.parts.push({ destroy: () => view?.destroy() });
    return box;
  }
}

function numbersOf(runs: readonly ReportRun[]): HTMLElement {
  if (runs.length !== 1) return table(runs.map((run) => run.numbers));
  const list = new NumberList();
  list.set(flat(runs[0]!.numbers));
  return list.root;
}
