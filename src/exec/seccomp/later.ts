/**
 * Thrown by a handler: the current call has to wait until what is under way on VFIO's files ends,
 * or for this time.
 */
export class Later extends Error {
  /** `ms`: milliseconds, at least; the call then comes again with `hasWaited`. */
  constructor(readonly ms = 0) {
    super();
  }
}
