/** Faults by latency, in VT-d's buckets: a column for each bucket, in it a bar for each run. */
import { make, setText } from './dom.js';
import { count } from './format.js';
import { drawn, forget } from './painter.js';
import { onThemeChange, palette, runColour } from './theme.js';
import { quiet, tell } from './tip.js';

interface Column {
  readonly node: HTMLElement;
  readonly bars: readonly HTMLElement[];
  readonly number: HTMLElement;
}

export class Histogram {
  readonly root: HTMLElement;
  private readonly stage = make('div', {
    class: 'histogram',
    'data-chart': 'latency',
    role: 'list',
  });
  private readonly columns = new Map<string, Column>();
  private latencies: readonly Readonly<Record<string, number>>[] = [];
  private readonly changed: () => void;
  private readonly stop: () => void;

  constructor(private readonly names: readonly string[]) {
    const legend = make('div', { class: 'legend' });
    const swatches = names.map(() => make('i'));
    if (names.length > 1)
      names.forEach((name, index) => void legend.append(make('span', {}, swatches[index]!, name)));
    const title = 'Fault latency (VT-d’s buckets)';
    this.root = make(
      'figure',
      { class: 'chart' },
      make('figcaption', {}, title),
      this.stage,
      legend,
    );
    this.changed = drawn(this.stage, () => this.draw());
    const paint = (): void => {
      swatches.forEach((swatch, index) => {
        swatch.style.background = this.colour(index);
      });
      for (const { bars } of this.columns.values())
        bars.forEach((bar, index) => {
          bar.style.background = this.colour(index);
        });
    };
    this.stop = onThemeChange(paint);
    paint();
  }

  set(latencies: readonly Readonly<Record<string, number>>[]): void {
    this.latencies = latencies;
    this.changed();
  }

  destroy(): void {
    this.stop();
    forget(this.stage);
  }

  private colour(index: number): string {
    return this.names.length > 1 ? runColour(index)(palette()) : palette().faults;
  }

  private draw(): void {
    const most = Math.max(1, ...this.latencies.flatMap((latency) => Object.values(latency)));
    for (const bucket of Object.keys(this.latencies[0] ?? {})) {
      const column = this.column(bucket);
      const values = this.latencies.map((latency) => latency[bucket] ?? 0);
      values.forEach((value, index) => {
        const bar = column.bars[index]!;
        // What is there is seen, however little it is.
        const height = value === 0 ? '0' : `max(2px, ${((100 * value) / most).toFixed(2)}%)`;
        if (bar.style.height !== height) bar.style.height = height;
        bar.dataset['value'] = `${value}`;
      });
      if (values.length === 1) setText(column.number, values[0] === 0 ? '' : count(values[0]!));
      const words = values.map((value, index) => `${this.names[index]}: ${count(value)}`);
      column.node.setAttribute('aria-label', `${bucket}: ${words.join(', ')} faults`);
    }
  }

  private column(bucket: string): Column {
    const known = this.columns.get(bucket);
    if (known !== undefined) return known;
    const bars = this.names.map((_, index) => {
      const bar = make('div', { class: 'bar' });
      bar.style.background = this.colour(index);
      return bar;
    });
    const number = make('div', { class: 'number' });
    const [from, to] = bucket.split('-');
    const name = make('div', { class: 'bucket' }, from!);
    if (to !== undefined) name.append('-', make('wbr'), to);
    const node = make(
      'div',
      { class: 'column', role: 'listitem', tabindex: 0 },
      number,
      make('div', { class: 'bars' }, ...bars),
      name,
    );
    const say = (x: number, y: number): void =>
      tell(x, y, [
        `${bucket}`,
        ...this.latencies.map((latency, index) => {
          const faults = `${count(latency[bucket] ?? 0)} faults`;
          return this.names.length > 1 ? `${this.names[index]}: ${faults}` : faults;
        }),
      ]);
    node.addEventListener('pointermove', (event) => say(event.clientX, event.clientY));
    node.addEventListener('pointerleave', quiet);
    node.addEventListener('focus', () => {
      const box = node.getBoundingClientRect();
      if (node.matches(':focus-visible')) say(box.left, box.top);
    });
    node.addEventListener('blur', quiet);
    this.stage.append(node);
    const column = { node, bars, number };
    this.columns.set(bucket, column);
    return column;
  }
}
