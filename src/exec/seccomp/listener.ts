/**
 * The supervisor's end of seccomp user notification (seccomp_unotify(2)): receives trapped system
 * calls and answers them.
 *
 * One notification is current at a time; its fields are read in place, and answering it is one
 * ioctl.
 */

import { Errno } from '../../abi/errno.js';
import { O_CLOEXEC } from '../../abi/linux.js';
import { getLong, HIGH } from '../../abi/long.js';
import { allocateNative, errno, ioctl, SystemError } from '../../mm/process/libc.js';

const NOTIF_RECV = 0xc0502100;
const NOTIF_SEND = 0xc0182101;
const NOTIF_ID_VALID = 0x40082102;
const NOTIF_ADDFD = 0x40182103;
const NOTIF_SET_FLAGS = 0x40082104;
const FLAG_SYNC_WAKE_UP = 1;
const RESPONSE_CONTINUE = 1;
const ADDFD_SETFD = 1;
const ADDFD_SEND = 2;

// Word offsets in struct seccomp_notif, seccomp_notif_resp and seccomp_notif_addfd, which share one
// block.
const NOTIF_WORDS = 20;
const PID = 2;
const NR = 4;
const POINTER = 6;
const ARGS = 8;
const RESPONSE = 32;
const ADDFD = 48;

/** A call that was received and waits for its answer. */
export interface ReceivedCall {
  readonly words: Uint32Array;
  readonly answered: boolean;
  readonly outcome: number;
  readonly posted: number;
  readonly isEarly: boolean;
  readonly hasWaited: boolean;
}

export class Listener {
  private readonly address: number;
  private readonly words: Uint32Array;
  private readonly signedWords: Int32Array;
  private answered = true;
  /** What the current call returns if a device has to wait in it, or -1. */
  private posted = -1;
  /** It has got that answer, and no other is sent. */
  private isEarly = false;
  /** The current call has come again after the time that it had to wait. */
  hasWaited = false;
  /**
   * What the last call was answered: its result, minus its errno, or NaN where the kernel carries
   * it out.
   */
  outcome = 0;

  constructor(readonly fd: number) {
    const memory = allocateNative(4096);
    this.address = memory.address;
    this.words = new Uint32Array(memory.bytes.buffer, 0, 64);
    this.signedWords = new Int32Array(memory.bytes.buffer, 0, 64);
    // Wakes the program on this processor, where its data is; kernels before 6.6 lack it, and are
    // only slower.
    ioctl(fd, NOTIF_SET_FLAGS, FLAG_SYNC_WAKE_UP);
  }

  /**
   * Receives the next notification; false where there is none any more (its caller was interrupted
   * or is gone).
   */
  receive(): boolean {
    this.words.fill(0, 0, NOTIF_WORDS);
    if (ioctl(this.fd, NOTIF_RECV, this.address) === 0) {
      this.answered = this.isEarly = this.hasWaited = false;
      this.posted = -1;
      return true;
    }
    const error = errno();
    if (error === Errno.ENOENT || error === Errno.EINTR || error === Errno.EAGAIN) return false;
    throw new SystemError('SECCOMP_IOCTL_NOTIF_RECV', error);
  }

  /** The current call, to be taken up again when others have been answered. */
  setAside(): ReceivedCall {
    const { answered, outcome, posted, isEarly, hasWaited } = this;
    const words = this.words.slice(0, NOTIF_WORDS);
    return { words, answered, outcome, posted, isEarly, hasWaited };
  }

  takeUp(call: ReceivedCall): void {
    this.words.set(call.words);
    this.answered = call.answered;
    this.outcome = call.outcome;
    this.posted = call.posted;
    this.isEarly = call.isEarly;
    this.hasWaited = call.hasWaited;
  }

  /** Whether the caller still waits: it may have been killed, and its number be another's. */
  get isWaiting(): boolean {
    return ioctl(this.fd, NOTIF_ID_VALID, this.address) === 0;
  }

  /** The current call is a write to a device, which returns `bytes` whatever the device does. */
  post(bytes: number): void {
    this.posted = bytes;
  }

  /**
   * A posted write is answered before the device is done with it, because the device waits for the
   * program.
   */
  answerPosted(): void {
    if (this.answered || this.posted < 0) return;
    this.respond(this.posted);
    this.isEarly = true;
  }

  /** Thread that made the call. */
  get tid(): number {
    return this.words[PID]!;
  }

  get nr(): number {
    return this.signedWords[NR]!;
  }

  /** The address behind the instruction that made the call. */
  get returnsTo(): number {
    return getLong(this.words, POINTER);
  }

  /** The six arguments, low and high halves, copied. */
  argumentWords(): Uint32Array {
    return this.words.slice(ARGS, ARGS + 12);
  }

  /** Argument n (0 to 5) as an unsigned 64-bit number, rounded above 2^53. */
  argument(n: number): number {
    return getLong(this.words, ARGS + 2 * n);
  }

  /** Argument n as a C int. */
  int(n: number): number {
    return this.signedWords[ARGS + 2 * n]!;
  }

  /** Argument n as a C unsigned int. */
  uint(n: number): number {
    return this.words[ARGS + 2 * n]!;
  }

  /** Argument n as a signed 64-bit offset, rounded beyond 2^53. */
  offset(n: number): number {
    return this.signedWords[ARGS + 2 * n + 1]! * HIGH + this.words[ARGS + 2 * n]!;
  }

  /** The call returns `value` (0 or more). */
  respond(value: number): void {
    this.outcome = value;
    this.send(value, 0, 0);
  }

  /** The call returns a number of 64 bits, not negative, by its halves. */
  respondWords(low: number, high: number): void {
    this.outcome = 0;
    this.sendWords(low, high, 0, 0);
  }

  /** The call fails with this errno. */
  refuse(error: number): void {
    this.outcome = -error;
    this.send(0, -error, 0);
  }

  /** The kernel carries the call out. */
  proceed(): void {
    this.outcome = Number.NaN;
    this.send(0, 0, RESPONSE_CONTINUE);
  }

  /** Whether the current call still waits for its answer. */
  get pending(): boolean {
    return !this.answered || this.isEarly;
  }

  /**
   * Makes a descriptor for `source`, the engine's, in the caller and answers its call with the
   * number, in one. `at`: the number it gets, or -1 for the lowest free one. Returns the number, or
   * minus the errno, and then the call still waits.
   */
  answerWithFile(source: number, at: number, closeOnExec: boolean): number {
    const made = this.addDescriptor(source, at, closeOnExec, ADDFD_SEND);
    if (made < 0) return made;
    this.answered = true;
    this.outcome = made;
    return made;
  }

  /** The same, and the call still waits either way. */
  addFile(source: number, at: number, closeOnExec: boolean): number {
    return this.addDescriptor(source, at, closeOnExec, 0);
  }

  private addDescriptor(source: number, at: number, closeOnExec: boolean, send: number): number {
    const { words } = this;
    this.copyId(ADDFD);
    words[ADDFD + 2] = send | (at >= 0 ? ADDFD_SETFD : 0);
    words[ADDFD + 3] = source;
    words[ADDFD + 4] = Math.max(at, 0);
    words[ADDFD + 5] = closeOnExec ? O_CLOEXEC : 0;
    const made = ioctl(this.fd, NOTIF_ADDFD, this.address + ADDFD * 4);
    return made < 0 ? -errno() : made;
  }

  private send(value: number, error: number, flags: number): void {
    this.sendWords(value, Math.floor(value / HIGH), error, flags);
  }

  private sendWords(low: number, high: number, error: number, flags: number): void {
    if (this.isEarly) {
      this.isEarly = false;
      return;
    }
    const { words, signedWords } = this;
    this.copyId(RESPONSE);
    words[RESPONSE + 2] = low;
    words[RESPONSE + 3] = high;
    signedWords[RESPONSE + 4] = error;
    words[RESPONSE + 5] = flags;
    this.answered = true;
    // ENOENT: the caller was killed meanwhile. Nobody waits.
    ioctl(this.fd, NOTIF_SEND, this.address + RESPONSE * 4);
  }

  private copyId(to: number): void {
    this.words[to] = this.words[0]!;
    this.words[to + 1] = this.words[1]!;
  }
}
