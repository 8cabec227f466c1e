/**
 * The address × time map: where the device touched memory and where the host took it away; zooms
 * from everything to single pages.
 */
import { AddressAxis } from './address-axis.js';
import { addressField } from './address-field.js';
import { button, make, setText } from './dom.js';
import { count, hex, PAGE_BYTES, seconds } from './format.js';
import { MapHistory } from './map-history.js';
import { COLUMNS_PER_STEP, MapImage } from './map-image.js';
import { describe, mapLegend } from './map-legend.js';
import { drawAddresses, drawMarks, drawTimes, type Plot } from './map-scales.js';
import { isSame, type Mark, near } from './marks.js';
import { drawn, forget, paintNow } from './painter.js';
import { onThemeChange, palette } from './theme.js';
import { quiet, tell } from './tip.js';

const HEIGHT = 340;
const TOP = 8;
const BOTTOM = 26;
const RIGHT = 8;
const ZOOM = 2;
const CLICK_MOST = 4;
/** Pixels around the pointer in which marks are told. */
const NEAR_PIXELS = 5;
const ROWS_MOST = 240;
const TABLE_PAGES_MOST = 4096;
/** Pages before and behind an address that is gone to. */
const GO_TO_AROUND = 32;
/** A live run's first width of a step. */
const FIRST_STEP_SECONDS = 0.5;

export class AddressMapView {
  readonly root: HTMLElement;
  readonly axis = new AddressAxis();
  private history = new MapHistory(FIRST_STEP_SECONDS);
  private readonly stage: HTMLElement;
  private readonly canvas = make('canvas');
  private readonly cursor = make('div', { class: 'cursor', hidden: true });
  private readonly selection = make('div', { class: 'selection', hidden: true });
  private readonly shown = make('output', { class: 'dim' });
  private readonly image = new MapImage();
  private readonly changed: () => void;
  private readonly stops: (() => void)[] = [];
  /** First step whose picture is old. */
  private dirtyFrom = 0;
  private left = 96;
  private keyAt = { step: 0, y: 0 };
  private marks: readonly Mark[] = [];
  /** How far the run has come; 0: as far as the history. */
  private reached = 0;
  private dragFrom: { y: number; pan: boolean } | null = null;

  /** @param press called with the range of pages that was clicked; null: a report, no queries */
  /** `marked`: of a run, which has moments that are marked. */
  constructor(
    private readonly press: ((first: number, pages: number) => void) | null,
    marked: boolean,
  ) {
    this.stage = make('div', {
      class: 'map',
      'data-chart': 'addresses',
      tabindex: 0,
      role: 'group',
    });
    const keys = `Arrow keys move, plus and minus zoom, Page Up and Page Down scroll, 0 shows all${press === null ? '' : ', Enter shows the I/O page tables'}.`;
    this.stage.setAttribute('aria-label', `Addresses over time. ${keys}`);
    this.stage.append(this.canvas, this.cursor, this.selection);
    const bar = make('div', { class: 'toolbar' });
    bar.append(
      button('−', 'Zoom out (-)', () => this.zoom(1 / ZOOM)),
      button('+', 'Zoom in (+)', () => this.zoom(ZOOM)),
      button('All', 'The whole address space (0)', () => this.all()),
      addressField((page) => this.goTo(page)),
      this.shown,
    );
    const legend = mapLegend(marked);
    const how = `Drag to zoom in, Shift-drag or Page Up/Down to move, wheel once it has the focus${press === null ? '' : '; a click shows the I/O page tables there'}.`;
    this.root = make(
      'figure',
      { class: 'chart wide' },
      make('figcaption', {}, 'Addresses over time'),
      bar,
      this.stage,
      legend.root,
      make('p', { class: 'dim hint' }, how),
    );
    this.changed = drawn(this.stage, () => this.draw());
    const sizes = new ResizeObserver(() => this.redraw());
    sizes.observe(this.stage);
    this.stops.push(
      onThemeChange(() => this.redraw()),
      () => sizes.disconnect(),
      legend.stop,
    );
    this.listen();
  }

  /**
   * Shows a report's map, or what is known of a run that has ended.
   * @param until where the run ended, which the history may not know
   */
  show(history: MapHistory, until = 0): void {
    this.history = history;
    this.reached = Math.max(this.reached, until);
    this.axis.grow(
      history.steps.flatMap((pieces) =>
        pieces.map((p) => [p.first, p.pagesPerRow * p.resident.length] as const),
      ),
    );
    this.redraw();
  }

  /** A live run has come so far. */
  live(): MapHistory {
    return this.history;
  }

  /** Mapped ranges in bytes, so that there is something to ask about. */
  grow(ranges: readonly (readonly [number, number])[]): void {
    const pages = ranges.map(
      ([first, size]) => [first / PAGE_BYTES, Math.ceil(size / PAGE_BYTES)] as const,
    );
    if (this.axis.grow(pages)) this.redraw();
  }

  /** The run has come so far, whether or not the map has been told of it yet. */
  pass(seconds: number, isMapped: boolean): void {
    this.reached = Math.max(this.reached, seconds);
    this.advance(this.history.pass(seconds, isMapped));
  }

  mark(marks: readonly Mark[]): void {
    if (isSame(marks, this.marks)) return;
    this.marks = marks;
    this.changed();
  }

  /** The history has changed from a step on. */
  advance(changed: number): void {
    this.dirtyFrom = Math.min(this.dirtyFrom, changed);
    this.changed();
  }

  /** What to ask a live run about. */
  get requests(): ReturnType<AddressAxis['requests']> {
    return this.axis.requests(ROWS_MOST);
  }

  focus(): void {
    this.stage.focus();
  }

  destroy(): void {
    for (const stop of this.stops) stop();
    forget(this.stage);
  }

  /** Whether the page is on the axis; then it is shown with what is around it. */
  private goTo(page: number): boolean {
    const { axis } = this;
    const place = axis.placeOf(page);
    if (axis.total === 0 || axis.pageAt(place) !== page) return false;
    axis.show(place - GO_TO_AROUND, place + GO_TO_AROUND);
    this.redraw();
    return true;
  }

  private redraw(): void {
    this.dirtyFrom = 0;
    this.changed();
    paintNow();
  }

  /** Seconds at the right edge. */
  private get end(): number {
    return this.reached > 0 ? this.reached : this.history.seconds;
  }

  private get plot(): Plot {
    const width = Math.max(1, this.stage.clientWidth - this.left - RIGHT);
    return { left: this.left, top: TOP, width, height: HEIGHT - TOP - BOTTOM };
  }

  private draw(): void {
    const { axis, canvas, history, image } = this;
    const width = this.stage.clientWidth;
    if (width === 0) return;
    const ratio = devicePixelRatio;
    if (canvas.width !== Math.round(width * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(HEIGHT * ratio);
    }
    const colours = palette();
    const context = canvas.getContext('2d')!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, HEIGHT);
    context.font = `${getComputedStyle(this.stage).fontSize} ui-monospace, monospace`;
    const widest = axis.segments.at(-1);
    this.left =
      18 +
      context.measureText(hex(((widest?.first ?? 0) + (widest?.pages ?? 0)) * PAGE_BYTES)).width;
    const { left, top, height, width: plotWidth } = this.plot;
    context.fillStyle = colours.panel;
    context.fillRect(left, top, plotWidth, height);
    if (axis.total === 0) {
      context.fillStyle = colours.dim;
      context.fillText('Nothing has been mapped yet.', left + 12, top + 24);
      return;
    }
    image.draw(history, axis, height, colours, this.dirtyFrom);
    this.dirtyFrom = Math.max(0, history.steps.length - 1);
    const columns = history.steps.length * COLUMNS_PER_STEP;
    context.imageSmoothingEnabled = false;
    const { end } = this;
    if (columns > 0) {
      // The last step may be longer than the run.
      const wide = (plotWidth * history.seconds) / end;
      context.save();
      context.beginPath();
      context.rect(left, top, plotWidth, height);
      context.clip();
      context.drawImage(image.canvas, 0, 0, columns, height, left, top, wide, height);
      context.restore();
    }
    drawAddresses(context, colours, axis, this.plot);
    drawTimes(context, colours, end, this.plot);
    drawMarks(context, colours, axis, end, this.marks, this.plot);
    const pages = axis.shown;
    const whole = axis.isWhole ? 'all: ' : '';
    const size = `${count(Math.round(pages))} ${Math.round(pages) === 1 ? 'page' : 'pages'}`;
    setText(
      this.shown,
      `${whole}${hex(axis.pageAt(axis.from) * PAGE_BYTES)} to ${hex((axis.pageAt(axis.to - 1e-6) + 1) * PAGE_BYTES)}, ${size}`,
    );
  }

  private all(): void {
    this.axis.showAll();
    this.redraw();
  }

  private zoom(factor: number, around = (this.axis.from + this.axis.to) / 2): void {
    this.axis.zoom(factor, around);
    this.redraw();
  }

  private listen(): void {
    const { stage } = this;
    stage.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      this.dragFrom = { y: this.yOf(event), pan: event.shiftKey };
      if (event.pointerType === 'mouse') stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener('pointermove', (event) => this.move(event));
    stage.addEventListener('pointerup', (event) => this.release(event));
    stage.addEventListener('pointercancel', () => this.stopDrag());
    stage.addEventListener('pointerleave', () => this.unpoint());
    stage.addEventListener('blur', () => this.unpoint());
    stage.addEventListener('dblclick', () => this.all());
    stage.addEventListener('keydown', (event) => this.key(event));
    stage.addEventListener(
      'wheel',
      (event) => {
        // The page's own scrolling comes first, until one asks for the map.
        if (!(event.ctrlKey || document.activeElement === stage)) return;
        event.preventDefault();
        if (event.shiftKey) {
          this.axis.pan(event.deltaY > 0 ? 0.1 : -0.1);
          this.redraw();
        } else this.zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, this.placeAt(this.yOf(event)));
      },
      { passive: false },
    );
  }

  private move(event: PointerEvent): void {
    const y = this.yOf(event);
    if (this.dragFrom !== null && event.buttons !== 0 && event.pointerType === 'mouse') {
      if (this.dragFrom.pan) {
        this.axis.pan((this.dragFrom.y - y) / this.plot.height);
        this.dragFrom = { y, pan: true };
        this.redraw();
      } else this.select(this.dragFrom.y, y);
      return;
    }
    const x = event.clientX - this.stage.getBoundingClientRect().left;
    this.point(x, y, event.clientX, event.clientY);
  }

  private release(event: PointerEvent): void {
    const from = this.dragFrom;
    this.stopDrag();
    if (from === null || from.pan || this.axis.total === 0) return;
    const y = this.yOf(event);
    if (Math.abs(y - from.y) > CLICK_MOST) {
      if (event.pointerType === 'mouse') {
        this.axis.show(this.placeAt(Math.min(from.y, y)), this.placeAt(Math.max(from.y, y)));
        this.redraw();
      }
      return;
    }
    this.open(y);
  }

  private stopDrag(): void {
    this.dragFrom = null;
    this.selection.hidden = true;
  }

  private select(from: number, to: number): void {
    const { left, width } = this.plot;
    Object.assign(this.selection.style, {
      left: `${left}px`,
      width: `${width}px`,
      top: `${Math.min(from, to)}px`,
      height: `${Math.abs(to - from)}px`,
    });
    this.selection.hidden = false;
    quiet();
  }

  /** Asks for the I/O page tables of the row there. */
  private open(y: number): void {
    const page = this.axis.pageAt(this.placeAt(y));
    const row = this.history.cell(this.history.steps.length - 1, page);
    this.press?.(row?.first ?? page, Math.min(TABLE_PAGES_MOST, row?.pages ?? 1));
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey || this.axis.total === 0) return;
    const { height, left, top, width } = this.plot;
    const steps = this.history.steps.length;
    const at = this.keyAt;
    const row = Math.max(1, height / this.axis.shown);
    const around = this.placeAt(top + at.y);
    if (event.key === 'ArrowUp') at.y -= row;
    else if (event.key === 'ArrowDown') at.y += row;
    else if (event.key === 'ArrowLeft') at.step--;
    else if (event.key === 'ArrowRight') at.step++;
    else if (event.key === 'Home') at.step = 0;
    else if (event.key === 'End') at.step = steps - 1;
    else if (event.key === '+' || event.key === '=') this.zoom(ZOOM, around);
    else if (event.key === '-') this.zoom(1 / ZOOM, around);
    else if (event.key === '0') this.all();
    else if (event.key === 'PageUp' || event.key === 'PageDown') {
      this.axis.pan(event.key === 'PageUp' ? -0.5 : 0.5);
      this.redraw();
    } else if (event.key === 'Enter') this.open(top + at.y);
    else if (event.key === 'Escape') {
      this.unpoint();
      return;
    } else return;
    event.preventDefault();
    at.y = Math.max(0.5, Math.min(height - 0.5, at.y));
    at.step = Math.max(0, Math.min(steps - 1, at.step));
    const box = this.stage.getBoundingClientRect();
    const share = ((at.step + 0.5) * this.history.stepSeconds) / Math.max(this.end, 1e-9);
    const x = left + Math.min(1, share) * width;
    this.point(x, top + at.y, box.left + x, box.top + top + at.y);
  }

  /** Tells what is at a place of the stage. */
  private point(x: number, y: number, clientX: number, clientY: number): void {
    const { left, top, width, height } = this.plot;
    if (x < left || x > left + width || y < top || y > top + height || this.axis.total === 0) {
      this.unpoint();
      return;
    }
    const { steps, stepSeconds } = this.history;
    const moment = ((x - left) / width) * this.end;
    const step = Math.min(steps.length - 1, Math.floor(moment / stepSeconds));
    this.cursor.style.transform = `translateY(${y}px)`;
    this.cursor.hidden = false;
    const page = this.axis.pageAt(this.placeAt(y));
    const cell = step < 0 ? null : this.history.cell(step, page);
    const at = `at ${seconds(Math.max(0, step) * stepSeconds)}`;
    const known =
      cell === null ? [`${hex(page * PAGE_BYTES)} ${at}: nothing is known`] : describe(cell, at);
    const marks = near(this.marks, moment, (NEAR_PIXELS * this.end) / width);
    tell(clientX, clientY, [...known, ...marks.map(({ text }) => text)]);
  }

  private unpoint(): void {
    this.cursor.hidden = true;
    quiet();
  }

  private yOf(event: MouseEvent): number {
    return event.clientY - this.stage.getBoundingClientRect().top;
  }

  private placeAt(y: number): number {
    const { top, height } = this.plot;
    const share = Math.max(0, Math.min(1 - 1e-9, (y - top) / height));
    return this.axis.from + share * this.axis.shown;
  }
}
