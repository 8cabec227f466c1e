/**
 * The trap page: memory at one fixed address of each program that may map registers. The first half
 * is code, the other is *state*: what must be known of the address space when a register is
 * touched.
 *
 * The state lies in the program's memory, not the engine's, because it has the life of that memory:
 * fork copies it, vfork and threads share it, exec drops it. It is plain memory of the program,
 * which so needs no right that other memory does not need.
 */
import { getLong, setLong } from '../../abi/long.js';
import { IovecArray } from '../../mm/process/iovec.js';
import { allocateNative, processVmReadv, processVmWritev } from '../../mm/process/libc.js';
import { SignalAction } from './signal-action.js';

/** Where no loader, heap, stack or sanitizer's shadow lies. */
export const TRAP_PAGE = 0x6fff_f000_0000;
export const CODE_BYTES = 0x1000;
/** The state's address. */
export const TRAP_STATE = TRAP_PAGE + CODE_BYTES;
export const STATE_BYTES = 0x1000;
export const HANDLERS_MAX = 64;
/**
 * At the state's end: addresses of the handlers behind the slots (x64/restart.ts), 8 bytes each, 0
 * where there is none yet.
 */
export const HANDLER_TABLE = TRAP_STATE + STATE_BYTES - 8 * HANDLERS_MAX;

/** Bytes in front of the areas, and of an area. */
const HEADER_BYTES = 64;
const AREA_BYTES = 32;
const AREAS_MAX = (HANDLER_TABLE - TRAP_STATE - HEADER_BYTES) / AREA_BYTES;
/** What is read together with the saved registers: enough for most programs. */
const AREAS_FIRST = 8;
export const STATE_BYTES_FIRST = HEADER_BYTES + AREAS_FIRST * AREA_BYTES;

/** `iopftrap`, as two words. */
const MAGIC = [0x66706f69, 0x70617274] as const;
// Words of the state.
const OWNER = 2;
const COUNT = 3;
const ACTION = 4;
const BLOCKED_IN = 12;
const AREAS = HEADER_BYTES / 4;

/** A trapped part of a mapped region: addresses [start, end) of the program. */
export interface TrappedArea {
  readonly start: number;
  readonly end: number;
  /** Offset of `start` in the device file. */
  readonly offset: number;
  /** Which function of the machine. */
  readonly device: number;
  /** PROT_READ, PROT_WRITE, PROT_EXEC, as the program asked for them. */
  readonly protection: number;
}

/** Whether code of the trap page made a call that returns to this address. */
export function isTrapPage(address: number): boolean {
  return address >= TRAP_PAGE && address < TRAP_STATE;
}

const scratch = allocateNative(STATE_BYTES);
const local = new IovecArray(1);
const remote = new IovecArray(1);

/**
 * Reads from a thread's state; false where it has none. Unlike other memory it is never waited for
 * (mm/process/remote-transfer.ts), so no other call comes between a read and the write after it.
 */
export function readState(tid: number, address: number, into: Uint8Array): boolean {
  point(address, into.length);
  if (processVmReadv(tid, local.address, 1, remote.address, 1, 0) !== into.length) return false;
  into.set(scratch.bytes.subarray(0, into.length));
  return true;
}

/** The same for a write. */
export function writeState(tid: number, address: number, from: Uint8Array): boolean {
  point(address, from.length);
  scratch.bytes.set(from);
  return processVmWritev(tid, local.address, 1, remote.address, 1, 0) === from.length;
}

function point(address: number, length: number): void {
  local.count = remote.count = 0;
  local.push(scratch.address, length);
  remote.push(address, length);
}

/** The state of an address space, copied. */
export class TrapState {
  /**
   * The process whose SIGSEGV action this is, or 0: whose memory it is. A child of vfork has an
   * action of its own and shares the memory.
   */
  owner = 0;
  /** What the program believes that SIGSEGV does. */
  action = SignalAction.initial;
  /** The signals, 1 to 64, in whose handlers the program believes SIGSEGV blocked: a sigset_t. */
  readonly blockedIn = new Uint32Array(2);
  /** Ascending, apart from each other. */
  areas: TrappedArea[] = [];

  /** The state of a thread's address space, or null where it has no trap page. */
  static read(tid: number): TrapState | null {
    const bytes = new Uint8Array(HANDLER_TABLE - TRAP_STATE);
    return readState(tid, TRAP_STATE, bytes) ? TrapState.parse(bytes) : null;
  }

  /** False where the thread is gone, or has no page for it. */
  write(tid: number): boolean {
    return writeState(tid, TRAP_STATE, this.bytes());
  }

  bytes(): Uint8Array {
    const words = new Uint32Array(AREAS + (this.areas.length * AREA_BYTES) / 4);
    words.set(MAGIC);
    words[OWNER] = this.owner;
    words[COUNT] = this.areas.length;
    words.set(this.action.words, ACTION);
    words.set(this.blockedIn, BLOCKED_IN);
    this.areas.forEach((area, index) => {
      const at = AREAS + (index * AREA_BYTES) / 4;
      setLong(words, at, area.start);
      setLong(words, at + 2, area.end);
      setLong(words, at + 4, area.offset);
      words[at + 6] = area.device;
      words[at + 7] = area.protection;
    });
    return new Uint8Array(words.buffer);
  }

  /** Whether it says of any action that it is another than after exec. */
  get hasActions(): boolean {
    return this.action.handler !== 0 || this.blockedIn[0] !== 0 || this.blockedIn[1] !== 0;
  }

  /** Whether the program believes SIGSEGV blocked in the handler of this signal. */
  isBlockedIn(signal: number): boolean {
    const word = this.blockedIn[(signal - 1) >> 5];
    return word !== undefined && (word & (1 << ((signal - 1) & 31))) !== 0;
  }

  setBlockedIn(signal: number, isBlocked: boolean): void {
    const index = (signal - 1) >> 5;
    const bit = 1 << ((signal - 1) & 31);
    if (isBlocked) this.blockedIn[index]! |= bit;
    else this.blockedIn[index]! &= ~bit;
  }

  /** Takes another area in; false: there is no room for it. */
  add(area: TrappedArea): boolean {
    if (this.areas.length >= AREAS_MAX) return false;
    this.areas.push(area);
    this.areas.sort((one, other) => one.start - other.start);
    return true;
  }

  /** The areas that have bytes in [start, end). */
  within(start: number, end: number): TrappedArea[] {
    return this.areas.filter((area) => area.start < end && area.end > start);
  }

  /** Takes [start, end) out of the areas; false: there is no room for what is left. */
  remove(start: number, end: number): boolean {
    return this.replace(start, end, () => null);
  }

  /** Gives the areas in [start, end) another protection; false: there is no room for the pieces. */
  protect(start: number, end: number, protection: number): boolean {
    return this.replace(start, end, (area) => ({ ...area, protection }));
  }

  private replace(
    start: number,
    end: number,
    change: (area: TrappedArea) => TrappedArea | null,
  ): boolean {
    const areas: TrappedArea[] = [];
    for (const area of this.areas) {
      const from = Math.max(area.start, start);
      const to = Math.min(area.end, end);
      if (from >= to) {
        areas.push(area);
        continue;
      }
      if (area.start < from) areas.push({ ...area, end: from });
      const changed = change({
        ...area,
        start: from,
        end: to,
        offset: area.offset + from - area.start,
      });
      if (changed !== null) areas.push(changed);
      if (area.end > to) areas.push({ ...area, start: to, offset: area.offset + to - area.start });
    }
    if (areas.length > AREAS_MAX) return false;
    this.areas = areas;
    return true;
  }

  private static parse(bytes: Uint8Array): TrapState | null {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    if (!hasMagic(words, 0)) return null;
    const state = new TrapState();
    state.owner = words[OWNER]!;
    state.action = new SignalAction(words.slice(ACTION, ACTION + SignalAction.WORDS));
    state.blockedIn.set(words.subarray(BLOCKED_IN, BLOCKED_IN + 2));
    for (let index = 0; index < Math.min(words[COUNT]!, AREAS_MAX); index++)
      state.areas.push(areaAt(words, AREAS + (index * AREA_BYTES) / 4));
    return state;
  }
}

/**
 * The area of a state's first bytes, from word `at` on, in which an address lies; null where there
 * is none, 'more' where the areas go on behind those bytes. Hot.
 */
export function findArea(
  words: Uint32Array,
  at: number,
  address: number,
): TrappedArea | 'more' | null {
  if (!hasMagic(words, at)) return null;
  const count = words[at + COUNT]!;
  for (let index = 0; index < count; index++) {
    if (index === AREAS_FIRST) return 'more';
    const area = at + AREAS + (index * AREA_BYTES) / 4;
    if (address >= getLong(words, area) && address < getLong(words, area + 2))
      return areaAt(words, area);
  }
  return null;
}

function hasMagic(words: Uint32Array, at: number): boolean {
  return words[at] === MAGIC[0] && words[at + 1] === MAGIC[1];
}

function areaAt(words: Uint32Array, at: number): TrappedArea {
  return {
    start: getLong(words, at),
    end: getLong(words, at + 2),
    offset: getLong(words, at + 4),
    device: words[at + 6]!,
    protection: words[at + 7]!,
  };
}
