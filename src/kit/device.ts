/** What a device is given to work with, and what it answers. */
import type { FaultOf, PointDefinitions } from './points.js';

/** Memory of the device's own, from and to which it does DMA. */
export interface DeviceBuffer {
  readonly bytes: Uint8Array;
  /** The same bytes. */
  readonly view: DataView;
}

/** A range of the program's memory: an IOVA and a length, in bytes. */
export interface DmaPiece {
  readonly address: number;
  readonly length: number;
}

/**
 * The way to the program's memory, through the IOMMU. Addresses are IOVAs in bytes, below 2^53;
 * what lies beyond the buffer is an Error. A transfer is `false` where a part of it was refused:
 * not mapped, mapped without the permission, or bus mastering is off. The rest of it is done.
 */
export interface Dma {
  /** Bus mastering is on. */
  readonly enabled: boolean;
  /** From the program's memory to `offset` of the buffer. */
  read(address: number, length: number, buffer: DeviceBuffer, offset?: number): boolean;
  /** From `offset` of the buffer to the program's memory. */
  write(address: number, length: number, buffer: DeviceBuffer, offset?: number): boolean;
  /** Several ranges, one behind the other in the buffer. */
  gather(pieces: readonly DmaPiece[], buffer: DeviceBuffer, offset?: number): boolean;
  scatter(pieces: readonly DmaPiece[], buffer: DeviceBuffer, offset?: number): boolean;
  /**
   * Of devices that declare `stalls`: the last `read` or `write` stopped at a page that a program
   * must bring. `stalledAt` bytes of it are done; the device goes on from there once `ready`.
   */
  readonly stalled: boolean;
  readonly stalledAt: number;
  readonly ready: boolean;
  /** Says what of the device asks (`command 5 of queue 1`), for messages about refused accesses. */
  asker: (() => string | null) | null;
}

export interface DeviceInterrupts {
  /** MSI or MSI-X is on; the pin is silent then. */
  readonly messages: boolean;
  /** Sends vector `vector`, from 0 on. False: messages are off. */
  message(vector: number): boolean;
  /** Sets the level of the pin. */
  pin(asserted: boolean): void;
}

/** The values of the device's registers; the device's own look, no rule applies. */
export interface Registers<Name extends string> {
  /** Unsigned, 32 bits; `index` of an array. */
  get(name: Name, index?: number): number;
  set(name: Name, value: number, index?: number): void;
  /** Is told of a program's write, after the register's rule: `value` is what was written. */
  onWrite(name: Name, hook: (value: number, index: number) => void): void;
  /** Gives what a program's read finds; `kept` is the value before its rule. */
  onRead(name: Name, hook: (kept: number, index: number) => number): void;
}

/** Time of the run; virtual in `checkDevice`. */
export interface DeviceClock {
  /** Microseconds. */
  now(): number;
  /** Calls back once, so many microseconds from now or a little later. A reset cancels it. */
  after(microseconds: number, callback: () => void): { cancel(): void };
}

/** One device. */
export interface Device<
  Name extends string = string,
  Points extends PointDefinitions = PointDefinitions,
> {
  /** `0000:01:00.0` */
  readonly address: string;
  readonly dma: Dma;
  readonly interrupts: DeviceInterrupts;
  readonly registers: Registers<Name>;
  readonly clock: DeviceClock;
  /**
   * Passes a point that the definition declares, and counts it: null, or the fault that the user
   * has asked for at this time, which the device then has: what the rule says behind `=`, or true.
   */
  fault<Point extends keyof Points & string>(point: Point): FaultOf<Points[Point]> | null;
  /** Makes zeroed memory for DMA. For the life of the device: not in a handler. */
  allocate(bytes: number): DeviceBuffer;
  /** The memory of a BAR, which programs see in its open areas. A reset zeroes it. */
  memory(bar: number): DeviceBuffer;
  /** The bytes of config space at [offset, offset + length): a copy. */
  config(offset: number, length: number): Uint8Array;
}

/** What a device does when something happens to it; each may be absent. */
export interface DeviceHandlers {
  /** Everything as after power-on; registers are so already, BARs are zeroed, timers are gone. */
  reset?(): void;
  /**
   * Looks at open areas for what programs have stored there, and does what work there is; true:
   * there was some. Called often, and before each access.
   */
  poll?(): boolean;
  /** A read at an address that is no register's. `size` is 1, 2 or 4; absent: 0. */
  read?(bar: number, offset: number, size: number): number;
  write?(bar: number, offset: number, size: number, value: number): void;
  /** Config space was written there. */
  configWritten?(offset: number, length: number): void;
}
