/** CSV with a head: accesses, and memory over time. */
import { timeUnits } from '../../input/time.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import type { RecordedEvent } from '../../trace/recording.js';
import { PAGE_END } from '../../trace/recording-format.js';
import { RAM_ADDRESS, RAM_IOVA } from '../memory-layout.js';
import {
  accessEvents,
  type Imported,
  type ImportedAccess,
  inOrder,
  invalidateEvent,
  MAPPED_AROUND,
  MappingsAround,
  mapEvent,
  pagesAt,
} from './imported.js';
import type { Line, SourceText } from './text.js';

/** Microseconds of a unit that stands behind `time_`. */
const memoryUnits: Readonly<Record<string, number>> = {
  bytes: 1,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};
const memoryNames = ['bytes', 'resident', 'rss', 'memory'];
/** What a device goes over between two samples of a memory curve. */
const REUSED_PART = 16;

interface Column {
  readonly at: number;
  readonly scale: number;
}

/** The column of one of these names, with a unit behind it or not: `time`, `time_ms`. */
function column(
  names: readonly string[],
  wanted: readonly string[],
  units: Readonly<Record<string, number>>,
  plain: number,
): Column | null {
  for (const [at, name] of names.entries())
    for (const each of wanted) {
      if (name === each) return { at, scale: plain };
      const scale = name.startsWith(`${each}_`) ? units[name.slice(each.length + 1)] : undefined;
      if (scale !== undefined) return { at, scale };
    }
  return null;
}

const namesOf = (line: Line): string[] =>
  line.text.split(',').map((name) =>
    name
      .trim()
      .toLowerCase()
      .replace(/^"(.*)"$/, '$1'),
  );

const timeOf = (names: readonly string[]): Column | null =>
  column(names, ['time', 'timestamp'], timeUnits, 1e6);

/** Which of the two tables a head is of. */
export function tableKind(head: string): 'accesses' | 'memory' | null {
  const names = namesOf({ number: 1, text: head });
  if (timeOf(names) === null) return null;
  if (names.includes('address') || names.includes('page')) return 'accesses';
  return column(names, memoryNames, memoryUnits, 1) === null ? null : 'memory';
}

function rows(source: SourceText): { line: Line; fields: readonly string[] }[] {
  const count = namesOf(source.lines[0]!).length;
  return source.lines.slice(1).map((line) => {
    const fields = line.text.split(',').map((field) => field.trim().replace(/^"(.*)"$/, '$1'));
    if (fields.length !== count)
      throw source.error(line, `${fields.length} fields; the head has ${count}`);
    return { line, fields };
  });
}

function time(source: SourceText, line: Line, { at, scale }: Column, fields: readonly string[]) {
  const date = /^\d{4}-\d\d-\d\d[T ]/.test(fields[at]!) ? Date.parse(fields[at]!) : Number.NaN;
  return Number.isNaN(date) ? source.amount(line, 'the time', fields[at]) * scale : date * 1000;
}

/** `time,address,op,bytes`: op is R, read, W or write, of memory, as the device sees it. */
export function accessTable(source: SourceText): Imported {
  const [head] = source.lines;
  const names = namesOf(head!);
  const when = timeOf(names);
  const isPages = names.includes('page');
  const where = names.indexOf(isPages ? 'page' : 'address');
  const op = names.findIndex((name) => ['op', 'rw', 'access', 'type'].includes(name));
  const size = names.findIndex((name) => ['bytes', 'size', 'length'].includes(name));
  if (when === null || where < 0 || op < 0)
    throw source.error(head!, 'columns "time", "address" or "page", and "op" are needed');
  const accesses = rows(source).map(({ fields, line }): ImportedAccess => {
    const word = fields[op]!.toLowerCase();
    if (!['r', 'read', 'w', 'write'].includes(word))
      throw source.error(line, `the access must be read or write, not "${fields[op]}"`);
    const place = source.amount(line, isPages ? 'the page' : 'the address', fields[where]);
    const bytes = size < 0 ? 1 : source.bytes(line, 'the size', fields[size]);
    const pages = pagesAt(isPages ? place * PAGE_SIZE : place, bytes);
    if (pages === null) throw source.error(line, 'the address has more than 48 bits');
    const access = word.startsWith('w') ? WRITE : READ;
    return { time: time(source, line, when, fields), access, ...pages };
  });
  const ordered = inOrder(accesses);
  const mappings = new MappingsAround(ordered.items);
  return {
    what: 'accesses in CSV',
    assumptions: [
      MAPPED_AROUND,
      ...(size < 0 ? ['an access touches one page: there is no column "bytes"'] : []),
      ...ordered.notes,
    ],
    events: [
      ...mappings.events,
      ...ordered.items.flatMap((at) => accessEvents(at.time, at.page, at.count, at.access)),
    ],
  };
}

/** `time,bytes`: how much memory is resident, as a monitor samples it. */
export function memoryTable(source: SourceText): Imported {
  const [head] = source.lines;
  const names = namesOf(head!);
  const when = timeOf(names);
  const amount = column(names, memoryNames, memoryUnits, 1);
  if (when === null || amount === null)
    throw source.error(head!, 'columns "time" and "bytes" are needed');
  const samples = rows(source).map(({ fields, line }) => {
    const bytes = source.amount(line, 'the memory', fields[amount.at]) * amount.scale;
    if (bytes > (PAGE_END / 4) * PAGE_SIZE)
      throw source.error(line, 'more memory than a program can have');
    return { time: time(source, line, when, fields), pages: Math.ceil(bytes / PAGE_SIZE) };
  });
  const ordered = inOrder(samples);
  const most = ordered.items.reduce((peak, { pages }) => Math.max(peak, pages), 1);
  const events: RecordedEvent[] = [mapEvent(RAM_IOVA, most, RAM_ADDRESS)];
  let resident = 0;
  let reused = 0;
  for (const { pages, time: at } of ordered.items) {
    const kept = Math.min(pages, resident);
    if (resident > pages) events.push(invalidateEvent(at, RAM_ADDRESS + pages, resident - pages));
    const again = Math.ceil(kept / REUSED_PART);
    if (reused + again > kept) reused = 0;
    events.push(...accessEvents(at, RAM_IOVA + reused, again, READ));
    reused += again;
    if (pages > resident)
      events.push(...accessEvents(at, RAM_IOVA + resident, pages - resident, WRITE));
    resident = pages;
  }
  return {
    what: 'a memory curve in CSV',
    assumptions: [
      'the highest sample is all of the memory, mapped for DMA from the beginning on',
      'memory grows because a device writes to new pages, and shrinks from its end',
      `at each sample a device reads a ${REUSED_PART}th of what stays, in turn`,
      'between samples the machine is busy',
      ...ordered.notes,
    ],
    events,
  };
}
