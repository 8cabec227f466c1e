/** A recording as a workload. */
import { UserError } from '../input/user-error.js';
import { eventsOf, type RecordedEvent, type Recording } from '../trace/recording.js';
import { ADDRESS_SPACE_FIRST, ADDRESS_SPACE_PAGES } from './memory-layout.js';
import { type Policy, parsePolicy } from './policy.js';
import type { TimedProgram } from './timed-program.js';
import type { Workload } from './workload.js';

/** Address spaces of a second process lie this far up. */
const SPACE_PAGES = 2 ** 35;
const SPACES_MOST = 2;

/** The policy under which a recording was made. */
export function policyOf({ header }: Recording): Policy {
  if (header.iopf === 'off') return parsePolicy('static');
  return parsePolicy(header.premap === 1 ? 'iopf' : `iopf:premap=${header.premap}`);
}

/**
 * Does what was recorded; time between events that was not spent in faults is work. Throws
 * UserError.
 */
export function replay(recording: Recording): Workload {
  return replayOf((progress) => eventsOf(recording, progress));
}

/** Events in their order; `progress` is told which share is behind. */
export type Events = (progress: (share: number) => void) => Iterable<RecordedEvent>;

/** The same of events, from a time on. Throws UserError. */
export function replayOf(events: Events, startUs = 0): Workload {
  return function* (guest) {
    guest.addAddressSpace();
    guest.begin();
    guest.idleUntil(startUs);
    const spaces: number[] = [];
    let time = 0;
    let count = 0;
    let isRefusedByRule = false;
    for (const event of events((share) => (guest.share = share))) {
      if (event.time > time) {
        guest.work(event.time - time);
        time = event.time;
      }
      // A rule refuses before the IOMMU is asked.
      if (event.kind !== 'refused' || !isRefusedByRule) play(guest, event, spaces);
      if (event.kind === 'injected') isRefusedByRule ||= event.rule.startsWith('dma:refuse');
      else if (event.kind !== 'page-lost') isRefusedByRule = false;
      if (++count % 64 === 0) yield;
    }
    yield;
  };
}

function play(guest: TimedProgram, event: RecordedEvent, spaces: number[]): void {
  switch (event.kind) {
    case 'access':
      if (!guest.isMapped(event.iovaPage, event.count))
        guest.advise(event.iovaPage, event.count, event.access);
      guest.access(event.iovaPage, event.count, event.access);
      break;
    case 'refused':
      guest.accessRefused(event.iovaPage, event.access);
      break;
    case 'map':
      guest.mapDma(
        event.iovaPage,
        event.pages,
        baseOf(spaces, event.space) + event.vaddrPage,
        event.permission,
      );
      break;
    case 'unmap':
      guest.unmapDma(event.iovaPage, event.pages);
      break;
    case 'invalidate': {
      const base = baseOf(spaces, event.space);
      const first = Math.max(ADDRESS_SPACE_FIRST, base + event.first);
      const end = Math.min(base + event.first + event.count, endOf(spaces, base));
      guest.takeAway(first, end - first, event.reclaimed);
      break;
    }
    case 'space-ended': {
      const base = baseOf(spaces, event.space);
      const first = Math.max(ADDRESS_SPACE_FIRST, base);
      guest.endSpace(first, endOf(spaces, base) - first);
      break;
    }
    case 'page-lost':
      guest.pageGone(event.iovaPage);
  }
}

/** Behind the last page of the address space that begins at `base`. */
function endOf(spaces: readonly number[], base: number): number {
  return spaces.length > 1 ? base + SPACE_PAGES : ADDRESS_SPACE_FIRST + ADDRESS_SPACE_PAGES;
}

function baseOf(spaces: number[], space: number): number {
  let index = spaces.indexOf(space);
  if (index < 0) index = spaces.push(space) - 1;
  if (index >= SPACES_MOST)
    throw new UserError(
      `the recording has mappings of more than ${SPACES_MOST} processes, which cannot be replayed`,
    );
  return index * SPACE_PAGES;
}
