import { printable } from '../input/printable.js';
import { PAGE_SIZE, WRITE } from '../mm/address-space.js';
import type { RecordedEvent, Recording } from './recording.js';

/** A recorded event as a line; ranges are half-open, addresses in bytes, times in seconds. */
export function formatEvent(event: RecordedEvent): string {
  return `${(event.time / 1e6).toFixed(6)} ${words(event)}`;
}

/** What a recording says of its run: a line, its rules, and each assumption of an import. */
export function formatHeader({ header, end }: Recording): string {
  const { program, arguments: given, kernel, iopf, premap } = header;
  const run = `# ${[program, ...given].map(printable).join(' ')}: Linux ${printable(kernel)}, IOPF ${iopf}, pre-map ${premap}`;
  const told =
    end === null
      ? run
      : `${run}; ${end.faults} faults, ${end.invalidations} invalidations, ${end.accesses} page accesses`;
  const assumed = (header.assumptions ?? []).map((each) => `# assumed: ${printable(each)}`);
  const { inject } = header;
  const rules =
    inject === undefined
      ? []
      : [`# faults on purpose, seed ${inject.seed}: ${inject.rules.map(printable).join(' ')}`];
  return [told, ...rules, ...assumed].join('\n');
}

function words(event: RecordedEvent): string {
  switch (event.kind) {
    case 'access':
      return `${verb(event.access)} iova=${range(event.iovaPage, event.count)}`;
    case 'refused':
      return `${verb(event.access)} iova=${range(event.iovaPage, 1)} refused`;
    case 'map': {
      const { iovaPage, pages, vaddrPage, permission, pinned, space } = event;
      const rights = `${(permission & 1) !== 0 ? 'r' : '-'}${(permission & 2) !== 0 ? 'w' : '-'}`;
      return `map iova=${range(iovaPage, pages)} vaddr=${hex(vaddrPage)} ${rights}${pinned ? ' pinned' : ''} space=${space}`;
    }
    case 'unmap':
      return `unmap iova=${range(event.iovaPage, event.pages)}`;
    case 'invalidate':
      return `${event.reclaimed ? 'reclaim' : 'invalidate'} vaddr=${range(event.first, event.count)} space=${event.space}`;
    case 'space-ended':
      return `ended space=${event.space}`;
    case 'page-lost':
      return `lost iova=${range(event.iovaPage, 1)}`;
    case 'injected':
      return `injected ${printable(event.rule)}`;
  }
}

function verb(access: number): string {
  return (access & WRITE) !== 0 ? 'write' : 'read';
}

function range(page: number, count: number): string {
  return `[${hex(page)}, ${hex(page + count)})`;
}

function hex(page: number): string {
  return `0x${(page * PAGE_SIZE).toString(16)}`;
}
