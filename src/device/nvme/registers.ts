import type { DmaBuffer } from '../../mm/frame-memory.js';
import type { ControllerMemory } from './controller-memory.js';
import { QUEUE_ENTRIES } from './limits.js';

/** Controller registers, bytes of BAR 0 (NVM Express 1.4, 3.1). */
export const Register = {
  CAP: 0x00,
  VS: 0x08,
  INTMS: 0x0c,
  INTMC: 0x10,
  CC: 0x14,
  CSTS: 0x1c,
  AQA: 0x24,
  ASQ: 0x28,
  ACQ: 0x30,
  CMBLOC: 0x38,
  CMBSZ: 0x3c,
  CMBMSC: 0x50,
  CMBSTS: 0x58,
  END: 0x5c,
  DOORBELLS: 0x1000,
  /** Behind the doorbells: the MSI-X table and its pending bits. */
  MSIX_TABLE: 0x2000,
  MSIX_PENDING: 0x3000,
  SIZE: 0x4000,
} as const;

/** 1.4. */
export const VERSION = 0x00010400;
/** Queues are contiguous; 7.5 s to become ready at most; NVM command set; 4 KiB pages only. */
const CAP_LOW = (QUEUE_ENTRIES - 1) | (1 << 16) | (15 << 24);
const CAP_HIGH = 1 << 5;
/** Of CAP's high word: there is a controller memory buffer (CMBS). */
const CAP_CMB = 1 << 25;

const CMBMSC_RESERVED = 0xffc;

export const ControllerConfiguration = {
  ENABLE: 0x1,
  /** Command set, page size, arbitration: only 0 of each is supported. */
  UNSUPPORTED: 0x3ff0,
  SHUTDOWN: 0xc000,
  SQ_ENTRY_SHIFT: 16,
  CQ_ENTRY_SHIFT: 20,
} as const;

export const ControllerStatus = {
  READY: 0x1,
  FATAL: 0x2,
  SHUTDOWN: 0xc,
  SHUTDOWN_OCCURRING: 0x4,
  SHUTDOWN_COMPLETE: 0x8,
} as const;

const word = (offset: number): number => offset / 4;
const CC = word(Register.CC);
const CSTS = word(Register.CSTS);
const INTMS = word(Register.INTMS);
const INTMC = word(Register.INTMC);
const CMBMSC = word(Register.CMBMSC);
const DOORBELLS = word(Register.DOORBELLS);
/** Doorbell registers that the page has: tail and head in turns, most of no queue. */
export const DOORBELL_COUNT = word(Register.MSIX_TABLE) - DOORBELLS;
/** What the doorbell of a queue that does not exist holds until the host writes to it. */
const NO_QUEUE = -1;

/**
 * The registers in the BAR's memory, which a program may have mapped: CC, the admin queue's
 * registers and the doorbells are simply read there. In a plain page INTMS shows the mask and INTMC
 * shows 0, so that every write to INTMC is noticed; CMBLOC and CMBSZ always show what they say once
 * CMBMSC.CRE is set, as a program may look right behind its store.
 *
 * Memory order: a look is a plain load. What is found written is loaded again atomically before it
 * counts, so that whatever the program stored before it (commands, AQA) is read after it. The
 * status is stored atomically: a program that sees it sees the doorbells of before, and none of its
 * own is overwritten by them. A head of a completion queue needs neither: only stores depend on it.
 */
export class Registers {
  private readonly words: Int32Array;
  /** CC as the controller last acted on it. */
  configuration = 0;
  interruptMask = 0;

  constructor(
    memory: DmaBuffer,
    private readonly buffer: ControllerMemory,
  ) {
    this.words = new Int32Array(
      memory.bytes.buffer,
      memory.bytes.byteOffset,
      word(Register.MSIX_TABLE),
    );
  }

  /** Values as after power-on. The memory may hold anything. */
  reset(): void {
    this.words.fill(0);
    this.configuration = 0;
    this.interruptMask = 0;
    this.clearDoorbells();
    this.takeBufferControl();
    this.showConstants();
  }

  /** Puts back what a program that maps the page may have overwritten. */
  showConstants(): void {
    this.words[word(Register.CAP)] = CAP_LOW;
    this.words[word(Register.CAP) + 1] = this.buffer.exists ? CAP_HIGH | CAP_CMB : CAP_HIGH;
    this.words[word(Register.VS)] = VERSION;
    this.words[word(Register.CMBLOC)] = this.buffer.location;
    this.words[word(Register.CMBSZ)] = this.buffer.size;
  }

  /** CC, INTMS, INTMC or CMBMSC is not what it was. Hot. */
  get touched(): boolean {
    const words = this.words;
    return (
      words[CC] !== this.configuration ||
      words[INTMS] !== this.interruptMask ||
      words[INTMC] !== 0 ||
      words[CMBMSC] !== this.buffer.low ||
      words[CMBMSC + 1] !== this.buffer.high
    );
  }

  /** Takes CMBMSC, which is reserved where there is no buffer. A controller reset leaves it. */
  takeBufferControl(): void {
    const words = this.words;
    if (!this.buffer.exists) {
      words[CMBMSC] = 0;
      words[CMBMSC + 1] = 0;
      return;
    }
    words[word(Register.CMBSTS)] = this.buffer.control(words[CMBMSC]!, words[CMBMSC + 1]!);
  }

  /** Takes what was written to INTMS and INTMC. */
  takeInterruptMask(): void {
    const words = this.words;
    this.interruptMask = (this.interruptMask | words[INTMS]!) & ~words[INTMC]!;
    words[INTMS] = this.interruptMask;
    words[INTMC] = 0;
  }

  /** Takes CC, before all that goes with it; returns what it was. */
  takeConfiguration(): number {
    const before = this.configuration;
    this.configuration = Atomics.load(this.words, CC);
    return before;
  }

  get status(): number {
    return this.words[CSTS]!;
  }

  set status(value: number) {
    Atomics.store(this.words, CSTS, value);
  }

  /** Entries of the admin submission and completion queues. */
  get adminSqEntries(): number {
    return (this.words[word(Register.AQA)]! & 0xfff) + 1;
  }

  get adminCqEntries(): number {
    return ((this.words[word(Register.AQA)]! >>> 16) & 0xfff) + 1;
  }

  /** IOVA page of an admin queue (ASQ, ACQ). */
  queuePage(register: number): number {
    const low = this.words[word(register)]! >>> 0;
    return (this.words[word(register) + 1]! >>> 0) * 2 ** 20 + (low >>> 12);
  }

  read(offset: number): number {
    const isHidden = offset === Register.CMBLOC || offset === Register.CMBSZ;
    if (isHidden && !this.buffer.registersShown) return 0;
    if (offset === Register.INTMC) return this.interruptMask >>> 0;
    return this.words[word(offset)]! >>> 0;
  }

  /** Stores a write to a register that can be written; the controller looks at it afterwards. */
  write(offset: number, value: number): void {
    switch (offset) {
      case Register.INTMS:
      case Register.INTMC:
      case Register.CC:
      case Register.AQA:
        this.words[word(offset)] = value;
        break;
      case Register.ASQ:
      case Register.ACQ:
        this.words[word(offset)] = value & ~0xfff;
        break;
      case Register.ASQ + 4:
      case Register.ACQ + 4:
      case Register.CMBMSC + 4:
        this.words[word(offset)] = value;
        break;
      case Register.CMBMSC:
        this.words[word(offset)] = value & ~CMBMSC_RESERVED;
        break;
    }
  }

  /** A look at a submission queue's doorbell. Hot. */
  submissionTail(queue: number): number {
    return this.words[DOORBELLS + 2 * queue]!;
  }

  /** The same where the look found it written: the commands before it are there. */
  takeSubmissionTail(queue: number): number {
    return Atomics.load(this.words, DOORBELLS + 2 * queue);
  }

  completionHead(queue: number): number {
    return this.words[DOORBELLS + 2 * queue + 1]!;
  }

  setSubmissionTail(queue: number, value: number): void {
    this.words[DOORBELLS + 2 * queue] = value;
  }

  setCompletionHead(queue: number, value: number): void {
    this.words[DOORBELLS + 2 * queue + 1] = value;
  }

  /** Whether the host has written to the doorbell `index`, of a queue that does not exist. */
  rung(index: number): boolean {
    return this.words[DOORBELLS + index] !== NO_QUEUE;
  }

  clearDoorbell(index: number): void {
    this.words[DOORBELLS + index] = NO_QUEUE;
  }

  clearDoorbells(): void {
    this.words.fill(NO_QUEUE, DOORBELLS, DOORBELLS + DOORBELL_COUNT);
  }
}
