/** The numbers in what a page asks: checked here, so that the engine sees no others. */
import {
  LIVE_PAGES_END,
  LIVE_ROWS_MOST,
  LIVE_TABLE_PAGES_MOST,
  type LiveQuery,
} from '../trace/live.js';

/** `map?first=…&pages=…&rows=…`, `table?first=…&pages=…`; null: it asks for what there is not. */
export function parseQuery(about: string, text: string): LiveQuery | null {
  const values = new Map<string, number>();
  for (const part of text.split('&')) {
    const [, name, digits] = /^([a-z]+)=(\d{1,11})$/.exec(part) ?? [];
    if (name === undefined || values.has(name)) return null;
    values.set(name, Number(digits));
  }
  const [first, pages, rows] = [values.get('first'), values.get('pages'), values.get('rows')];
  if (first === undefined || pages === undefined || pages === 0) return null;
  if (first + pages > LIVE_PAGES_END) return null;
  if (about === 'table' && values.size === 2 && pages <= LIVE_TABLE_PAGES_MOST) return { about, first, pages };
  if (about === 'map' && values.size === 3 && rows !== undefined && rows > 0 && rows <= LIVE_ROWS_MOST)
    return { about, first, pages, rows };
  return null;
}
