/** What a client asks, and where the answer goes. */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { StructLayout } from '../abi/layout.js';
import type { MessageFault } from '../vfio-user/message-reader.js';

/**
 * A message that has come. Its body is its own, because others may come while it is carried out.
 */
export interface Request {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  readonly fault: MessageFault;
  readonly body: Uint8Array;
  /** Who keeps one takes it out; the others are closed when the request is done. */
  readonly descriptors: number[];
}

/** A reply in the making: `length` bytes of the body count. */
export interface Reply {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  length: number;
  readonly descriptors: number[];
}

/** Reads the struct at `offset` of a body into `buffer`. EINVAL: the body is too short. */
export function readBody(body: Uint8Array, offset: number, buffer: ArgumentBuffer): void {
  const end = offset + buffer.capacity;
  if (body.length < end) fail('EINVAL');
  buffer.bytes.set(body.subarray(offset, end));
}

/** A buffer for `readBody`. */
export const bufferOf = <N extends string>(layout: StructLayout<N>): ArgumentBuffer =>
  new ArgumentBuffer(layout.size);

/** The answer is these bytes and nothing else. */
export function answer(reply: Reply, bytes: Uint8Array): void {
  reply.bytes.set(bytes);
  reply.length = bytes.length;
}
