/**
 * System calls that machine code makes one after the other (`MachineCode`), with all that they
 * point to, in memory of their own that is never given back: whoever makes them may do so at any
 * time.
 *
 * A *call* is 13 words of 64 bits: number, six arguments, where its result is stored (32 bits), the
 * call that follows, the one that follows an error, an error that has another follower, that one,
 * and room for the result. 0 follows the last.
 */

import { Bug } from '../../abi/bug.js';
import { putLong } from '../../abi/long.js';
import { allocateNative } from '../../mm/process/libc.js';

const CALL_BYTES = 104;
const RESULT_AT = 56;
const NEXT = 64;
const FAILED = 72;
const ERROR = 80;
const FAILED_SO = 88;
const OWN_RESULT = 96;

export class CallList {
  private readonly memory;
  private readonly view: DataView;
  /** Calls grow from the beginning, data from the end. */
  private callsEnd = 0;
  private dataBegin: number;
  private last: Call | null = null;

  /** Room for so many calls, and for what they point to. */
  constructor(calls: number, dataBytes: number) {
    this.dataBegin = calls * CALL_BYTES + ((dataBytes + 7) & ~7);
    this.memory = allocateNative(this.dataBegin);
    this.view = new DataView(this.memory.bytes.buffer, 0, this.dataBegin);
  }

  /** Of its first call. */
  get address(): number {
    return this.memory.address;
  }

  /** Adds a call, which follows the one before, whatever that returns. */
  call(nr: number, ...args: readonly number[]): Call {
    const call = new Call(this.view, this.callsEnd, this.address + this.callsEnd);
    this.callsEnd += CALL_BYTES;
    this.checkRoom();
    call.set(0, nr);
    for (const [index, value] of args.entries()) call.set(8 + 8 * index, value);
    call.set(RESULT_AT, call.address + OWN_RESULT);
    if (this.last !== null) this.last.follow(call);
    this.last = call;
    return call;
  }

  /** Puts data into the list's memory, and returns its address, a multiple of 8. */
  data(bytes: ArrayLike<number>): number {
    this.dataBegin = (this.dataBegin - bytes.length) & ~7;
    this.checkRoom();
    this.memory.bytes.set(bytes, this.dataBegin);
    return this.address + this.dataBegin;
  }

  /** A text with a zero at its end. */
  text(text: string): number {
    return this.data(Buffer.from(`${text}\0`));
  }

  /** 64-bit words: numbers below 2^53, or addresses. */
  words(...values: readonly number[]): number {
    const bytes = new Uint8Array(8 * values.length);
    const view = new DataView(bytes.buffer);
    for (const [index, value] of values.entries()) putLong(view, 8 * index, value);
    return this.data(bytes);
  }

  private checkRoom(): void {
    const { callsEnd, dataBegin } = this;
    if (callsEnd > dataBegin) throw new Bug('a list of calls is full', { callsEnd, dataBegin });
  }
}

export class Call {
  private failedElsewhere = false;

  constructor(
    private readonly view: DataView,
    private readonly at: number,
    readonly address: number,
  ) {}

  /** Where its argument n lies. */
  argumentAt(n: number): number {
    return this.address + 8 + 8 * n;
  }

  /** Where its result is stored. */
  get resultAt(): number {
    return this.address + OWN_RESULT;
  }

  /** Stores its result elsewhere: 32 bits. */
  storeAt(address: number): this {
    this.set(RESULT_AT, address);
    return this;
  }

  /** What follows where it fails. */
  onError(call: Call): void {
    this.failedElsewhere = true;
    this.set(FAILED, call.address);
  }

  /** What follows where it fails with this errno. */
  onErrno(errno: number, call: Call): void {
    this.set(ERROR, -errno);
    this.set(FAILED_SO, call.address);
  }

  /** What follows, unless `onError` says otherwise. */
  follow(call: Pick<Call, 'address'>): void {
    this.set(NEXT, call.address);
    if (!this.failedElsewhere) this.set(FAILED, call.address);
  }

  /** A word of it: a signed number. */
  set(offset: number, value: number): void {
    putLong(this.view, this.at + offset, value);
  }
}
