/** What a served device is asked for. */
import type { DeviceSpec } from '../exec/machine/machine-spec.js';

/** Where clients come from. */
export type SocketPlace =
  | { readonly kind: 'path'; readonly path: string }
  /** A descriptor that was inherited: of one client, or one that listens. */
  | { readonly kind: 'fd'; readonly fd: number };

export interface ServeOptions {
  readonly device: DeviceSpec;
  readonly at: SocketPlace;
  /** Ends with the first client. */
  readonly once: boolean;
  /** Pages brought in per fault. */
  readonly premapPages: number;
  readonly trace: string | null;
  readonly record: string | null;
  readonly pcap: string | null;
  /** Says nothing while it serves. */
  readonly quiet: boolean;
}
