/** The numbers in what a page asks: checked here, so that the engine sees no others. */
import {
  LIVE_PAGES_END,
  LIVE_ROWS_MOST,
  LIVE_SEGMENTS_MOST,
  LIVE_TABLE_PAGES_MOST,
  type LiveQuery,
  type LiveSegment,
} from '../live/live.js';

/**
 * `map?segments=FIRST:PAGES:ROWS,…`, `table?first=…&pages=…`; null: it asks for what there is not.
 */
export function parseQuery(about: 'map' | 'table', text: string): LiveQuery | null {
  return about === 'map' ? parseMap(text) : parseTable(text);
}

function parseMap(text: string): LiveQuery | null {
  const [, list] =
    /^segments=([\d:,]+)$/.exec(text.replaceAll('%3A', ':').replaceAll('%2C', ',')) ?? [];
  const segments: LiveSegment[] = [];
  for (const part of list?.split(',') ?? []) {
    const [, first, pages, rows] = /^(\d{1,11}):(\d{1,11}):(\d{1,3})$/.exec(part) ?? [];
    const segment = { first: Number(first), pages: Number(pages), rows: Number(rows) };
    if (!(isRange(segment.first, segment.pages) && segment.rows > 0)) return null;
    segments.push(segment);
  }
  const rows = segments.reduce((sum, segment) => sum + segment.rows, 0);
  if (segments.length === 0 || segments.length > LIVE_SEGMENTS_MOST || rows > LIVE_ROWS_MOST)
    return null;
  return { about: 'map', segments };
}

function parseTable(text: string): LiveQuery | null {
  const [, one, two] = /^first=(\d{1,11})&pages=(\d{1,11})$/.exec(text) ?? [];
  const [first, pages] = [Number(one), Number(two)];
  return isRange(first, pages) && pages <= LIVE_TABLE_PAGES_MOST
    ? { about: 'table', first, pages }
    : null;
}

function isRange(first: number, pages: number): boolean {
  return first >= 0 && pages > 0 && first + pages <= LIVE_PAGES_END;
}
