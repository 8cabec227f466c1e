/** The scales beside the address × time map. */
import type { AddressAxis } from './address-axis.js';
import { hex, PAGE_BYTES, tick } from './format.js';
import { MARK_DASH, type Mark } from './marks.js';
import type { Palette } from './theme.js';

/** Where the picture is, in pixels. */
export interface Plot {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const LABEL_EVERY = 26;
/** Gaps that are drawn as lines across the map; of more, each is a mark at the map's edge. */
const GAP_LINES_MOST = 3;
const GAP_TICK = 8;
/** Half the width of a mark, in pixels. */
const MARK = 4;
/** Pixels per page from which on pages are drawn singly. */
const PAGE_LEAST = 12;

export function drawAddresses(
  context: CanvasRenderingContext2D,
  colours: Palette,
  axis: AddressAxis,
  plot: Plot,
): void {
  const { left, top, width, height } = plot;
  const perPixel = axis.shown / height;
  const yOf = (place: number): number => top + (place - axis.from) / perPixel;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  context.fillStyle = colours.dim;
  // Round addresses, and no two closer than a line.
  const step = Math.max(1, 2 ** Math.ceil(Math.log2(LABEL_EVERY * perPixel)));
  let free = top;
  for (const { first, pages, at } of axis.segments) {
    const start = Math.max(first, first + Math.floor(axis.from - at));
    const end = Math.min(first + pages, first + Math.ceil(axis.to - at));
    for (let page = start; page < end; page = (Math.floor(page / step) + 1) * step) {
      const y = Math.max(top, yOf(at + page - first));
      if (y < free || y > top + height - 2) continue;
      context.fillText(hex(page * PAGE_BYTES), left - 9, Math.max(y, top + 5));
      context.fillRect(left - 5, Math.round(y), 5, 1);
      free = y + LABEL_EVERY * 0.6;
    }
  }
  // Where addresses were left out. Many lines across would look like a fence.
  const isFence = axis.segments.length > GAP_LINES_MOST + 1;
  context.strokeStyle = colours.ink;
  context.lineWidth = 1;
  context.setLineDash([6, 3]);
  for (const { at } of axis.segments.slice(1)) {
    const y = Math.round(yOf(at)) + 0.5;
    if (y <= top || y >= top + height) continue;
    context.beginPath();
    context.moveTo(left - 5, y);
    context.lineTo(left + (isFence ? GAP_TICK : width), y);
    context.stroke();
  }
  context.setLineDash([]);
  if (1 / perPixel < PAGE_LEAST) return;
  context.fillStyle = colours.line;
  for (let place = Math.ceil(axis.from); place < axis.to; place++)
    context.fillRect(left, Math.round(yOf(place)), width, 1);
}

/** Crosses at pages (in a gap: at the gap's edge), and lines for what was of the whole device. */
export function drawMarks(
  context: CanvasRenderingContext2D,
  colours: Palette,
  axis: AddressAxis,
  end: number,
  marks: readonly Mark[],
  plot: Plot,
): void {
  if (end === 0) return;
  const { left, top, width, height } = plot;
  for (const { page, seconds } of marks) {
    const x = left + Math.min(1, seconds / end) * width;
    context.beginPath();
    if (page === null) {
      context.strokeStyle = colours.ink;
      context.lineWidth = 1;
      context.setLineDash(MARK_DASH);
      context.moveTo(x, top);
      context.lineTo(x, top + height);
    } else {
      const place = axis.placeOf(page);
      if (place < axis.from || place > axis.to) continue;
      const y = top + ((place - axis.from) / axis.shown) * height;
      context.strokeStyle = colours.bad;
      context.lineWidth = 2;
      context.moveTo(x - MARK, y - MARK);
      context.lineTo(x + MARK, y + MARK);
      context.moveTo(x - MARK, y + MARK);
      context.lineTo(x + MARK, y - MARK);
    }
    context.stroke();
    context.setLineDash([]);
  }
}

export function drawTimes(
  context: CanvasRenderingContext2D,
  colours: Palette,
  end: number,
  plot: Plot,
): void {
  if (end === 0) return;
  const { left, top, width, height } = plot;
  const rough = end / (width > 500 ? 8 : 4);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= rough * 0.999)!;
  context.fillStyle = colours.dim;
  context.textBaseline = 'top';
  for (let index = 0; index * step <= end * 1.0001; index++) {
    const x = left + (index * step * width) / end;
    context.textAlign = x > left + width - 30 ? 'right' : 'center';
    context.fillRect(Math.round(x), top + height, 1, 4);
    context.fillText(tick(index * step, step), x, top + height + 7);
  }
}
