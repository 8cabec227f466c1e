/** The devices of a run by group, and what each does. */

import { formatSize } from '../input/size.js';
import type { LiveDevice } from '../live/live.js';
import { make, setText } from './dom.js';
import { count } from './format.js';
import { named } from './names.js';

/** A container by its number among those of the run, an IOAS by its id. */
function spaceText({ space }: LiveDevice): string {
  if (space === null) return '–';
  return space.ioas === null ? `container ${space.container}` : `IOAS ${space.ioas}`;
}

/** Title, name in the glossary, and what is shown. */
const columns: readonly (readonly [
  string,
  string,
  'text' | 'number',
  (device: LiveDevice) => string,
])[] = [
  ['group', 'group', 'number', (device) => `${device.group}`],
  ['device', 'address', 'text', (device) => device.address],
  ['kind', 'kind', 'text', (device) => device.kind],
  ['state', 'state', 'text', (device) => (device.open ? 'open' : 'closed')],
  ['DMA to', 'space', 'text', spaceText],
  ['page requests', 'faulting', 'text', (device) => (device.faulting ? 'on' : 'off')],
  ['waiting', 'pending', 'number', (device) => count(device.pending)],
  ['faults', 'faults', 'number', (device) => count(device.faults)],
  ['DMA read', 'dmaBytesRead', 'number', (device) => formatSize(device.dmaBytesRead)],
  ['DMA written', 'dmaBytesWritten', 'number', (device) => formatSize(device.dmaBytesWritten)],
];

export class DeviceTable {
  readonly root: HTMLElement;
  private readonly body = make('tbody');
  private readonly rows = new Map<string, HTMLElement[]>();

  constructor() {
    const head = make(
      'tr',
      {},
      ...columns.map(([title, name, kind]) =>
        make('th', { scope: 'col', class: kind }, named(name, title)),
      ),
    );
    const table = make('table', { class: 'devices' }, make('thead', {}, head), this.body);
    this.root = make(
      'div',
      { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'Devices' },
      table,
    );
  }

  set(devices: readonly LiveDevice[]): void {
    for (const device of [...devices].sort(
      (a, b) => a.group - b.group || a.address.localeCompare(b.address),
    )) {
      let cells = this.rows.get(device.address);
      if (cells === undefined) {
        cells = columns.map(([, , kind]) => make('td', { class: kind }));
        this.rows.set(device.address, cells);
        this.body.append(make('tr', { 'data-device': device.address }, ...cells));
      }
      columns.forEach(([, , , text], index) => {
        setText(cells[index]!, text(device));
      });
    }
  }
}
