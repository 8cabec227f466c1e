import type { PciFunction } from '../vfio/pci-function.js';
import type { OptionTable } from './options.js';
import type { EndpointContext } from './pci/endpoint.js';

/** A kind of device, as `--device KIND@BDF[,key=value…]` names it. */
export interface DeviceKind {
  readonly name: string;
  /** What it is, in a few words: the help text shows it. */
  readonly summary: string;
  /** The option keys it takes. */
  readonly options: OptionTable;
  /**
   * Makes one. Throws OptionError, with a message for the user, where an option is unknown or not
   * valid.
   */
  create(options: Readonly<Record<string, string>>, context: EndpointContext): PciFunction;
}
