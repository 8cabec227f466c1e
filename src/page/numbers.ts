/**
 * Numbers by the names that `--json` gives them: as a table, or as a list where there is one of
 * each.
 */
import { make, setText } from './dom.js';
import { show } from './format.js';
import { named } from './names.js';

export type Numbers = Readonly<Record<string, unknown>>;

/**
 * Rows below each other. Of several rows, what is the same in all is told once above them: it would
 * take a column each.
 */
export function table(rows: readonly Numbers[]): HTMLElement {
  const names: string[] = [];
  for (const row of rows)
    for (const name of Object.keys(row)) if (!names.includes(name)) names.push(name);
  const same = names.slice(1).filter((name) => isSame(rows, name));
  const columns = names.filter((name) => !same.includes(name));
  const isNumber = (name: string): boolean => rows.every((row) => typeof row[name] !== 'string');
  const kind = new Map(names.map((name) => [name, isNumber(name) ? 'number' : 'text']));
  const head = make(
    'tr',
    {},
    ...columns.map((name) => make('th', { scope: 'col', class: kind.get(name)! }, named(name))),
  );
  const body = rows.map((row) =>
    make(
      'tr',
      { class: row['result'] === 'violation' ? 'failed' : '' },
      ...columns.map((name) =>
        make('td', { class: kind.get(name)!, ...dataOf(row, name) }, text(row, name)),
      ),
    ),
  );
  const scroll = make(
    'div',
    { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'Table' },
    make('table', {}, make('thead', {}, head), make('tbody', {}, ...body)),
  );
  if (same.length === 0) return scroll;
  const list = same.map((name) =>
    make(
      'div',
      {},
      make('dt', {}, named(name)),
      make('dd', dataOf(rows[0]!, name), text(rows[0]!, name)),
    ),
  );
  return make(
    'div',
    { class: 'table' },
    make('dl', { class: 'same', 'aria-label': 'In all rows' }, ...list),
    scroll,
  );
}

function isSame(rows: readonly Numbers[], name: string): boolean {
  const [first, ...others] = rows.map((row) => JSON.stringify(row[name] ?? null));
  return others.length > 0 && others.every((value) => value === first);
}

function text(row: Numbers, name: string): string {
  return show(name, row[name] ?? null);
}

/** What tests read: the value as the JSON has it. */
function dataOf(row: Numbers, name: string): Readonly<Record<string, string>> {
  const value = row[name] ?? null;
  const about = { 'data-field': name, 'data-value': JSON.stringify(value) };
  return typeof value === 'number' ? { ...about, title: String(value) } : about;
}

/** Characters of a value that has a line of its own. */
const LONG = 40;

/** Names and values that may change. */
export class NumberList {
  readonly root = make('dl', { class: 'numbers' });
  private readonly nodes = new Map<string, HTMLElement>();

  set(numbers: Numbers): void {
    for (const [name, value] of Object.entries(numbers)) {
      let node = this.nodes.get(name);
      if (node === undefined) {
        node = make('dd', { 'data-field': name });
        this.nodes.set(name, node);
        this.root.append(make('div', {}, make('dt', {}, named(name)), node));
      }
      const json = JSON.stringify(value);
      if (node.dataset['value'] === json) continue;
      node.dataset['value'] = json;
      node.parentElement!.classList.toggle('long', json !== undefined && json.length > LONG);
      if (typeof value === 'number') node.title = String(value);
      setText(node, show(name, value));
    }
  }
}

/**
 * Numbers of numbers by dotted names: `faultLatencyUs.p50`. What lies deeper (the histogram) is
 * drawn elsewhere.
 */
export function flat(numbers: Numbers): Numbers {
  const isDeep = (value: unknown): value is Numbers => typeof value === 'object' && value !== null;
  return Object.fromEntries(
    Object.entries(numbers).flatMap(([name, value]): [string, unknown][] =>
      isDeep(value)
        ? Object.entries(value).flatMap(([part, each]) =>
            isDeep(each) ? [] : [[`${name}.${part}`, each]],
          )
        : [[name, value]],
    ),
  );
}
