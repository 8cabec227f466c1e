/**
 * A polling NVMe driver in user space, as far as queues, reads and writes go: doorbells in the
 * mapped BAR, no interrupts, no system call on the way of a command (NVM Express 1.4).
 */
import { AdminOpcode, CQE_WORDS, SQE_WORDS, Sqe } from '../../src/device/nvme/command.js';
import {
  ControllerConfiguration,
  ControllerStatus,
  Register,
} from '../../src/device/nvme/registers.js';
import type { DmaBuffer } from '../../src/mm/frame-memory.js';
import { allocateNative } from '../../src/mm/process/libc.js';
import type { VfioClient } from '../dma-copy/vfio.js';

const PAGE = 4096;
const BAR_BYTES = 0x2000;
const ADMIN_ENTRIES = 32;
/** Queue entries of 2^6 and 2^4 bytes, and the rest of CC as after power-on. */
const CONFIGURATION =
  (6 << ControllerConfiguration.SQ_ENTRY_SHIFT) | (4 << ControllerConfiguration.CQ_ENTRY_SHIFT);
const CONTIGUOUS = 1;
/** CC: normal shutdown. */
const SHUTDOWN_NORMAL = 0x4000;
/** Milliseconds until a command counts as lost, where the caller does not say. */
const PATIENCE_MS = 10_000;
/** Looks at memory between two looks at the clock. */
const LOOKS = 1024;
/** Where the driver's memory lies for the device: beyond 32 bits. */
const IOVA = 2 ** 33;

/** A submission queue and its completion queue. */
export class QueuePair {
  /** Status of the completion taken last: type * 256 + code. */
  status = 0;
  /** Result word of the completion taken last. */
  result = 0;
  /** Next entry to fill, and next completion to look at. */
  tail = 0;
  head = 0;
  private phase = 1;
  /** By identifier: the device has the command. */
  private readonly inFlight = new Uint8Array(2 ** 16);
  private readonly commands: Uint32Array;
  private readonly completions: Uint32Array;
  /** Puts a value into a doorbell, 0-based: in the mapped BAR, unless told another way. */
  store = (doorbell: number, value: number): void => {
    Atomics.store(this.doorbells, doorbell, value);
  };

  constructor(
    private readonly doorbells: Uint32Array,
    readonly id: number,
    readonly entries: number,
    submission: Uint8Array,
    completion: Uint8Array,
    private readonly patienceMs: number,
    private readonly idle: () => void = () => {},
  ) {
    this.commands = words(submission);
    this.completions = words(completion);
  }

  /**
   * Fills the next entry; `identifier` comes back with the completion. `dw10` to `dw12` as the
   * command has them.
   */
  push(
    opcode: number,
    identifier: number,
    namespace: number,
    prp1: number,
    prp2: number,
    dw10: number,
    dw11: number,
    dw12: number,
  ): void {
    const { commands } = this;
    this.inFlight[identifier] = 1;
    const at = this.tail * SQE_WORDS;
    commands.fill(0, at, at + SQE_WORDS);
    commands[at + Sqe.HEAD] = opcode | (identifier << 16);
    commands[at + Sqe.NAMESPACE] = namespace;
    commands[at + Sqe.PRP1] = prp1;
    commands[at + Sqe.PRP1 + 1] = prp1 / 2 ** 32;
    commands[at + Sqe.PRP2] = prp2;
    commands[at + Sqe.PRP2 + 1] = prp2 / 2 ** 32;
    commands[at + Sqe.DW10] = dw10;
    commands[at + Sqe.DW11] = dw11;
    commands[at + Sqe.DW12] = dw12;
    this.tail = this.tail + 1 === this.entries ? 0 : this.tail + 1;
  }

  /** Tells the device of what was pushed. */
  ring(): void {
    this.store(2 * this.id, this.tail);
  }

  /**
   * The next completion's identifier, or -1 where there is none yet. Throws where the device does
   * not have such a command: what its buffer holds is not known then.
   */
  take(): number {
    const at = this.head * CQE_WORDS;
    const last = Atomics.load(this.completions, at + 3);
    if (((last >>> 16) & 1) !== this.phase) return -1;
    this.status = (last >>> 17) & 0x7ff;
    this.result = this.completions[at]!;
    if (++this.head === this.entries) {
      this.head = 0;
      this.phase ^= 1;
    }
    const identifier = last & 0xffff;
    if (this.inFlight[identifier] === 0)
      throw new Error(`queue ${this.id}: a completion of command ${identifier}, not in flight`);
    this.inFlight[identifier] = 0;
    return identifier;
  }

  /** Tells the device which completions were taken. */
  acknowledge(): void {
    this.store(2 * this.id + 1, this.head);
  }

  /** Waits for the next completion and returns its identifier. Throws where none comes. */
  wait(): number {
    const patience = new Patience(this.patienceMs, `queue ${this.id}: no completion`);
    for (;;) {
      const identifier = this.take();
      if (identifier < 0) {
        this.idle();
        patience.look();
        continue;
      }
      this.acknowledge();
      return identifier;
    }
  }
}

/** Bounds the time of a loop that waits. */
export class Patience {
  private left = LOOKS;
  private end = 0;

  constructor(
    private readonly ms: number,
    private readonly what: string,
  ) {}

  /** Something came: the time begins anew. */
  renew(): void {
    this.end = 0;
  }

  /** Nothing has come. Throws where that is so for too long. */
  look(): void {
    if (--this.left > 0) return;
    this.left = LOOKS;
    const now = performance.now();
    if (this.end === 0) this.end = now + this.ms;
    else if (now > this.end) throw new Error(`${this.what} in ${this.ms} ms`);
  }
}

export class NvmePollDriver {
  admin!: QueuePair;
  private readonly registers: Uint32Array;
  readonly memory: DmaBuffer;
  private readonly adminStart: number;
  private used = 0;
  private identifier = 0;

  /**
   * `memoryBytes`: of queues and buffers, all of which is mapped for the device at once. `idle` is
   * called while there is nothing but to wait. `patienceMs`: after so long a command is lost.
   */
  constructor(
    private readonly vfio: Pick<VfioClient, 'map' | 'mapRegion' | 'reset'>,
    memoryBytes: number,
    private readonly idle?: () => void,
    private readonly patienceMs: number = PATIENCE_MS,
  ) {
    this.registers = words(vfio.mapRegion(0, BAR_BYTES).bytes);
    this.memory = allocateNative(memoryBytes);
    vfio.map(this.memory.address, IOVA, memoryBytes);
    this.adminStart = this.allocate(2 * PAGE);
    this.enable();
  }

  /** Offset of fresh memory, zeroed, page aligned. */
  allocate(bytes: number): number {
    const at = this.used;
    this.used += Math.ceil(bytes / PAGE) * PAGE;
    if (this.used > this.memory.bytes.length) throw new Error('the driver has no more memory');
    return at;
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.memory.bytes.subarray(offset, offset + length);
  }

  iova(offset: number): number {
    return IOVA + offset;
  }

  /** Brings the controller up. Its I/O queues must be created anew. */
  enable(): void {
    const { registers, adminStart } = this;
    this.bytes(adminStart, 2 * PAGE).fill(0);
    registers[Register.AQA / 4] = (ADMIN_ENTRIES - 1) | ((ADMIN_ENTRIES - 1) << 16);
    for (const [register, offset] of [
      [Register.ASQ, adminStart],
      [Register.ACQ, adminStart + PAGE],
    ] as const) {
      registers[register / 4] = this.iova(offset);
      registers[register / 4 + 1] = this.iova(offset) / 2 ** 32;
    }
    this.configure(CONFIGURATION | ControllerConfiguration.ENABLE, ControllerStatus.READY);
    this.admin = this.pair(0, ADMIN_ENTRIES, adminStart, adminStart + PAGE);
  }

  /** Controller reset, whatever is in flight. */
  disable(): void {
    this.configure(CONFIGURATION, 0);
  }

  /** Function-level reset, whatever is in flight. */
  resetFunction(): void {
    this.vfio.reset();
  }

  /** Shutdown notification: returns when what was written is durable. */
  shutDown(): void {
    const { READY, SHUTDOWN_COMPLETE } = ControllerStatus;
    this.configure(
      CONFIGURATION | ControllerConfiguration.ENABLE | SHUTDOWN_NORMAL,
      READY | SHUTDOWN_COMPLETE,
    );
  }

  /** Does an admin command; returns its result word. Throws where its status is not success. */
  command(
    opcode: number,
    {
      prp1 = 0,
      dw10 = 0,
      dw11 = 0,
      namespace = 0,
    }: { prp1?: number; dw10?: number; dw11?: number; namespace?: number },
  ): number {
    const { admin } = this;
    // Another each time: a completion that is late or comes twice is not taken for this one's.
    this.identifier = (this.identifier + 1) & 0x7fff;
    admin.push(opcode, this.identifier, namespace, prp1, 0, dw10, dw11, 0);
    admin.ring();
    admin.wait();
    if (admin.status !== 0)
      throw new Error(`admin command ${opcode}: status 0x${admin.status.toString(16)}`);
    return admin.result;
  }

  /**
   * Creates an I/O queue pair without interrupts in memory of its own, or in that of a pair that is
   * gone.
   */
  createQueue(
    id: number,
    entries: number,
    submission = this.allocate(entries * 64),
    completion = this.allocate(entries * 16),
  ): QueuePair {
    this.bytes(completion, entries * 16).fill(0);
    const dw10 = id | ((entries - 1) << 16);
    this.command(AdminOpcode.CREATE_CQ, { prp1: this.iova(completion), dw10, dw11: CONTIGUOUS });
    this.command(AdminOpcode.CREATE_SQ, {
      prp1: this.iova(submission),
      dw10,
      dw11: CONTIGUOUS | (id << 16),
    });
    return this.pair(id, entries, submission, completion);
  }

  private pair(id: number, entries: number, submission: number, completion: number): QueuePair {
    const doorbells = this.registers.subarray(Register.DOORBELLS / 4);
    return new QueuePair(
      doorbells,
      id,
      entries,
      this.bytes(submission, entries * 64),
      this.bytes(completion, entries * 16),
      this.patienceMs,
      this.idle,
    );
  }

  private configure(configuration: number, status: number): void {
    Atomics.store(this.registers, Register.CC / 4, configuration);
    this.awaitStatus(status);
  }

  /** Waits until CSTS is `status`. Throws where it never is. */
  awaitStatus(status: number): void {
    const { registers } = this;
    const patience = new Patience(this.patienceMs, `CSTS is not 0x${status.toString(16)}`);
    while (Atomics.load(registers, Register.CSTS / 4) !== status) patience.look();
  }
}

function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}
