/** The devices of a run by group, and what each does. */

import { formatSize } from '../input/size.js';
import type { LiveDevice } from '../live/live.js';
import { make, setText } from './dom.js';
import { count } from './format.js';

const columns: readonly (readonly [string, 'text' | 'number', (device: LiveDevice) => string])[] = [
  ['group', 'number', (device) => `${device.group}`],
  ['device', 'text', (device) => device.address],
  ['kind', 'text', (device) => device.kind],
  ['', 'text', (device) => (device.open ? 'open' : 'closed')],
  ['page requests', 'text', (device) => (device.faulting ? 'on' : 'off')],
  ['waiting', 'number', (device) => count(device.pending)],
  ['faults', 'number', (device) => count(device.faults)],
  ['DMA read', 'number', (device) => formatSize(device.dmaBytesRead)],
  ['DMA written', 'number', (device) => formatSize(device.dmaBytesWritten)],
];

export class DeviceTable {
  readonly root: HTMLElement;
  private readonly body = make('tbody');
  private readonly rows = new Map<string, HTMLElement[]>();

  constructor() {
    const head = make(
      'tr',
      {},
      ...columns.map(([name, kind]) =>
        make('th', { scope: 'col', class: kind }, name === '' ? 'state' : name),
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
        cells = columns.map(([, kind]) => make('td', { class: kind }));
        this.rows.set(device.address, cells);
        this.body.append(make('tr', { 'data-device': device.address }, ...cells));
      }
      columns.forEach(([, , text], index) => {
        setText(cells[index]!, text(device));
      });
    }
  }
}
