/** Addresses of sockets with a path (struct sockaddr_un, unix(7)). */
import { AF_UNIX } from '../../abi/linux.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import { allocateNative } from '../../mm/process/libc.js';

/** The family, and a path that ends with a zero. */
const PATH_AT = 2;
const PATH_BYTES = 108;
export const UNIX_ADDRESS_BYTES = PATH_AT + PATH_BYTES;

/** Whether a path has room in an address. */
export const isUnixPath = (path: string): boolean => Buffer.byteLength(path) < PATH_BYTES;

/** An address; `into` is used again, or room is made. */
export function unixAddress(path: string, into = allocateNative(UNIX_ADDRESS_BYTES)): DmaBuffer {
  into.bytes.fill(0, 0, UNIX_ADDRESS_BYTES);
  into.bytes[0] = AF_UNIX;
  into.bytes.set(Buffer.from(path), PATH_AT);
  return into;
}
