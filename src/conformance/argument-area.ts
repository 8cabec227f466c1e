/**
 * Arguments of ioctls in a process's memory, placed so that the next byte behind them is not
 * mapped.
 */
import type { ProcessMemory } from './process-memory.js';
import { bytesHex, DESCRIPTOR_BYTES, hexBytes, type VectorArgument } from './vectors.js';

/** What the recording's names mean in this replay. */
export interface NameLookUp {
  number(descriptor: string): number;
  text(text: string): string;
}

/**
 * Puts the argument where it ends at `end` and returns what the call gets: a value, or the
 * argument's address.
 */
export function placeArgument(
  mm: ProcessMemory,
  end: number,
  argument: VectorArgument | undefined,
  names: NameLookUp,
): number {
  if (typeof argument !== 'object') return argument ?? 0;
  if (argument.ptr !== undefined) return Number(argument.ptr);
  const bytes =
    argument.str === undefined
      ? hexBytes(argument.in!)
      : Uint8Array.from(Buffer.from(`${names.text(argument.str)}\0`, 'latin1'));
  const view = new DataView(bytes.buffer);
  for (const [offset, name] of argument.fdAt ?? []) view.setInt32(offset, names.number(name), true);
  if (!mm.copyTo(end - bytes.length, bytes)) throw new Error('the argument does not fit');
  return end - bytes.length;
}

/**
 * Reads the argument back, with descriptor numbers made unrecognisable as in the recording;
 * undefined: there are no bytes.
 */
export function takeArgument(
  mm: ProcessMemory,
  argument: VectorArgument | undefined,
  address: number,
  succeeded: boolean,
): string | undefined {
  if (typeof argument !== 'object' || argument.in === undefined) return undefined;
  const bytes = new Uint8Array(argument.in.length / 2);
  mm.copyFrom(address, bytes);
  let out = bytesHex(bytes);
  for (const [offset] of [...(argument.fdAt ?? []), ...(succeeded ? (argument.fdOut ?? []) : [])]) {
    out =
      out.slice(0, offset * 2) + DESCRIPTOR_BYTES + out.slice(offset * 2 + DESCRIPTOR_BYTES.length);
  }
  return out;
}
