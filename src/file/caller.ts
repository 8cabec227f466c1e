import type { AddressSpace } from '../mm/address-space.js';
import type { EventCounter, VfioFile } from './file.js';

/** What a descriptor number of the calling program means to VFIO. */
export type CallerFile =
  | { readonly kind: 'vfio'; readonly file: VfioFile }
  | { readonly kind: 'eventfd'; take(): EventCounter }
  | {
      readonly kind: 'other';
      /** Its pages, of a file that is memory (memfd, tmpfs); null: it is none. */
      memory?(): AddressSpace | null;
    };

/**
 * A descriptor number that is taken and means nothing yet (get_unused_fd_flags): a call puts it
 * into a struct of the program, and then does one of the two, once.
 */
export interface ReservedDescriptor {
  readonly number: number;
  /**
   * fd_install: the number means the file once the call returns. Nothing of the call may fail
   * afterwards.
   */
  install(): void;
  /** put_unused_fd: the number is free again, and the file still whoever reserved it has it. */
  cancel(): void;
}

/** The process that makes a call: `current` and its files. */
export interface Caller {
  readonly mm: AddressSpace;
  /** CAP_SYS_RESOURCE. */
  readonly sysResource: boolean;
  /** fget: what the descriptor is, or null where the number is not open (EBADF). */
  file(fd: number): CallerFile | null;
  /**
   * fd_install: makes a descriptor for the file and returns its number. Throws VfioError (EMFILE),
   * then the file is not open.
   */
  install(file: VfioFile): number;
  /**
   * Takes a number for the file, which a call that returns something else can tell in its struct;
   * one at a time. Throws VfioError (EMFILE), then the file is not open.
   */
  reserve(file: VfioFile): ReservedDescriptor;
}
