import { release } from 'node:os';
import { READ, WRITE } from '../../mm/address-space.js';
import { recordEvents } from '../event-recorder.js';
import type { RecordedEvent } from '../recording.js';
import { PAGE_END, RUN_MOST } from '../recording-format.js';

/** What a recording says of the run that it is of. */
export interface RecordingAbout {
  readonly program: string;
  readonly arguments?: readonly string[];
  /** The kernel's release; the host's unless given. */
  readonly kernel?: string;
  /** `auto` unless given. */
  readonly iopf?: 'auto' | 'ask' | 'off';
  /** Pages that a fault brought in, 1 to 512; 1 unless given. */
  readonly premap?: number;
  /** What had to be assumed, a sentence each. */
  readonly assumptions?: readonly string[];
}

/**
 * Writes a file. Times are microseconds from 0 on and never go back. Throws an Error where the file
 * cannot be written, or an event cannot be: what stands before it is in the file then, which has no
 * end.
 */
export function writeRecording(
  path: string,
  about: RecordingAbout,
  events: Iterable<RecordedEvent>,
): void {
  const { assumptions, iopf = 'auto', kernel = release(), premap = 1, program } = about;
  if (!isWhole(premap, 1, 512)) throw new Error(`premap is ${premap}, not 1 to 512 pages`);
  const given = { program, arguments: about.arguments ?? [], kernel, iopf, premap };
  const header = assumptions === undefined ? given : { ...given, assumptions };
  const complaint = recordEvents(path, header, checked(events));
  if (complaint !== null) throw new Error(complaint);
}

function* checked(events: Iterable<RecordedEvent>): Generator<RecordedEvent> {
  let number = 0;
  let time = 0;
  for (const event of events) {
    const wrong = event.time >= time ? mistakeIn(event) : `time goes back to ${event.time}`;
    if (wrong !== null) throw new Error(`event ${number} (${event.kind}): ${wrong}`);
    time = event.time;
    number++;
    yield event;
  }
}

const SPACE_MOST = 2 ** 32;

/** What of an event no recording can hold, or null. */
function mistakeIn(event: RecordedEvent): string | null {
  if (!isWhole(event.time, 0, 2 ** 52)) return `time is ${event.time}, not whole microseconds`;
  switch (event.kind) {
    case 'access':
      return (
        pagesMistake('iovaPage', event.iovaPage, event.count) ??
        (event.count > RUN_MOST ? `count is ${event.count}, more than ${RUN_MOST} pages` : null) ??
        accessMistake(event.access)
      );
    case 'refused':
      return pagesMistake('iovaPage', event.iovaPage, 1) ?? accessMistake(event.access);
    case 'map':
      return (
        pagesMistake('iovaPage', event.iovaPage, event.pages) ??
        pagesMistake('vaddrPage', event.vaddrPage, event.pages) ??
        (isWhole(event.permission, 0, READ | WRITE) ? null : `permission is ${event.permission}`) ??
        spaceMistake(event.space)
      );
    case 'unmap':
      return pagesMistake('iovaPage', event.iovaPage, event.pages);
    case 'invalidate':
      return pagesMistake('first', event.first, event.count) ?? spaceMistake(event.space);
    case 'space-ended':
      return spaceMistake(event.space);
    case 'page-lost':
      return pagesMistake('iovaPage', event.iovaPage, 1);
    default:
      return 'there is no such kind';
  }
}

function pagesMistake(what: string, first: number, count: number): string | null {
  if (isWhole(first, 0, PAGE_END - 1) && isWhole(count, 1, PAGE_END - first)) return null;
  return `${what} is ${first}, with ${count} pages: not pages below 2^36`;
}

function accessMistake(access: number): string | null {
  return access === READ || access === WRITE ? null : `access is ${access}, not READ or WRITE`;
}

function spaceMistake(space: number): string | null {
  return isWhole(space, 0, SPACE_MOST) ? null : `space is ${space}, no number of an address space`;
}

function isWhole(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
