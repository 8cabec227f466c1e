/** The IOMMU's tables of a few pages, as they were when they were asked for. */

import { formatSize } from '../input/size.js';
import type { LiveTable, LiveTableEntry } from '../live/live.js';
import { button, make } from './dom.js';
import { count, hex, PAGE_BYTES, range } from './format.js';

export class TablePanel {
  readonly root = make('section', {
    class: 'panel wide',
    'aria-label': 'I/O page tables',
    hidden: true,
  });
  private asked = 0;

  /**
   * @param ask answers for [first page, pages]
   * @param closed called when it closes, so that the focus can return
   */
  constructor(
    private readonly ask: (first: number, pages: number) => Promise<LiveTable>,
    private readonly closed: () => void,
  ) {}

  async open(first: number, pages: number): Promise<void> {
    const number = ++this.asked;
    const title = `I/O page tables of ${range(first * PAGE_BYTES, pages * PAGE_BYTES)}, ${count(pages)} ${pages === 1 ? 'page' : 'pages'}`;
    const body = make('div', { 'aria-live': 'polite' });
    const bar = make(
      'div',
      { class: 'toolbar' },
      make('h3', {}, title),
      button('Again', 'Ask again', () => void this.open(first, pages)),
      button('Close', 'Close', () => {
        this.root.hidden = true;
        this.closed();
      }),
    );
    try {
      const table = await this.ask(first, pages);
      body.append(...content(table));
    } catch {
      body.append(
        make('p', {}, 'The run does not answer: it has ended, or is too busy at the moment.'),
      );
    }
    // A later click has won.
    if (number !== this.asked) return;
    this.root.replaceChildren(bar, body);
    this.root.hidden = false;
  }
}

/** `several`: there are other containers or IOAS. */
function domainName({ container, ioas, domain }: LiveTableEntry, several: boolean): string {
  const number = several ? `${container}.${domain}` : `${domain}`;
  return ioas === null ? number : `${number}, IOAS ${ioas}`;
}

function content({ mapping, entries, absent }: LiveTable): HTMLElement[] {
  const mapped =
    mapping === null
      ? 'Not mapped for DMA.'
      : `Mapping ${range(mapping.iova, mapping.bytes)}, ${formatSize(mapping.bytes)}, ${mapping.permission}, from virtual address ${hex(mapping.vaddr)}, ${mapping.pinned ? 'pinned' : 'not pinned'}.`;
  const present = `${count(entries.length)} ${entries.length === 1 ? 'entry' : 'entries'}, ${count(absent)} ${absent === 1 ? 'page' : 'pages'} without one.`;
  const about = make('p', {}, `${mapped} ${present}`);
  if (entries.length === 0) return [about];
  const containers = new Set(entries.map((entry) => entry.container)).size > 1;
  const columns: readonly (readonly [string, (entry: LiveTableEntry) => string])[] = [
    ['domain', (entry) => domainName(entry, containers)],
    ['IOVA', (entry) => hex(entry.iova)],
    ['process', (entry) => (entry.pid === 0 ? 'ended' : `${entry.pid}`)],
    ['virtual address', (entry) => hex(entry.vaddr)],
    ['permission', (entry) => entry.permission],
    ['dirty', (entry) => (entry.dirty === null ? 'log off' : entry.dirty ? 'dirty' : 'clean')],
  ];
  const head = make('tr', {}, ...columns.map(([name]) => make('th', { scope: 'col' }, name)));
  const rows = entries.map((entry) =>
    make('tr', {}, ...columns.map(([, text]) => make('td', {}, text(entry)))),
  );
  const table = make(
    'table',
    { class: 'mono' },
    make('thead', {}, head),
    make('tbody', {}, ...rows),
  );
  return [
    about,
    make(
      'div',
      { class: 'scroll tall', tabindex: 0, role: 'group', 'aria-label': 'Entries' },
      table,
    ),
  ];
}
