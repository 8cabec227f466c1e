/**
 * The picture of the address × time map: two columns of pixels for each step, a row of pixels for
 * each row of the screen.
 */
import type { AddressAxis } from './address-axis.js';
import { type MapHistory, type Piece, rowOf } from './map-history.js';
import { type Palette, rgb } from './theme.js';

/**
 * The left column shows what the device touched, the right one what was taken away: where both
 * happened, both are seen.
 */
export const COLUMNS_PER_STEP = 2;

type Rgb = readonly [number, number, number];

export class MapImage {
  readonly canvas = document.createElement('canvas');

  /** Draws steps from `from` on; `height` in pixels. */
  draw(
    history: MapHistory,
    axis: AddressAxis,
    height: number,
    palette: Palette,
    from: number,
  ): void {
    const width = Math.max(1, history.steps.length * COLUMNS_PER_STEP);
    const { canvas } = this;
    let first = from;
    if (canvas.height !== height || canvas.width < width) {
      // Room for more steps, or each new one would begin it anew.
      canvas.width = Math.min(1024, 2 ** Math.ceil(Math.log2(width + 32)));
      canvas.height = height;
      first = 0;
    }
    const steps = history.steps.length - first;
    if (steps <= 0 || height <= 0) return;
    const context = canvas.getContext('2d')!;
    const image = context.createImageData(steps * COLUMNS_PER_STEP, height);
    const words = new Uint32Array(image.data.buffer);
    const colours = new Colours(palette);
    const pagesPerPixel = axis.shown / height;
    const pages = Float64Array.from({ length: height }, (_, y) =>
      axis.pageAt(axis.from + (y + 0.5) * pagesPerPixel),
    );
    for (let step = 0; step < steps; step++) {
      const pieces = history.steps[first + step]!;
      for (let y = 0; y < height; y++) {
        const at = y * image.width + step * COLUMNS_PER_STEP;
        colours.put(words, at, pieces, pages[y]!, Math.max(1, Math.floor(pagesPerPixel)));
      }
    }
    context.putImageData(image, first * COLUMNS_PER_STEP, 0);
  }
}

class Colours {
  private readonly back: Rgb;
  private readonly mapped: Rgb;
  private readonly resident: Rgb;
  private readonly touched: Rgb;
  private readonly taken: Rgb;

  constructor(palette: Palette) {
    this.back = rgb(palette.panel);
    this.mapped = rgb(palette.mapped);
    this.resident = rgb(palette.resident);
    this.touched = rgb(palette.touched);
    this.taken = rgb(palette.taken);
  }

  /** Two pixels for what is around `page`, a pixel being `pages` high. */
  put(words: Uint32Array, at: number, pieces: readonly Piece[], page: number, pages: number): void {
    let known = false;
    let mapped = 0;
    let resident = 0;
    let touched = 0;
    let taken = 0;
    for (let index = pieces.length - 1; index >= 0; index--) {
      const piece = pieces[index]!;
      const row = rowOf(piece, page);
      if (row < 0) continue;
      const per = piece.pagesPerRow;
      // Rows lower than a pixel are drawn together.
      const rows = Math.max(1, Math.min(piece.resident.length - row, Math.floor(pages / per)));
      for (let each = row; each < row + rows; each++) {
        touched = Math.max(touched, piece.touched[each]! / per);
        taken = Math.max(taken, piece.taken[each]! / per);
        if (known) continue;
        resident = Math.max(resident, piece.resident[each]! / per);
        mapped = Math.max(mapped, piece.mapped[each]! / per);
      }
      known = true;
    }
    let colour = this.back;
    if (mapped > 0) colour = blend(colour, this.mapped, 0.22);
    if (resident > 0) colour = blend(colour, this.resident, 0.3 + 0.4 * Math.min(1, resident));
    const lit =
      touched === 0
        ? colour
        : blend(this.back, this.touched, Math.min(1, 0.7 + 0.08 * Math.log2(1 + touched)));
    words[at] = word(lit);
    words[at + 1] = word(
      taken === 0 ? lit : blend(this.back, this.taken, 0.6 + 0.4 * Math.min(1, taken)),
    );
  }
}

function blend(under: Rgb, over: Rgb, share: number): Rgb {
  const mix = (a: number, b: number): number => Math.round(a + (b - a) * share);
  return [mix(under[0], over[0]), mix(under[1], over[1]), mix(under[2], over[2])];
}

/** A pixel as canvases keep it on little-endian machines. */
function word([red, green, blue]: Rgb): number {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
