/** What happened in which order: time goes down, a column for each actor. */
import type { ReportHistory } from '../report/report.js';
import { make } from './dom.js';

export function historySection({
  actors,
  lines,
  replay,
  steps,
  title,
}: ReportHistory): HTMLElement {
  const head = make(
    'tr',
    {},
    make('th', { class: 'number', scope: 'col' }, 'step'),
    ...actors.map((actor) => make('th', { scope: 'col' }, actor)),
  );
  const rows = steps.map((step, index) =>
    make(
      'tr',
      {},
      make('th', { class: 'number', scope: 'row' }, `${index + 1}`),
      ...actors.map((actor) => {
        if (actor !== step.actor) return make('td');
        const changes = step.changes.map((change) => make('li', {}, change));
        return make(
          'td',
          { class: 'step' },
          step.what,
          ...(changes.length === 0 ? [] : [make('ul', {}, ...changes)]),
        );
      }),
    ),
  );
  const table = make(
    'table',
    { class: 'history' },
    make('thead', {}, head),
    make('tbody', {}, ...rows),
  );
  const texts = lines.map((line, index) => make('p', { class: index === 0 ? 'bad' : '' }, line));
  const again = make('p', {}, 'Again: ', make('code', {}, replay));
  const scroll = make(
    'div',
    { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': `Order of ${title}` },
    table,
  );
  return make(
    'section',
    { class: 'wide', 'aria-label': title },
    make('h2', {}, title),
    ...texts,
    scroll,
    again,
  );
}
