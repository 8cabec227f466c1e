/**
 * Lines over time, or over something else: drag, wheel and keys zoom, and the pointer tells the
 * values of its moment. Drawn by uPlot.
 */
import uPlot from 'uplot';
import { button, make } from './dom.js';
import { PAGE_BYTES, seconds, tick } from './format.js';
import { Legend, type LineSet } from './legend.js';
import { isSame, MARK_DASH, type Mark, near } from './marks.js';
import { drawn, forget, paintNow } from './painter.js';
import { onThemeChange, palette } from './theme.js';
import { quiet, tell } from './tip.js';

export interface LineData {
  readonly seconds: readonly number[];
  /** For each line of the set. */
  readonly values: readonly (readonly number[])[];
}

export interface ChartOptions {
  readonly id: string;
  readonly title: string;
  readonly sets: readonly LineSet[];
  readonly unit: (value: number) => string;
  /** Where the lines are not over time: how a value below them is told, its ticks among them. */
  readonly along?: { readonly unit: (value: number) => string; readonly binary: boolean };
  /** Whether values are bytes, whose ticks are powers of two. */
  readonly binary: boolean;
  /** Begins with the logarithmic scale. */
  readonly logarithmic?: boolean;
}

const HEIGHT = 210;
const AXIS_WIDTH = 76;
const POWERS = Array.from({ length: 60 }, (_, power) => 2 ** power);
const ZOOM = 1.6;
const TICKS_MOST = 6;
/** Pixels around the pointer in which marks are told. */
const NEAR_PIXELS = 5;
/** Half the width of a mark's head, in pixels. */
const MARK = 4;

export class TimeChart {
  readonly root: HTMLElement;
  private plot: uPlot | null = null;
  private data: readonly LineData[] = [];
  private joined: uPlot.AlignedData = [[]];
  private zoomed = false;
  /** Where keys have put the cursor: an index of `joined`. */
  private keyAt = 0;
  private readonly changed: () => void;
  private readonly stops: (() => void)[] = [];
  private readonly hidden = new Set<number>();
  private logarithmic: boolean;
  private marks: readonly Mark[] = [];

  constructor(private readonly options: ChartOptions) {
    const stage = make('div', {
      class: 'stage',
      'data-chart': options.id,
      tabindex: 0,
      role: 'group',
    });
    stage.setAttribute(
      'aria-label',
      `${options.title}. Arrow keys tell values, plus and minus zoom, 0 shows all.`,
    );
    this.logarithmic = options.logarithmic === true;
    const legend = new Legend(options.sets, (lines, isShown) => this.show(lines, isShown));
    this.root = make(
      'figure',
      { class: 'chart' },
      make('figcaption', {}, options.title, this.scaleButton()),
      stage,
      legend.root,
    );
    this.stage = stage;
    this.changed = drawn(stage, () => this.draw());
    const sizes = new ResizeObserver(() => this.resize());
    sizes.observe(stage);
    this.stops.push(
      onThemeChange(() => this.rebuild()),
      () => sizes.disconnect(),
      () => legend.destroy(),
    );
    stage.addEventListener('keydown', (event) => this.key(event));
    stage.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
    stage.addEventListener('blur', quiet);
  }

  private readonly stage: HTMLElement;

  /** `data` has one entry for each set. */
  set(data: readonly LineData[]): void {
    this.data = data;
    this.changed();
  }

  mark(marks: readonly Mark[]): void {
    if (isSame(marks, this.marks)) return;
    this.marks = marks;
    this.changed();
  }

  destroy(): void {
    for (const stop of this.stops) stop();
    forget(this.stage);
    this.plot?.destroy();
  }

  private scaleButton(): HTMLElement {
    const node = button('log', 'Logarithmic scale', () => {
      this.logarithmic = !this.logarithmic;
      node.setAttribute('aria-pressed', String(this.logarithmic));
      this.rebuild();
    });
    node.setAttribute('aria-pressed', String(this.logarithmic));
    return node;
  }

  private show(lines: readonly number[], show: boolean): void {
    for (const line of lines) {
      if (show) this.hidden.delete(line);
      else this.hidden.add(line);
      this.plot?.setSeries(line + 1, { show });
    }
  }

  private draw(): void {
    this.joined = join(this.data);
    if (this.plot === null) this.rebuild();
    else this.plot.setData(this.joined, !this.zoomed);
  }

  private resize(): void {
    const width = this.stage.clientWidth;
    if (this.plot === null || width === 0 || width === this.plot.width) return;
    this.plot.setSize({ width, height: HEIGHT });
  }

  private rebuild(): void {
    this.plot?.destroy();
    this.plot = null;
    const width = this.stage.clientWidth;
    if (width === 0) return;
    this.plot = new uPlot(this.plotOptions(width), this.joined, this.stage);
  }

  private plotOptions(width: number): uPlot.Options {
    const { options } = this;
    const colours = palette();
    const font = `${getComputedStyle(this.stage).fontSize} system-ui, sans-serif`;
    const axis: uPlot.Axis = {
      stroke: colours.dim,
      font,
      grid: { stroke: colours.line, width: 1 },
      ticks: { stroke: colours.line, width: 1, size: 4 },
    };
    const lines = options.sets.flatMap((set) => set.lines);
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      scales: {
        x: {
          time: false,
          range: (_, min, max) =>
            this.zoomed ? [min, max] : [Math.min(0, min ?? 0), Math.max(max ?? 0, 1e-6)],
        },
        y: {
          range: (_, _min, max) => [0, max === null || max <= 0 ? 1 : max * 1.04],
          ...(this.logarithmic ? logarithmicScale(options.binary) : {}),
        },
      },
      axes: [
        {
          ...axis,
          size: 28,
          values: (_, values) =>
            values.map(
              options.along?.unit ??
                ((value) => tick(value, values.length > 1 ? values[1]! - values[0]! : 1)),
            ),
          ...(options.along?.binary === true ? { incrs: POWERS, space: 80 } : {}),
        },
        {
          ...axis,
          size: AXIS_WIDTH,
          values: (_, values) => values.map(options.unit),
          ...(options.binary ? { incrs: POWERS } : {}),
          ...(this.logarithmic
            ? {
                splits: (_, _axis, _min, max) => logarithmicTicks(options.binary, max),
                filter: (_, splits) => splits,
              }
            : {}),
        },
      ],
      series: [
        {},
        ...lines.map((line, index): uPlot.Series => {
          const stroke = line.colour(colours);
          return {
            label: line.name,
            show: !this.hidden.has(index),
            stroke,
            width: line.width ?? 1.6,
            dash: [...(line.dash ?? [])],
            spanGaps: true,
            points: { show: false },
            ...(line.filled === true ? { fill: `${stroke}30` } : {}),
          };
        }),
      ],
      cursor: {
        y: false,
        drag: { x: true, y: false, setScale: true },
        points: { size: 6 },
        bind: {
          dblclick: () => () => {
            this.whole();
            return null;
          },
        },
      },
      hooks: {
        draw: [(plot) => drawMarks(plot, this.marks)],
        setCursor: [(plot) => this.tellCursor(plot)],
        setSelect: [
          (plot) => {
            if (plot.select.width > 0) this.zoomed = true;
          },
        ],
      },
    };
  }

  private tellCursor(plot: uPlot): void {
    const { left, top } = plot.cursor;
    if (left === undefined || left < 0) {
      quiet();
      return;
    }
    const box = plot.over.getBoundingClientRect();
    const at = plot.posToVal(left, 'x');
    const within = plot.posToVal(left + NEAR_PIXELS, 'x') - at;
    const marks = near(this.marks, at, within).map(({ text }) => text);
    tell(box.left + left, box.top + Math.max(0, top ?? 0), [...this.valuesAt(at), ...marks]);
  }

  private valuesAt(at: number): string[] {
    const lines = [(this.options.along?.unit ?? seconds)(Math.max(0, at))];
    this.options.sets.forEach(({ name, lines: own }, index) => {
      const data = this.data[index];
      if (data === undefined || data.seconds.length === 0) return;
      let step = data.seconds.length - 1;
      while (step > 0 && data.seconds[step]! > at) step--;
      const values = own.map(
        (line, each) => `${line.name} ${this.options.unit(data.values[each]![step]!)}`,
      );
      lines.push(`${name === '' ? '' : `${name}: `}${values.join(', ')}`);
    });
    return lines;
  }

  private whole(): void {
    this.zoomed = false;
    this.plot?.setData(this.joined, true);
  }

  private zoom(factor: number, around: number): void {
    const { plot } = this;
    if (plot === null || this.joined[0].length < 2) return;
    const { min, max } = plot.scales['x']!;
    if (min == null || max == null) return;
    const end = this.joined[0].at(-1) as number;
    const from = Math.max(0, around - (around - min) / factor);
    const to = Math.min(end, around + (max - around) / factor);
    this.zoomed = from > 0 || to < end;
    if (!this.zoomed) this.whole();
    else if (to - from > 1e-7) plot.setScale('x', { min: from, max: to });
  }

  private wheel(event: WheelEvent): void {
    const { plot } = this;
    // The page's own scrolling comes first, until one asks for the chart.
    if (plot === null || !(event.ctrlKey || document.activeElement === this.stage)) return;
    event.preventDefault();
    const left = event.clientX - plot.over.getBoundingClientRect().left;
    this.zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, plot.posToVal(left, 'x'));
  }

  private key(event: KeyboardEvent): void {
    const { plot } = this;
    const moments = this.joined[0];
    if (plot === null || moments.length === 0 || event.ctrlKey || event.altKey || event.metaKey)
      return;
    this.keyAt = Math.min(this.keyAt, moments.length - 1);
    const at = moments[this.keyAt] as number;
    if (event.key === 'ArrowLeft') this.keyAt = Math.max(0, this.keyAt - 1);
    else if (event.key === 'ArrowRight') this.keyAt = Math.min(moments.length - 1, this.keyAt + 1);
    else if (event.key === 'Home') this.keyAt = 0;
    else if (event.key === 'End') this.keyAt = moments.length - 1;
    else if (event.key === '+' || event.key === '=') this.zoom(ZOOM, at);
    else if (event.key === '-') this.zoom(1 / ZOOM, at);
    else if (event.key === '0') this.whole();
    else if (event.key === 'Escape') quiet();
    else return;
    event.preventDefault();
    if (event.key === 'Escape') return;
    plot.setCursor({ left: plot.valToPos(moments[this.keyAt] as number, 'x'), top: 10 });
    paintNow();
  }
}

/** A line at each mark, with a head that tells the kinds apart without colour, too. */
function drawMarks(plot: uPlot, marks: readonly Mark[]): void {
  const { bbox, ctx } = plot;
  const ratio = devicePixelRatio;
  const colours = palette();
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const { kind, seconds } of marks) {
    const x = plot.valToPos(seconds, 'x', true);
    ctx.strokeStyle = ctx.fillStyle = kind === 'refused' ? colours.bad : colours.ink;
    ctx.lineWidth = ratio;
    ctx.setLineDash(MARK_DASH.map((length) => length * ratio));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    const [size, y] = [MARK * ratio, bbox.top + MARK * ratio];
    ctx.beginPath();
    if (kind === 'refused') {
      ctx.lineWidth = 2 * ratio;
      ctx.moveTo(x - size, y - size);
      ctx.lineTo(x + size, y + size);
      ctx.moveTo(x - size, y + size);
      ctx.lineTo(x + size, y - size);
      ctx.stroke();
    } else {
      ctx.moveTo(x - size, y - size);
      ctx.lineTo(x + size, y - size);
      ctx.lineTo(x, y + size);
      ctx.fill();
    }
  }
  ctx.restore();
}

/** One page, or one event, is where the scale becomes logarithmic; it begins at 0. */
function logarithmicScale(binary: boolean): uPlot.Scale {
  const unit = binary ? PAGE_BYTES : 1;
  return {
    distr: 100,
    fwd: (value) => Math.log2(1 + value / unit),
    bwd: (value) => (2 ** value - 1) * unit,
  };
}

function logarithmicTicks(binary: boolean, most: number): number[] {
  const [unit, base] = binary ? [PAGE_BYTES, 2] : [1, 10];
  const powers = Math.max(1, Math.floor(Math.log(Math.max(base, most / unit)) / Math.log(base)));
  const apart = Math.ceil(powers / TICKS_MOST);
  // From the second power on: the first is too near to 0.
  const ticks = Array.from(
    { length: Math.floor(powers / apart) },
    (_, index) => unit * base ** ((index + 1) * apart),
  );
  return [0, ...ticks];
}

function join(data: readonly LineData[]): uPlot.AlignedData {
  const tables = data.map(
    ({ seconds, values }) => [seconds, ...values] as unknown as uPlot.AlignedData,
  );
  if (tables.length === 0) return [[]];
  return tables.length === 1 ? tables[0]! : uPlot.join(tables);
}
