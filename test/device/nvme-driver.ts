/**
 * A small NVMe driver, for tests and benches: drives a controller through its BAR, as a program
 * would.
 */
import { PciCommand } from '../../src/abi/pci.js';
import type { DeviceHost } from '../../src/device/device-host.js';
import { nvme } from '../../src/device/nvme/kind.js';
import { Register } from '../../src/device/nvme/registers.js';
import { PAGE_SIZE } from '../../src/mm/address-space.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';
import { command, Program, type ProgramOptions, read32, write32 } from './program.js';

const ENABLE = (6 << 16) | (4 << 20) | 1;

export interface Completion {
  readonly result: number;
  readonly head: number;
  readonly queue: number;
  readonly identifier: number;
  /** Status code type * 256 + status code. */
  readonly status: number;
  readonly retryable: boolean;
}

export interface SglDescriptor {
  /** Type and subtype. */
  readonly kind: number;
  readonly address?: number | bigint;
  readonly length: number;
}

export const SglKind = {
  DATA_BLOCK: 0x00,
  BIT_BUCKET: 0x10,
  SEGMENT: 0x20,
  LAST_SEGMENT: 0x30,
} as const;

export interface CommandFields {
  readonly opcode: number;
  readonly namespace?: number;
  /** Bits 8–15 of the first word. */
  readonly flags?: number;
  readonly prp1?: number;
  readonly prp2?: number;
  /** In place of the PRPs; an SGL then, unless `flags` says otherwise. */
  readonly sgl?: SglDescriptor;
  readonly dw10?: number;
  readonly dw11?: number;
  readonly dw12?: number;
  readonly dw13?: number;
  readonly identifier?: number;
}

/** A submission queue with its completion queue, in the program's memory. */
export class QueuePair {
  tail = 0;
  head = 0;
  phase = 1;
  next = 1;

  constructor(
    readonly driver: NvmeDriver,
    readonly id: number,
    readonly entries: number,
    /** Offsets in the program's memory. */
    readonly submission: number,
    readonly completion: number,
    readonly completionEntries = entries,
  ) {}

  /** Writes a command; returns its identifier. */
  push(fields: CommandFields): number {
    const identifier = fields.identifier ?? this.next++ & 0xffff;
    const at = this.submission + this.tail * 64;
    const view = this.driver.view;
    this.driver.program.memory.bytes.fill(0, at, at + 64);
    const flags = fields.flags ?? (fields.sgl ? 0x40 : 0);
    view.setUint32(at, fields.opcode | (flags << 8) | (identifier << 16), true);
    view.setUint32(at + 4, fields.namespace ?? 0, true);
    setLong(view, at + 24, fields.prp1 ?? 0);
    setLong(view, at + 32, fields.prp2 ?? 0);
    if (fields.sgl) setDescriptor(view, at + 24, fields.sgl);
    for (const [index, value] of [fields.dw10, fields.dw11, fields.dw12, fields.dw13].entries()) {
      view.setUint32(at + 40 + 4 * index, value ?? 0, true);
    }
    this.tail = (this.tail + 1) % this.entries;
    return identifier;
  }

  ring(): void {
    this.driver.write(Register.DOORBELLS + this.id * 8, this.tail);
  }

  /**
   * The next completion, if the device has written one; the head doorbell is rung for it unless
   * told otherwise.
   */
  take(acknowledge = true): Completion | null {
    const at = this.completion + this.head * 16;
    const view = this.driver.view;
    const last = view.getUint32(at + 12, true);
    if (((last >>> 16) & 1) !== this.phase) return null;
    this.head = (this.head + 1) % this.completionEntries;
    if (this.head === 0) this.phase ^= 1;
    if (acknowledge) this.acknowledge();
    return {
      result: view.getUint32(at, true),
      head: view.getUint16(at + 8, true),
      queue: view.getUint16(at + 10, true),
      identifier: last & 0xffff,
      status: (last >>> 17) & 0x7ff,
      retryable: last >>> 31 === 0,
    };
  }

  acknowledge(): void {
    this.driver.write(Register.DOORBELLS + this.id * 8 + 4, this.head);
  }

  /** Does one command and returns its completion. */
  run(fields: CommandFields): Completion {
    const identifier = this.push(fields);
    this.ring();
    const completion = this.take();
    if (!completion) throw new Error('no completion');
    if (completion.identifier !== identifier)
      throw new Error(`completion of ${completion.identifier}`);
    return completion;
  }

  /** All completions that are there. */
  takeAll(): Completion[] {
    const all: Completion[] = [];
    for (let one = this.take(); one; one = this.take()) all.push(one);
    return all;
  }
}

export class NvmeDriver {
  readonly program: Program;
  readonly device: PciFunction;
  readonly view: DataView;
  admin!: QueuePair;
  #nextPage = 0;

  constructor(
    options: Record<string, string> = {},
    programOptions: ProgramOptions = {},
    openBlockFile?: DeviceHost['openBlockFile'],
  ) {
    this.program = new Program(programOptions, openBlockFile);
    this.device = nvme.create(options, this.program.surroundings);
    this.view = new DataView(this.program.memory.bytes.buffer);
    this.device.open(this.program.sink);
    command(this.device, PciCommand.IO | PciCommand.MEMORY | PciCommand.MASTER);
  }

  read(offset: number): number {
    return read32(this.device, 0, offset);
  }

  write(offset: number, value: number): void {
    write32(this.device, 0, offset, value);
  }

  /** Offset of `count` fresh pages in the program's memory. */
  pages(count: number): number {
    const offset = this.#nextPage * PAGE_SIZE;
    this.#nextPage += count;
    if (this.#nextPage > this.program.memory.pages)
      throw new Error('the program has no more memory');
    return offset;
  }

  iova(offset: number): number {
    return this.program.iova(offset);
  }

  /** Brings the controller up with admin queues of `entries`. */
  enable(entries = 32): void {
    const submission = this.pages(Math.ceil((entries * 64) / PAGE_SIZE));
    const completion = this.pages(Math.ceil((entries * 16) / PAGE_SIZE));
    this.admin = new QueuePair(this, 0, entries, submission, completion);
    this.write(Register.AQA, (entries - 1) | ((entries - 1) << 16));
    this.write(Register.ASQ, this.iova(submission));
    this.write(Register.ASQ + 4, 0);
    this.write(Register.ACQ, this.iova(completion));
    this.write(Register.ACQ + 4, 0);
    this.write(Register.CC, ENABLE);
    if (this.read(Register.CSTS) !== 1) throw new Error(`not ready: ${this.read(Register.CSTS)}`);
  }

  disable(): void {
    this.write(Register.CC, 0);
  }

  /** Creates an I/O queue pair. */
  createQueue(id: number, entries: number, vector = 0): QueuePair {
    const submission = this.pages(Math.ceil((entries * 64) / PAGE_SIZE));
    const completion = this.pages(Math.ceil((entries * 16) / PAGE_SIZE));
    const dw10 = id | ((entries - 1) << 16);
    const made = [
      this.admin.run({ opcode: 5, prp1: this.iova(completion), dw10, dw11: 3 | (vector << 16) }),
      this.admin.run({ opcode: 1, prp1: this.iova(submission), dw10, dw11: 1 | (id << 16) }),
    ];
    for (const { status } of made)
      if (status !== 0) throw new Error(`queue ${id}: status ${status.toString(16)}`);
    return new QueuePair(this, id, entries, submission, completion);
  }

  /**
   * PRP1 and PRP2 for `length` bytes at `offset` of memory; makes the list that it takes, at
   * `listOffset` of its page.
   */
  prp(offset: number, length: number, listOffset = 0): { prp1: number; prp2: number } {
    const first = PAGE_SIZE - (offset % PAGE_SIZE);
    const prp1 = this.iova(offset);
    if (length <= first) return { prp1, prp2: 0 };
    const pages: number[] = [];
    for (let at = first; at < length; at += PAGE_SIZE) pages.push(this.iova(offset + at));
    if (pages.length === 1) return { prp1, prp2: pages[0]! };
    let list = this.pages(1) + listOffset;
    const prp2 = this.iova(list);
    for (let index = 0; index < pages.length; index++) {
      if (list % PAGE_SIZE === PAGE_SIZE - 8 && index < pages.length - 1) {
        const next = this.pages(1);
        setLong(this.view, list, this.iova(next));
        list = next;
      }
      setLong(this.view, list, pages[index]!);
      list += 8;
    }
    return { prp1, prp2 };
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.program.memory.bytes.subarray(offset, offset + length);
  }
}

/** Writes an SGL descriptor. */
export function setDescriptor(view: DataView, at: number, descriptor: SglDescriptor): void {
  view.setBigUint64(at, BigInt(descriptor.address ?? 0), true);
  view.setUint32(at + 8, descriptor.length, true);
  view.setUint32(at + 12, descriptor.kind << 24, true);
}

export function setLong(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 2 ** 32, true);
  view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

/** Bytes that look random and are the same in every run. */
export function pseudoRandom(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}
