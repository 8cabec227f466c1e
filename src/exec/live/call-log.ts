/**
 * The VFIO calls of a run as they happen: raw numbers and bytes of the newest, taken a few times a
 * second. Names and structs are put in elsewhere (call-text.ts), for those that are shown.
 *
 * What a call's struct said is what the engine's own copies saw, so nothing of the program is read
 * twice.
 */
import type { CopyWatcher } from '../../mm/process/space-options.js';
import type { OpenFile } from '../process/open-files.js';
import type { Listener } from '../seccomp/listener.js';

/** Kinds of VFIO's files. */
export type FileKind = OpenFile['file']['kind'];

const CALLS_MOST = 256;
/** Bytes of an argument's memory that are kept, in and out each. */
export const IMAGE_BYTES = 128;
const HIGHEST_ARGUMENT = 6;
/** Characters of a path that are kept: a program's may have 4096. */
const NAME_MOST = 256;

/** Columns of `RawCalls.numbers`. */
export const CallColumn = {
  number: 0,
  startMs: 1,
  tookMs: 2,
  pid: 3,
  nr: 4,
  descriptor: 5,
  /** What it returned, minus the errno, or NaN where the kernel carried it out. */
  result: 6,
  bytesIn: 7,
  bytesOut: 8,
  argument: 9,
} as const;
export const CALL_COLUMNS = CallColumn.argument + HIGHEST_ARGUMENT;

/**
 * Calls since the last time, oldest first; a row of each array for each. Plain data: it crosses
 * threads.
 */
export interface RawCalls {
  readonly total: number;
  readonly numbers: Float64Array<ArrayBuffer>;
  /** 128 bytes in, 128 bytes out. */
  readonly images: Uint8Array<ArrayBuffer>;
  /** The file that the call is about, or the path that it opens. */
  readonly names: readonly string[];
  /** What sort of file that is. */
  readonly kinds: readonly FileKind[];
}

export class CallLog implements CopyWatcher {
  private total = 0;
  private taken = 0;
  private readonly numbers = new Float64Array(CALLS_MOST * CALL_COLUMNS);
  private readonly images = new Uint8Array(CALLS_MOST * 2 * IMAGE_BYTES);
  private readonly names: string[] = new Array(CALLS_MOST).fill('');
  private readonly kinds: FileKind[] = new Array(CALLS_MOST).fill('container');
  private startMs = 0;
  private noted = false;
  /** The call that is kept is not the one that is being answered. */
  isPaused = false;
  /** The bytes that the current call's argument points at. */
  private base = 0;

  constructor(
    private readonly call: Listener,
    private readonly ioctl: number,
    private readonly nowMs: () => number,
  ) {}

  /** A trapped call begins; whether it is VFIO's is found out. */
  begin(): void {
    if (this.isPaused) return;
    this.noted = false;
    this.startMs = this.nowMs();
  }

  /** The current call opens a node by this path. */
  noteOpen(pid: number, kind: FileKind, path: string): void {
    this.note(pid, -1, kind, path);
  }

  /** The current call is about an open file. */
  noteFile(pid: number, descriptor: number, { file, pciFunction }: OpenFile): void {
    const name = pciFunction === null ? file.name : `${file.name}<${pciFunction.address}>`;
    this.note(pid, descriptor, file.kind, name);
  }

  private note(pid: number, descriptor: number, kind: FileKind, name: string): void {
    if (this.isPaused) return;
    const { call, numbers } = this;
    const slot = this.total % CALLS_MOST;
    const row = slot * CALL_COLUMNS;
    this.noted = true;
    this.names[slot] = name.slice(0, NAME_MOST);
    this.kinds[slot] = kind;
    numbers[row + CallColumn.number] = this.total;
    numbers[row + CallColumn.startMs] = this.startMs;
    numbers[row + CallColumn.pid] = pid;
    numbers[row + CallColumn.nr] = call.nr;
    numbers[row + CallColumn.descriptor] = descriptor;
    numbers[row + CallColumn.bytesIn] = numbers[row + CallColumn.bytesOut] = 0;
    for (let n = 0; n < HIGHEST_ARGUMENT; n++)
      numbers[row + CallColumn.argument + n] = call.argument(n);
    this.images.fill(0, slot * 2 * IMAGE_BYTES, (slot + 1) * 2 * IMAGE_BYTES);
    this.base = call.argument(call.nr === this.ioctl ? 2 : 1);
  }

  copiedFrom(address: number, bytes: Uint8Array): void {
    this.keep(address, bytes, CallColumn.bytesIn, 0);
  }

  copiedTo(address: number, bytes: Uint8Array): void {
    this.keep(address, bytes, CallColumn.bytesOut, IMAGE_BYTES);
  }

  /** The current call has been answered. */
  end(): void {
    if (!this.noted || this.isPaused) return;
    this.noted = false;
    const row = (this.total++ % CALLS_MOST) * CALL_COLUMNS;
    this.numbers[row + CallColumn.tookMs] = this.nowMs() - this.startMs;
    this.numbers[row + CallColumn.result] = this.call.outcome;
  }

  /** The newest calls since the last time; null: there were none. */
  take(): RawCalls | null {
    const { total } = this;
    if (total === this.taken) return null;
    const first = Math.max(this.taken, total - CALLS_MOST);
    const count = total - first;
    const numbers = new Float64Array(count * CALL_COLUMNS);
    const images = new Uint8Array(count * 2 * IMAGE_BYTES);
    const names: string[] = [];
    const kinds: FileKind[] = [];
    for (let index = 0; index < count; index++) {
      const slot = (first + index) % CALLS_MOST;
      numbers.set(
        this.numbers.subarray(slot * CALL_COLUMNS, (slot + 1) * CALL_COLUMNS),
        index * CALL_COLUMNS,
      );
      const image = this.images.subarray(slot * 2 * IMAGE_BYTES, (slot + 1) * 2 * IMAGE_BYTES);
      images.set(image, index * 2 * IMAGE_BYTES);
      names.push(this.names[slot]!);
      kinds.push(this.kinds[slot]!);
    }
    this.taken = total;
    return { total, numbers, images, names, kinds };
  }

  private keep(address: number, bytes: Uint8Array, column: number, half: number): void {
    const offset = address - this.base;
    if (!this.noted || this.isPaused || !(offset >= 0 && offset < IMAGE_BYTES)) return;
    const slot = this.total % CALLS_MOST;
    const end = Math.min(offset + bytes.length, IMAGE_BYTES);
    const image = slot * 2 * IMAGE_BYTES;
    const cell = slot * CALL_COLUMNS + column;
    // What is not written is as it was.
    if (half !== 0 && this.numbers[cell] === 0)
      this.images.copyWithin(image + half, image, image + IMAGE_BYTES);
    for (let index = offset; index < end; index++)
      this.images[image + half + index] = bytes[index - offset]!;
    if (end > this.numbers[cell]!) this.numbers[cell] = end;
  }
}
