import type { Counters, ObservedMapping, Observer } from '../iommu/observer.js';
import { WRITE } from '../mm/address-space.js';
import {
  BLOCK_HEAD,
  BLOCK_MOST,
  BlockKind,
  ByteWriter,
  checksum,
  EventKind,
  MAGIC,
  OtherEvent,
  type RecordingEnd,
  type RecordingHeader,
  RUN_MOST,
  SHORT_RUN,
  SHORT_TIME,
  STREAMS,
  Version,
} from './recording-format.js';
import { RunFile } from './run-file.js';

/** A block is written when it has this much, or is this old. */
const BLOCK_BYTES = 48 * 1024;
const BLOCK_AGE_US = 500_000;
/** No event takes more. */
const EVENT_MOST = 64;
/**
 * A run that begins farther from every stream than this takes over the stream that was used longest
 * ago.
 */
const NEAR_PAGES = 64;

/** Writes what matters of a run to a file as it happens: docs/recording.md. */
export class Recorder implements Observer {
  /** Accesses to pages. */
  accesses = 0;
  private readonly file: RunFile;
  /** What stands before the first block of events; null: it is written. */
  private head: Uint8Array | null;
  private readonly out = new ByteWriter(new Uint8Array(BLOCK_BYTES + EVENT_MOST));
  private readonly streams = new Float64Array(STREAMS);
  private readonly lastUse = new Float64Array(STREAMS);
  private uses = 0;
  /** Bytes of a block without events. */
  private emptyLength = 0;
  /** The run that goes on: nothing where `count` is 0. */
  private first = 0;
  private count = 0;
  private write = false;
  /** Time of faults is not the program's; it is left out. */
  private faultUs = 0;
  private faultStartUs = 0;
  private lastUs = 0;
  private blockStartUs = 0;
  private readonly startedUs: number;
  private readonly rules: readonly string[];

  constructor(
    path: string,
    header: Omit<RecordingHeader, 'version'>,
    private readonly counters: Counters,
    private readonly nowUs: () => number,
  ) {
    this.file = new RunFile('recording', path);
    this.startedUs = nowUs();
    this.rules = header.inject?.rules ?? [];
    const json = headerText(header);
    this.head = Buffer.concat([
      Buffer.from(MAGIC),
      blockOf(payloadOf(BlockKind.HEADER, Buffer.from(json))),
    ]);
    this.beginBlock();
  }

  // What pages get is the engine's to find out again.
  map(): void {}
  unmap(): void {}

  pageRequest(): void {
    this.faultStartUs = this.nowUs();
  }

  pageResponse(): void {
    this.faultUs += this.nowUs() - this.faultStartUs;
  }

  accessed(iovaPage: number, access: number, refused: boolean): void {
    const write = (access & WRITE) !== 0;
    if (refused) {
      this.begin(write ? OtherEvent.REFUSED_WRITE : OtherEvent.REFUSED_READ);
      this.out.number(iovaPage);
      return;
    }
    if (this.count !== 0 && this.write === write) {
      const ahead = iovaPage - this.first - this.count;
      // Pieces of one page are one access.
      if (ahead === -1) return;
      if (ahead === 0 && this.count < RUN_MOST) {
        this.accesses++;
        this.count++;
        return;
      }
    }
    this.accesses++;
    this.endRun();
    this.time();
    this.first = iovaPage;
    this.count = 1;
    this.write = write;
  }

  mappingAdded({
    iovaPage,
    pages,
    vaddrPage,
    permission,
    pinnedByFlag,
    mm,
  }: ObservedMapping): void {
    this.begin(OtherEvent.MAP);
    this.out.number(iovaPage);
    this.out.number(pages);
    this.out.number(vaddrPage);
    this.out.byte(permission | (pinnedByFlag ? 4 : 0));
    this.out.number(mm.id);
  }

  mappingRemoved({ iovaPage, pages }: ObservedMapping): void {
    this.begin(OtherEvent.UNMAP);
    this.out.number(iovaPage);
    this.out.number(pages);
  }

  invalidate(
    space: number,
    first: number,
    count: number,
    _removed: number,
    reclaimed: boolean,
  ): void {
    this.begin(reclaimed ? OtherEvent.RECLAIM : OtherEvent.INVALIDATE);
    this.out.number(space);
    this.out.number(first);
    this.out.number(count);
  }

  spaceEnded(space: number): void {
    this.begin(OtherEvent.SPACE_ENDED);
    this.out.number(space);
  }

  pageLost(_device: unknown, iovaPage: number): void {
    this.begin(OtherEvent.PAGE_LOST);
    this.out.number(iovaPage);
  }

  faultMade(rule: string): void {
    this.begin(OtherEvent.INJECTED);
    this.out.number(this.rules.indexOf(rule));
  }

  /** Called now and then, so that what is recorded gets to the file also when nothing happens. */
  tick(): void {
    if (this.nowUs() - this.blockStartUs < BLOCK_AGE_US) return;
    this.endRun();
    this.flush();
    if (this.head !== null) this.file.write(this.head);
    this.head = null;
  }

  /** Writes what is left. Returns what is missing, in a sentence, or null. */
  close(): string | null {
    this.endRun();
    this.flush();
    const {
      faults,
      invalidations,
      pagesFaultedIn,
      pagesPremapped,
      pagesInvalidated,
      pagesReclaimed,
    } = this.counters;
    const end: RecordingEnd = {
      faults,
      invalidations,
      pagesFaultedIn,
      pagesPremapped,
      pagesInvalidated,
      pagesReclaimed,
      accesses: this.accesses,
    };
    this.put(payloadOf(BlockKind.END, Buffer.from(JSON.stringify(end))));
    this.file.close();
    return this.file.complaint;
  }

  /** Nothing ran: the file is as it was. */
  discard(): void {
    this.file.discard();
  }

  private begin(event: number): void {
    this.endRun();
    this.time();
    this.out.byte(EventKind.OTHER | (event << 2));
  }

  private time(): void {
    if (this.out.length >= BLOCK_BYTES || this.nowUs() - this.blockStartUs >= BLOCK_AGE_US)
      this.flush();
    const time = Math.round(this.nowUs() - this.startedUs - this.faultUs);
    const passed = time - this.lastUs;
    if (passed <= 0) return;
    this.lastUs = time;
    if (passed <= SHORT_TIME) this.out.byte(EventKind.TIME | (passed << 2));
    else {
      this.out.byte(EventKind.TIME | ((SHORT_TIME + 1) << 2));
      this.out.number(passed);
    }
  }

  private endRun(): void {
    const { count, first, streams } = this;
    if (count === 0) return;
    this.count = 0;
    let stream = 0;
    let oldest = 0;
    let nearest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < STREAMS; i++) {
      const distance = Math.abs(first - streams[i]!);
      if (distance < nearest) {
        nearest = distance;
        stream = i;
      }
      if (this.lastUse[i]! < this.lastUse[oldest]!) oldest = i;
    }
    if (nearest > NEAR_PAGES) stream = oldest;
    const short = count <= SHORT_RUN;
    const kind = this.write ? EventKind.WRITE : EventKind.READ;
    this.out.byte(kind | (stream << 2) | ((short ? count - 1 : SHORT_RUN) << 5));
    this.out.signed(first - streams[stream]!);
    if (!short) this.out.number(count - SHORT_RUN - 1);
    streams[stream] = first + count;
    this.lastUse[stream] = ++this.uses;
  }

  /** A block can be read without the one before it. */
  private beginBlock(): void {
    this.out.length = 0;
    this.streams.fill(0);
    this.lastUse.fill(0);
    this.blockStartUs = this.nowUs();
    this.out.byte(BlockKind.EVENTS);
    this.out.number(this.lastUs);
    this.emptyLength = this.out.length;
  }

  private flush(): void {
    if (this.out.length > this.emptyLength) this.put(this.out.bytes.subarray(0, this.out.length));
    this.beginBlock();
  }

  private put(payload: Uint8Array): void {
    if (this.head !== null) this.file.write(this.head);
    this.head = null;
    this.file.write(blockOf(payload));
  }
}

/** A block has no room for all arguments and rules that a run may have. */
function headerText(header: Omit<RecordingHeader, 'version'>): string {
  const version = header.inject === undefined ? Version.PLAIN : Version.INJECTED;
  const text = JSON.stringify({ version, ...header });
  if (Buffer.byteLength(text) < BLOCK_MOST) return text;
  const { inject } = header;
  return JSON.stringify({
    ...{ version, ...header, arguments: ['…'] },
    ...(inject === undefined ? {} : { inject: { ...inject, rules: [] } }),
  });
}

function payloadOf(kind: number, content: Uint8Array): Uint8Array {
  const payload = new Uint8Array(content.length + 1);
  payload[0] = kind;
  payload.set(content, 1);
  return payload;
}

function blockOf(payload: Uint8Array): Uint8Array {
  const head = new Uint8Array(BLOCK_HEAD);
  const view = new DataView(head.buffer);
  view.setUint32(0, payload.length, true);
  view.setUint32(4, checksum(payload), true);
  return Buffer.concat([head, payload]);
}
