/**
 * What should not happen in a run, or seldom does, and is worth telling: accesses that are refused,
 * interrupts that reach nobody, devices that are reset or taken away. Nobody is called where all
 * goes well.
 */
import type { ObservedDevice } from './observer.js';

/** Why an access was refused, as far as the device's side knows. */
export type RefusalCause =
  /** The function's Bus Master Enable bit is off, or it is not in D0. */
  | 'bus mastering off'
  /** A program that answers page requests said INVALID (R8.1). */
  | 'answered INVALID'
  /** There is no translation, and no page request brought one. */
  | 'no translation';

/** What of a device asked for an access: `read, command 7 of submission queue 1`. Null: unknown. */
export type Asker = () => string | null;

export interface Incidents {
  /** An access of READ or WRITE at an IOVA, in bytes, was refused. */
  accessRefused(
    device: ObservedDevice,
    iova: number,
    access: number,
    cause: RefusalCause,
    asker: Asker,
  ): void;
  /** A vector of an interrupt index (INTx, MSI, MSI-X) was raised, and nobody had asked for it. */
  interruptLost(device: ObservedDevice, index: number, vector: number): void;
  /** A function was reset by its program: VFIO_DEVICE_RESET, a hot reset, or its own FLR. */
  deviceReset(device: ObservedDevice): void;
  /** The host asked for a function back: a write to vfio-pci's `unbind`. */
  deviceUnbound(device: ObservedDevice): void;
}
