/** A device that its table describes: finds who answers an access, and keeps the registers. */

import { PciRegionIndex } from '../abi/pci.js';
import type { DeviceHost } from '../device/device-host.js';
import type { PciEndpoint } from '../device/pci/endpoint.js';
import type { PciDevice } from '../device/pci/pci-device.js';
import { RegisterFile, type RegisterRow, RegisterTable } from '../device/register-table.js';
import { DeviceMistake } from './check-definition.js';
import type { DeviceDefinition } from './definition.js';
import type { Device, DeviceHandlers, Registers } from './device.js';
import { faultsOf } from './points.js';
import { Buffers, type DmaCount, KitDma } from './port.js';
import { noPromise } from './promise.js';
import { Timers } from './timers.js';

const MSIX_ENTRY = 16;
/** Who answers a word of a BAR. */
const Owner = { HANDLER: 0, MEMORY: 1, REGISTER: 2 } as const;

/** What is the same of all devices of a kind. */
export interface BarTable {
  readonly table: RegisterTable;
  /** An `Owner` for each word. */
  readonly owners: Uint8Array;
}

export function barTables({ bars, msix }: DeviceDefinition): ReadonlyMap<number, BarTable> {
  return new Map(
    bars.map(({ index, open = [], registers = [], size }) => {
      const table = new RegisterTable(registers satisfies readonly RegisterRow[], size);
      const owners = new Uint8Array(size / 4);
      const memory = (offset: number, bytes: number): void => {
        owners.fill(Owner.MEMORY, offset / 4, Math.ceil((offset + bytes) / 4));
      };
      for (const area of open) memory(area.offset, area.size);
      if (msix?.bar === index) {
        memory(msix.table, msix.vectors * MSIX_ENTRY);
        memory(msix.pending, Math.ceil(msix.vectors / 64) * 8);
      }
      for (let word = 0; word < owners.length; word++)
        if (table.at(word * 4) >= 0) owners[word] = Owner.REGISTER;
      return [index, { table, owners }];
    }),
  );
}

export class KitDevice implements PciDevice {
  readonly stalls: boolean;
  readonly dma: KitDma;
  private readonly files = new Map<number, RegisterFile>();
  private readonly timers: Timers;
  private readonly buffers = new Buffers();
  private handlers: DeviceHandlers = {};
  /** Its handlers are not called any more. */
  isDead = false;

  constructor(
    private readonly endpoint: PciEndpoint,
    private readonly definition: DeviceDefinition,
    private readonly tables: ReadonlyMap<number, BarTable>,
    private readonly host: DeviceHost,
    /** Tells each access of a register. */
    private readonly isLogged: boolean,
    count: DmaCount,
  ) {
    this.stalls = definition.stalls ?? false;
    this.timers = new Timers(host.nowUs ?? (() => 0));
    this.dma = new KitDma(endpoint.dma, this.buffers, count);
    for (const [bar, { table }] of tables) this.files.set(bar, new RegisterFile(table));
  }

  /** Lets the author make the device. */
  create(options: Readonly<Record<string, string | number>>): void {
    const made: unknown = this.definition.create(this.face(), options as never);
    checkHandlers(made);
    this.handlers = made;
  }

  reset(): void {
    if (this.isDead) return;
    this.timers.clear();
    for (const file of this.files.values()) file.reset();
    noPromise(this.handlers.reset?.(), 'reset');
  }

  read(bar: number, offset: number, size: number): number {
    const found = this.tables.get(bar)!;
    switch (found.owners[offset >>> 2]) {
      case Owner.MEMORY:
        return this.endpoint.loadBar(bar, offset, size);
      case Owner.REGISTER: {
        const value = this.files.get(bar)!.read(offset - (offset % 4));
        if (this.isLogged) this.log('read', found.table.name(offset), value);
        return value >>> (8 * (offset % 4));
      }
      default:
        return noPromise(this.handlers.read?.(bar, offset, size), 'read') ?? 0;
    }
  }

  write(bar: number, offset: number, size: number, value: number): void {
    const found = this.tables.get(bar)!;
    switch (found.owners[offset >>> 2]) {
      case Owner.MEMORY:
        return this.endpoint.storeBar(bar, offset, size, value);
      case Owner.REGISTER: {
        if (this.isLogged) this.log('wrote', found.table.name(offset), value);
        const lanes = size === 4 ? 0xffffffff : (2 ** (8 * size) - 1) << (8 * (offset % 4));
        const whole = (value << (8 * (offset % 4))) >>> 0;
        return this.files.get(bar)!.write(offset - (offset % 4), whole, lanes);
      }
      default:
        noPromise(this.handlers.write?.(bar, offset, size, value), 'write');
    }
  }

  poll(): boolean {
    const hasRun = this.timers.run();
    return (noPromise(this.handlers.poll?.(), 'poll') ?? false) || hasRun;
  }

  configWritten(offset: number, length: number): void {
    noPromise(this.handlers.configWritten?.(offset, length), 'configWritten');
  }

  private log(what: string, register: string, value: number): void {
    const { address, kind } = this.endpoint;
    this.host.note?.(`${kind}@${address}: ${what} ${register} 0x${value.toString(16)}`);
  }

  /** What the author sees of it all. */
  private face(): Device {
    const { buffers, dma, endpoint, host, timers } = this;
    const { interrupts } = endpoint;
    const memories = new Map(
      [...this.tables.keys()].map((bar) => [bar, buffers.wrap(endpoint.barMemory(bar))]),
    );
    return Object.freeze({
      address: endpoint.address,
      dma: dma.face(),
      interrupts: Object.freeze({
        get messages(): boolean {
          return interrupts.messages;
        },
        message: (vector: number) => interrupts.message(this.vector(vector)),
        pin: (asserted: boolean) => interrupts.pin(asserted === true),
      }),
      registers: registersOf(this.files),
      clock: timers.face(),
      fault: faultsOf(this.definition, host.faults?.own ?? null),
      allocate: (bytes: number) => {
        if (!(Number.isInteger(bytes) && bytes > 0))
          throw new Error(`allocate(${bytes}): a number of bytes, above 0, is needed`);
        return buffers.wrap(host.allocate(bytes));
      },
      memory: (bar: number) => {
        const memory = memories.get(bar);
        if (memory === undefined) throw new Error(`memory(${bar}): the device has no such BAR`);
        return memory;
      },
      config: (offset: number, length: number) => {
        const { size } = endpoint.regions[PciRegionIndex.CONFIG]!;
        if (!(offset >= 0 && length >= 0 && offset + length <= size))
          throw new Error(`config(${offset}, ${length}): config space has ${size} bytes`);
        const copy = new Uint8Array(length);
        endpoint.config.read(offset, copy);
        return copy;
      },
    });
  }

  private vector(vector: number): number {
    const { msi, msix } = this.definition;
    const vectors = Math.max(msi?.vectors ?? 0, msix?.vectors ?? 0);
    if (!(Number.isInteger(vector) && vector >= 0 && vector < vectors))
      throw new Error(`message(${vector}): the device has vectors 0 to ${vectors - 1}`);
    return vector;
  }
}

const handlerKeys = ['reset', 'poll', 'read', 'write', 'configWritten'] as const;

/** Throws DeviceMistake. An object of a class may have fields of its own. */
function checkHandlers(made: unknown): asserts made is DeviceHandlers {
  if (typeof made !== 'object' || made === null)
    throw new DeviceMistake('create returns no object of handlers: { reset() {…}, poll() {…} }');
  noPromise(made, 'create');
  const fields = made as Readonly<Record<string, unknown>>;
  const isPlain = Object.getPrototypeOf(made) === Object.prototype;
  for (const key of isPlain ? Object.keys(made) : [])
    if (!handlerKeys.includes(key as never))
      throw new DeviceMistake(`create returns '${key}'; handlers are ${handlerKeys.join(', ')}`);
  for (const key of handlerKeys)
    if (fields[key] !== undefined && typeof fields[key] !== 'function')
      throw new DeviceMistake(`create returns ${key}, which must be a function`);
}

/** The registers of all BARs by name. */
function registersOf(files: ReadonlyMap<number, RegisterFile>): Registers<string> {
  const homes = new Map<string, { file: RegisterFile; row: RegisterRow }>();
  for (const file of files.values())
    for (const row of file.table.rows) homes.set(row.name, { file, row });
  const find = (name: string): { file: RegisterFile; row: RegisterRow } => {
    const home = homes.get(name);
    if (home === undefined) throw new Error(`the device has no register '${name}'`);
    return home;
  };
  const at = (row: RegisterRow, index: number): number => {
    if (!(Number.isInteger(index) && index >= 0 && index < (row.count ?? 1)))
      throw new Error(`register ${row.name} has no [${index}]`);
    return row.offset + index * (row.stride ?? 4);
  };
  return Object.freeze({
    get: (name: string, index = 0) => {
      const { file, row } = find(name);
      return file.get(at(row, index));
    },
    set: (name: string, value: number, index = 0) => {
      const { file, row } = find(name);
      file.set(at(row, index), value);
    },
    onWrite: (name: string, hook: (value: number, index: number) => void) => {
      find(name).file.onWrite([name], (value, index) => noPromise(hook(value, index), 'onWrite'));
    },
    onRead: (name: string, hook: (kept: number, index: number) => number) => {
      find(name).file.onRead([name], (kept, index) => noPromise(hook(kept, index), 'onRead'));
    },
  });
}
