/** What an IOMMU did: kernel text of trace-cmd, perf or iopf itself, and iopf's Chrome JSON. */
import { z } from 'zod';
import { UserError } from '../../input/user-error.js';
import { READ, WRITE } from '../../mm/address-space.js';
import type { RecordedEvent } from '../../trace/recording.js';
import {
  accessEvents,
  byTime,
  type Imported,
  type ImportedAccess,
  inOrder,
  MAPPED_AROUND,
  MappingsAround,
  pagesAt,
} from './imported.js';
import type { Line, SourceText } from './text.js';

const MICROSECONDS = 1e6;

interface Happened {
  readonly time: number;
  readonly kind: 'map' | 'unmap' | 'request';
  readonly page: number;
  readonly count: number;
  readonly access: number;
}

const STAMP = /\s(\d+\.\d+): (?:iommu:)?(\w+):\s+(?:IOMMU:\s*)?(.*)$/;
const iovaOf = /(?:iova|addr)=(0x[0-9a-f]+)(?: - (0x[0-9a-f]+))?/;
const sizeOf = /\bsize=(\d+|0x[0-9a-f]+)/;

/** Text of trace-cmd report, perf script, or `iopf exec --trace`. */
export function kernelText(source: SourceText): Imported {
  const found: Happened[] = [];
  for (const line of source.lines) {
    // Heads and what trace-cmd says about itself.
    if (/^(#|cpus=|CPU \d+ is empty|version = )/.test(line.text)) continue;
    const [, seconds, event, rest] = STAMP.exec(line.text) ?? [];
    if (seconds === undefined)
      throw source.error(line, 'an event is needed: "task-1 [000] 1.000001: map: IOMMU: iova=…"');
    const kind = { map: 'map', unmap: 'unmap', dev_fault: 'request' }[event!];
    if (kind === undefined) continue;
    found.push(happened(source, line, Number(seconds) * MICROSECONDS, kind, rest!));
  }
  return fromEngine('kernel text of iommu events', found);
}

function happened(
  source: SourceText,
  line: Line,
  time: number,
  kind: string,
  rest: string,
): Happened {
  const [, from, to] = iovaOf.exec(rest) ?? [];
  if (from === undefined) throw source.error(line, 'an address is missing: iova=0x…');
  const size = sizeOf.exec(rest)?.[1] ?? (kind === 'request' ? '1' : null);
  if (to === undefined && size === null) throw source.error(line, 'a size is missing: size=4096');
  const bytes = to === undefined ? Number(size) : Number(to) - Number(from);
  const pages = pagesAt(Number(from), bytes);
  if (pages === null || bytes < 0) throw source.error(line, 'the range is none of 48 bits');
  const access = Number(/prot=(\d+)/.exec(rest)?.[1] ?? WRITE) & WRITE ? WRITE : READ;
  return { time, kind: kind as Happened['kind'], access, ...pages };
}

const hex = z.string().regex(/^0x[0-9a-f]+$/);
const chromeEvent = z.object({
  name: z.string(),
  ph: z.string(),
  ts: z.number().nonnegative().optional(),
  args: z
    .object({ iova: hex.optional(), size: z.number().positive().optional(), access: z.number() })
    .partial()
    .optional(),
});

/** What `iopf exec --trace FILE.json` writes: an event a line, the end may be missing. */
export function chromeJson(source: SourceText): Imported {
  const found: Happened[] = [];
  for (const line of source.lines) {
    const text = line.text.trim().replace(/^,|,$/g, '');
    if (text === '[' || text === ']' || text === '') continue;
    const event = parsed(source, line, text);
    const kind =
      event.name === 'page request' && event.ph === 'b'
        ? 'request'
        : event.name === 'map' || event.name === 'unmap'
          ? event.name
          : null;
    if (kind === null) continue;
    const { access = WRITE, iova, size = 1 } = event.args ?? {};
    if (event.ts === undefined || iova === undefined)
      throw source.error(line, `a "${event.name}" without its time or address`);
    const pages = pagesAt(Number(iova), size);
    if (pages === null) throw source.error(line, 'the address has more than 48 bits');
    found.push({ time: event.ts, kind, access: access & WRITE ? WRITE : READ, ...pages });
  }
  return fromEngine('a trace in JSON (Chrome, Perfetto) of iopf', found);
}

function parsed(source: SourceText, line: Line, text: string): z.output<typeof chromeEvent> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw source.error(line, 'no JSON; iopf writes an event in each line');
  }
  const { data, error } = chromeEvent.safeParse(value);
  if (data === undefined)
    throw source.error(line, `no event of iopf: ${error!.issues[0]!.path.join('.')}`);
  return data;
}

/**
 * With page requests, maps are what the engine did about them, and unmaps what was taken away.
 * Without, maps and unmaps are a driver's, which maps what its device is about to reach.
 */
function fromEngine(what: string, found: readonly Happened[]): Imported {
  const ordered = inOrder(found);
  const hasRequests = ordered.items.some(({ kind }) => kind === 'request');
  return hasRequests ? ofRequests(what, ordered) : ofDriver(what, ordered);
}

type Ordered = ReturnType<typeof inOrder<Happened>>;

function ofRequests(what: string, { items, notes }: Ordered): Imported {
  const accesses = items.filter(({ kind }) => kind === 'request');
  const mappings = new MappingsAround(accesses);
  const events = items.flatMap(({ access, count, kind, page, time }) =>
    kind === 'request'
      ? accessEvents(time, page, count, access)
      : kind === 'unmap'
        ? mappings.invalidations(time, page, count)
        : [],
  );
  return {
    what,
    assumptions: [
      'an access is a page request: what devices reached without one is not in such a trace',
      'what was unmapped was taken from the program',
      MAPPED_AROUND,
      ...notes,
    ],
    events: [...mappings.events, ...events],
  };
}

function ofDriver(what: string, { items, notes }: Ordered): Imported {
  const spread = new MappingsAround(items as readonly ImportedAccess[]);
  const places = spread.events;
  const vaddrOf = (page: number): number => {
    for (const event of places)
      if (event.kind === 'map' && page >= event.iovaPage && page < event.iovaPage + event.pages)
        return event.vaddrPage + page - event.iovaPage;
    throw new UserError('a mapping lies nowhere');
  };
  const events: RecordedEvent[] = [];
  const live = new Map<number, number>();
  for (const { count, kind, page, time } of items) {
    // An IOVA may be mapped in several groups at once: one mapping stands for them.
    for (const [first, pages] of live)
      if (first < page + count && page < first + pages) {
        events.push({ kind: 'unmap', time, iovaPage: first, pages });
        live.delete(first);
      }
    if (kind !== 'map') continue;
    events.push({
      kind: 'map',
      time,
      iovaPage: page,
      pages: count,
      vaddrPage: vaddrOf(page),
      permission: READ | WRITE,
      pinned: false,
      space: 1,
    });
    live.set(page, count);
    events.push(...accessEvents(time, page, count, WRITE));
  }
  return {
    what,
    assumptions: [
      'a device writes all of a mapping once, when it is mapped: such a trace has no accesses',
      'an IOVA stands for the same memory each time',
      'an unmap ends every mapping that it touches, whole',
      ...notes,
    ],
    events: events.sort(byTime),
  };
}
