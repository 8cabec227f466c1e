/** Reads recordings. */
import { z } from 'zod';
import { UserError } from '../input/user-error.js';
import { READ, WRITE } from '../mm/address-space.js';
import {
  BLOCK_HEAD,
  BLOCK_MOST,
  BlockKind,
  ByteReader,
  checksum,
  EventKind,
  MAGIC,
  OtherEvent,
  PAGE_END,
  type RecordingEnd,
  type RecordingHeader,
  RUN_MOST,
  SHORT_RUN,
  SHORT_TIME,
  STREAMS,
  Version,
} from './recording-format.js';

/**
 * Events in their order; times in microseconds since the start, faults left out; addresses are page
 * numbers.
 */
export type RecordedEvent =
  | { readonly kind: 'access'; time: number; iovaPage: number; count: number; access: number }
  | { readonly kind: 'refused'; time: number; iovaPage: number; access: number }
  | {
      readonly kind: 'map';
      time: number;
      iovaPage: number;
      pages: number;
      vaddrPage: number;
      permission: number;
      pinned: boolean;
      space: number;
    }
  | { readonly kind: 'unmap'; time: number; iovaPage: number; pages: number }
  /** `reclaimed`: the pages had left memory without a call of the program. */
  | {
      readonly kind: 'invalidate';
      time: number;
      space: number;
      first: number;
      count: number;
      reclaimed: boolean;
    }
  /** An address space ended: its pages are gone, and nobody took them away. */
  | { readonly kind: 'space-ended'; time: number; space: number }
  | { readonly kind: 'page-lost'; time: number; iovaPage: number }
  /** A rule of `--inject` made a fault; what came of it follows. */
  | { readonly kind: 'injected'; time: number; rule: string };

export interface Recording {
  readonly header: RecordingHeader;
  /** Null where the run did not get to its end. */
  readonly end: RecordingEnd | null;
  readonly blocks: readonly Uint8Array[];
  /** What is wrong with the file; what stands before it was readable. */
  readonly damage: { readonly offset: number; readonly message: string } | null;
}

export function isRecording(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, MAGIC.length)).toString('latin1') === MAGIC;
}

/**
 * Takes a file apart. Throws UserError where nothing of it can be used; `name` is how errors call
 * it.
 */
export function parseRecording(bytes: Uint8Array, name: string): Recording {
  if (!isRecording(bytes)) throw new UserError(`${name}: not a recording of iopf exec --record`);
  const blocks: Uint8Array[] = [];
  let header: RecordingHeader | null = null;
  let end: RecordingEnd | null = null;
  let damage: Recording['damage'] = null;
  let at = MAGIC.length;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  while (at < bytes.length && damage === null) {
    const payload = blockAt(bytes, view, at);
    if (typeof payload === 'string') {
      damage = { offset: at, message: payload };
      break;
    }
    const content = payload.subarray(1);
    if (payload[0] === BlockKind.EVENTS) blocks.push(content);
    else if (payload[0] === BlockKind.HEADER) header = headerOf(json(content), name);
    else if (payload[0] === BlockKind.END) end = endOf(json(content), name);
    else damage = { offset: at, message: `a block of the unknown kind ${payload[0]}` };
    at += BLOCK_HEAD + payload.length;
  }
  if (header === null)
    throw new UserError(
      `${name}: damaged at offset ${damage?.offset ?? at}: ${damage?.message ?? 'no header'}; nothing was readable`,
    );
  return { header, end, blocks, damage };
}

const premapMost = 512;
const text = z.string();
const countOf = z.number().int().nonnegative();
const headerSchema = z.object({
  version: z.enum(Version),
  program: text,
  arguments: z.array(text),
  kernel: text,
  iopf: z.enum(['auto', 'ask', 'off']),
  premap: z.number().int().min(1).max(premapMost),
  assumptions: z.array(text).exactOptional(),
  inject: z.object({ rules: z.array(text), seed: countOf }).exactOptional(),
});
const endSchema = z.object({
  faults: countOf,
  invalidations: countOf,
  pagesFaultedIn: countOf,
  pagesPremapped: countOf,
  pagesInvalidated: countOf,
  // Absent in recordings from before there were any.
  pagesReclaimed: countOf.optional(),
  accesses: countOf,
});

/** Throws UserError. */
function headerOf(value: unknown, name: string): RecordingHeader {
  const { version } = (value ?? {}) as { version?: unknown };
  const known: readonly unknown[] = Object.values(Version);
  if (typeof version === 'number' && !known.includes(version))
    throw new UserError(
      `${name}: a recording of version ${version}; this iopf reads versions ${known.join(' and ')}`,
    );
  const { data, error } = headerSchema.safeParse(value);
  if (data === undefined)
    throw new UserError(`${name}: its header is damaged: ${error!.issues[0]!.path.join('.')}`);
  return data;
}

/** Throws UserError. */
function endOf(value: unknown, name: string): RecordingEnd {
  const { data, error } = endSchema.safeParse(value);
  if (data === undefined)
    throw new UserError(`${name}: its end is damaged: ${error!.issues[0]!.path.join('.')}`);
  return data as RecordingEnd;
}

/** What is wrong with a recording, in words, or null. */
export function damageOf(name: string, { damage, end, blocks }: Recording): string | null {
  const readable = `${blocks.length} block${blocks.length === 1 ? '' : 's'} of events before it can be read`;
  if (damage !== null)
    return `${name}: damaged at offset ${damage.offset}: ${damage.message}; ${readable}`;
  return end === null
    ? `${name}: the recording has no end: the run was killed, goes on, or had no room left`
    : null;
}

/**
 * The events of a recording, in their order; `progress` is told which share of the blocks is
 * behind. Throws UserError where a block with a right checksum makes no sense.
 */
export function* eventsOf(
  { blocks, header }: Recording,
  progress: (share: number) => void = () => {},
): Generator<RecordedEvent, void, void> {
  const streams = new Float64Array(STREAMS);
  for (const [index, block] of blocks.entries()) {
    progress(index / blocks.length);
    const reader = new ByteReader(block);
    streams.fill(0);
    let time = reader.number();
    while (!reader.atEnd) {
      const first = reader.byte();
      const rest = first >>> 2;
      switch (first & 3) {
        case EventKind.TIME:
          time += rest <= SHORT_TIME ? rest : reader.number();
          break;
        case EventKind.OTHER:
          yield other(rest, time, reader, header);
          break;
        default: {
          const stream = rest & 7;
          const iovaPage = streams[stream]! + reader.signed();
          const length = rest >>> 3;
          const count = length < SHORT_RUN ? length + 1 : reader.number() + SHORT_RUN + 1;
          if (count > RUN_MOST || !(iovaPage >= 0 && iovaPage + count <= PAGE_END))
            throw new UserError(`a run of ${count} pages at page ${iovaPage}`);
          streams[stream] = iovaPage + count;
          yield {
            kind: 'access',
            time,
            iovaPage,
            count,
            access: (first & 3) === EventKind.WRITE ? WRITE : READ,
          };
        }
      }
    }
  }
}

function other(
  event: number,
  time: number,
  reader: ByteReader,
  header: RecordingHeader,
): RecordedEvent {
  switch (event) {
    case OtherEvent.MAP: {
      const [iovaPage, pages, vaddrPage] = [reader.number(), reader.number(), reader.number()];
      const bits = reader.byte();
      const permission = bits & (READ | WRITE);
      return {
        kind: 'map',
        time,
        iovaPage,
        pages,
        vaddrPage,
        permission,
        pinned: (bits & 4) !== 0,
        space: reader.number(),
      };
    }
    case OtherEvent.UNMAP:
      return { kind: 'unmap', time, iovaPage: reader.number(), pages: reader.number() };
    case OtherEvent.INVALIDATE:
    case OtherEvent.RECLAIM:
      return {
        kind: 'invalidate',
        time,
        space: reader.number(),
        first: reader.number(),
        count: reader.number(),
        reclaimed: event === OtherEvent.RECLAIM,
      };
    case OtherEvent.SPACE_ENDED:
      return { kind: 'space-ended', time, space: reader.number() };
    case OtherEvent.PAGE_LOST:
      return { kind: 'page-lost', time, iovaPage: reader.number() };
    case OtherEvent.REFUSED_READ:
      return { kind: 'refused', time, iovaPage: reader.number(), access: READ };
    case OtherEvent.REFUSED_WRITE:
      return { kind: 'refused', time, iovaPage: reader.number(), access: WRITE };
    case OtherEvent.INJECTED:
      if (header.inject === undefined) break;
      return { kind: 'injected', time, rule: ruleOf(header.inject, reader.number()) };
  }
  throw new UserError(`an event of the unknown kind ${event}`);
}

/** A rule by its place; a header that had no room for the rules has none. */
function ruleOf(inject: NonNullable<RecordingHeader['inject']>, place: number): string {
  return inject.rules[place] ?? `rule ${place + 1}`;
}

/** The payload of the block at an offset, or what is wrong there. */
function blockAt(bytes: Uint8Array, view: DataView, at: number): Uint8Array | string {
  if (at + BLOCK_HEAD > bytes.length) return 'the file ends inside the head of a block';
  const length = view.getUint32(at, true);
  if (length < 1 || length > BLOCK_MOST) return `a block of ${length} bytes`;
  if (at + BLOCK_HEAD + length > bytes.length)
    return `the file ends inside a block of ${length} bytes`;
  const payload = bytes.subarray(at + BLOCK_HEAD, at + BLOCK_HEAD + length);
  return checksum(payload) === view.getUint32(at + 4, true)
    ? payload
    : 'the checksum of a block is wrong';
}

function json(content: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(content).toString('utf8'));
  } catch {
    throw new UserError('a block that should hold JSON does not');
  }
}
