/**
 * Numbers by the names that `--json` gives them: as a table, or as a list where there is one of
 * each.
 */
import { make, setText } from './dom.js';
import { show, words } from './format.js';

export type Numbers = Readonly<Record<string, unknown>>;

export function table(rows: readonly Numbers[]): HTMLElement {
  const names: string[] = [];
  for (const row of rows)
    for (const name of Object.keys(row)) if (!names.includes(name)) names.push(name);
  const isNumber = (name: string): boolean => rows.every((row) => typeof row[name] !== 'string');
  const kind = new Map(names.map((name) => [name, isNumber(name) ? 'number' : 'text']));
  const head = make(
    'tr',
    {},
    ...names.map((name) => make('th', { scope: 'col', class: kind.get(name)! }, words(name))),
  );
  const body = rows.map((row) =>
    make(
      'tr',
      { class: row['result'] === 'violation' ? 'failed' : '' },
      ...names.map((name) => {
        const value = row[name] ?? null;
        const about = {
          'data-field': name,
          'data-value': JSON.stringify(value),
          class: kind.get(name)!,
        };
        return make(
          'td',
          typeof value === 'number' ? { ...about, title: String(value) } : about,
          show(name, value),
        );
      }),
    ),
  );
  return make(
    'div',
    { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'Table' },
    make('table', {}, make('thead', {}, head), make('tbody', {}, ...body)),
  );
}

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
        this.root.append(make('div', {}, make('dt', {}, words(name)), node));
      }
      const json = JSON.stringify(value);
      if (node.dataset['value'] === json) continue;
      node.dataset['value'] = json;
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
