/** The lines of a chart by name; a click hides a line, or shows it again. */
import { make } from './dom.js';
import { onThemeChange, type Palette, palette } from './theme.js';

export interface Line {
  readonly name: string;
  readonly colour: (palette: Palette) => string;
  /** Lengths of strokes and gaps; empty: solid. */
  readonly dash?: readonly number[];
  readonly width?: number;
  readonly filled?: boolean;
}

/** Lines that share their moments. */
export interface LineSet {
  /** '' where there is nothing to tell apart. */
  readonly name: string;
  readonly lines: readonly Line[];
}

export class Legend {
  readonly root = make('div', { class: 'legend' });
  private readonly stops: (() => void)[] = [];

  /**
   * Of sets that have names an entry each, else of lines. `show` is called with the lines, by their
   * numbers throughout all sets, are to be shown or hidden.
   */
  constructor(
    sets: readonly LineSet[],
    private readonly show: (lines: readonly number[], isShown: boolean) => void,
  ) {
    let first = 0;
    for (const { name, lines } of sets) {
      const numbers = lines.map((_, index) => first + index);
      if (name !== '' && sets.length > 1) this.add(lines[0]!, name, numbers);
      else
        for (const [index, line] of lines.entries()) this.add(line, line.name, [numbers[index]!]);
      first += lines.length;
    }
  }

  destroy(): void {
    for (const stop of this.stops) stop();
  }

  private add(line: Line, name: string, numbers: readonly number[]): void {
    const entry = make('button', { type: 'button', 'aria-pressed': 'true', title: 'Show or hide' });
    entry.append(this.swatch(line), name);
    entry.addEventListener('click', () => {
      const isShown = entry.getAttribute('aria-pressed') !== 'true';
      entry.setAttribute('aria-pressed', String(isShown));
      this.show(numbers, isShown);
    });
    this.root.append(entry);
  }

  /** A piece of the line beside its name: its dashes tell it apart where its colour does not. */
  private swatch(line: Line): SVGSVGElement {
    const space = 'http://www.w3.org/2000/svg';
    const box = document.createElementNS(space, 'svg');
    const stroke = document.createElementNS(space, 'line');
    const boxed = { viewBox: '0 0 26 8', width: 26, height: 8, 'aria-hidden': 'true' };
    for (const [name, value] of Object.entries(boxed)) box.setAttribute(name, `${value}`);
    for (const [name, value] of Object.entries({ x1: 0, x2: 26, y1: 4, y2: 4 }))
      stroke.setAttribute(name, `${value}`);
    stroke.setAttribute('stroke-width', '2.5');
    stroke.setAttribute('stroke-dasharray', (line.dash ?? []).join(' '));
    const paint = (): void => void stroke.setAttribute('stroke', line.colour(palette()));
    paint();
    this.stops.push(onThemeChange(paint));
    box.append(stroke);
    return box;
  }
}
