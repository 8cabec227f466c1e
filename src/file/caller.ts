import type { AddressSpace } from '../mm/address-space.js';
import type { EventCounter, VfioFile } from './file.js';

/** What a descriptor number of the calling program means to VFIO. */
export type CallerFile =
  | { readonly kind: 'vfio'; readonly file: VfioFile }
  | { readonly kind: 'eventfd'; take(): EventCounter }
  | { readonly kind: 'other' };

/** The process that makes a call: `current` and its files. */
export interface Caller {
  readonly mm: AddressSpace;
  /** fget: what the descriptor is, or null where the number is not open (EBADF). */
  file(fd: number): CallerFile | null;
  /**
   * fd_install: makes a descriptor for the file and returns its number. Throws VfioError (EMFILE),
   * then the file is not open.
   */
  install(file: VfioFile): number;
}
