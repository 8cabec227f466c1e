/** What the author of a device writes down, and `defineDevice`, which looks at it. */
import type { RegisterRule } from '../device/register-table.js';
import { checkDefinition } from './check-definition.js';
import type { Device, DeviceHandlers } from './device.js';
import type { PointDefinitions } from './points.js';

/** Says which shape a definition has: what is loaded may be made with another version of iopf. */
export const DEVICE_FORMAT = 'iopf.device/1';

/** A part of a BAR, in bytes from its start. */
export interface Area {
  readonly offset: number;
  readonly size: number;
}

/** A register of 32 bits, or an array of them. */
export interface RegisterDefinition<Name extends string = string> {
  /** Of all registers of the device no other has it. */
  readonly name: Name;
  /** What it is for, in a few words. */
  readonly about?: string;
  /** Bytes from the start of the BAR, a multiple of 4; of an array, of its first register. */
  readonly offset: number;
  /**
   * `rw` (unless given): a write changes the bits of the mask. `ro`: writes are lost. `wo`: reads
   * as 0, a write is told to the device and not kept. `rc`: a read leaves 0, writes are lost.
   * `w1s`, `w1c`: a write sets, clears the bits in which it has a one.
   */
  readonly rule?: RegisterRule;
  /** Bits that a write changes; all unless given. */
  readonly mask?: number;
  /** 0 unless given. */
  readonly reset?: number;
  /** Registers of an array, and bytes from one to the next (4 unless given). */
  readonly count?: number;
  readonly stride?: number;
}

/** A base address register, and what is behind it. */
export interface BarDefinition<Name extends string = string> {
  /** 0 to 5. */
  readonly index: number;
  /** Bytes: a power of two, 4096 at least; of I/O space, 4 to 256. */
  readonly size: number;
  /** I/O space. */
  readonly io?: boolean;
  /** Takes two registers: the next index is not used. */
  readonly wide?: boolean;
  /**
   * Plain memory, in whole pages: a program that maps it loads and stores there without the device,
   * which looks at it in `poll` (`Device.memory`). All else answers each access.
   */
  readonly open?: readonly Area[];
  readonly registers?: readonly RegisterDefinition<Name>[];
}

/** An option, a `key=value` of `--device`. */
export type OptionDefinition =
  | { readonly about: string; readonly type: 'text'; readonly default: string }
  /** Decimal, or with 0x. */
  | { readonly about: string; readonly type: 'number'; readonly default: number }
  /** Bytes, like 64K or 1M. */
  | { readonly about: string; readonly type: 'size'; readonly default: number }
  | { readonly about: string; readonly type: readonly string[]; readonly default: string };

export type OptionDefinitions = Readonly<Record<string, OptionDefinition>>;

/** What the options of a device came to. */
export type OptionValues<Options extends OptionDefinitions> = {
  readonly [Key in keyof Options]: Options[Key]['type'] extends 'number' | 'size'
    ? number
    : Options[Key]['type'] extends readonly (infer Word)[]
      ? Word
      : string;
};

/** A kind of device. */
export interface DeviceDefinition<
  Name extends string = string,
  Options extends OptionDefinitions = OptionDefinitions,
  Points extends PointDefinitions = PointDefinitions,
> {
  /** Letters, digits and hyphens: messages call the device by it. */
  readonly name: string;
  /** What it is, in a few words. */
  readonly summary: string;
  readonly options?: Options;
  /** Places where `--inject NAME:POINT` can put a fault, by name: `Device.fault` passes them. */
  readonly points?: Points;
  /** Ids of config space, 16 bits each; the class code has 24: class, subclass, interface. */
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor?: number;
  readonly subsystem?: number;
  readonly revision?: number;
  readonly classCode: number;
  readonly bars: readonly BarDefinition<Name>[];
  /** It has an interrupt pin, INTA. */
  readonly pin?: boolean;
  /** 1, 2, 4, 8, 16 or 32 vectors. */
  readonly msi?: { readonly vectors: number };
  /**
   * 1 to 2048 vectors; table (16 bytes each) and pending bits (a bit each) at these bytes of a BAR,
   * multiples of 8 where no register and nothing open is.
   */
  readonly msix?: {
    readonly vectors: number;
    readonly bar: number;
    readonly table: number;
    readonly pending: number;
  };
  /** D0 and D3hot. True unless given. */
  readonly power?: boolean;
  /** PCI Express, with a function-level reset and 4096 bytes of config space. True unless given. */
  readonly express?: boolean;
  /** A capability of the vendor's own: what comes behind its first two bytes. */
  readonly vendorCapability?: {
    readonly body: readonly number[];
    /** Ones where the program may write; absent: nowhere. */
    readonly writable?: readonly number[];
  };
  /**
   * It has ATS and PRI, and takes up a transfer again that had to wait for a page (`Dma.stalled`).
   */
  readonly stalls?: boolean;
  /** Makes one device. It is reset before anything else happens to it. */
  create(device: Device<Name, Points>, options: OptionValues<Options>): DeviceHandlers;
}

/** A definition that was found to be right: what `--device` and `checkDevice` take. */
export interface DeviceModel {
  readonly format: typeof DEVICE_FORMAT;
  readonly definition: DeviceDefinition;
}

/**
 * Defines a kind of device; a module exports it for `--device ./module.ts@BDF`. Throws an Error
 * that says what is wrong with the definition.
 */
export function defineDevice<
  const Name extends string,
  // biome-ignore lint/complexity/noBannedTypes: no options at all
  const Options extends OptionDefinitions = {},
  // biome-ignore lint/complexity/noBannedTypes: no points either
  const Points extends PointDefinitions = {},
>(definition: DeviceDefinition<Name, Options, Points>): DeviceModel {
  const checked = definition as unknown as DeviceDefinition;
  checkDefinition(checked);
  return Object.freeze({ format: DEVICE_FORMAT, definition: checked });
}
