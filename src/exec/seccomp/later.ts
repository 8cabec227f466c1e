/**
 * Thrown by a handler: the current call has to wait until what is under way on VFIO's files ends.
 */
export class Later extends Error {}
