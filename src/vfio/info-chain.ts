/**
 * Capability chains that follow an info struct (kernel: vfio_info_cap_add, vfio_info_cap_shift).
 */
import type { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { InfoCapHeader } from '../abi/vfio-structs.js';
import type { Caller } from '../file/caller.js';

/**
 * Joins capabilities into a chain whose first begins `base` bytes into the struct; each at a
 * multiple of `alignment`.
 */
export function buildChain(
  capabilities: readonly Uint8Array[],
  base: number,
  alignment: number,
): Uint8Array {
  let size = 0;
  const starts = capabilities.map((capability) => {
    const start = size;
    size += Math.ceil(capability.length / alignment) * alignment;
    return start;
  });
  const chain = new Uint8Array(size);
  const view = new DataView(chain.buffer);
  capabilities.forEach((capability, i) => {
    const start = starts[i]!;
    chain.set(capability, start);
    const next = starts[i + 1];
    view.setUint32(start + InfoCapHeader.at.next, next === undefined ? 0 : base + next, true);
  });
  return chain;
}

/** Where a struct with a chain keeps what the chain changes, as byte offsets. */
export interface ChainFields {
  readonly argsz: number;
  readonly flags: number;
  readonly cap_offset: number;
}

/**
 * Announces a chain in `buffer` and copies it out behind the struct where argsz has room; else
 * argsz tells what is needed. EFAULT where a byte cannot be written.
 */
export function copyChainOut(
  caller: Caller,
  argument: number,
  buffer: ArgumentBuffer,
  fields: ChainFields,
  chain: Uint8Array,
  structSize: number,
  capsFlag: number,
): void {
  if (chain.length === 0) return;
  buffer.setU32(fields.flags, buffer.u32(fields.flags) | capsFlag);
  const needed = structSize + chain.length;
  if (buffer.u32(fields.argsz) < needed) {
    buffer.setU32(fields.argsz, needed);
    buffer.setU32(fields.cap_offset, 0);
    return;
  }
  if (!caller.mm.copyTo(argument + structSize, chain)) fail('EFAULT');
  buffer.setU32(fields.cap_offset, structSize);
}
