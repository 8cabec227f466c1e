import type { ArgumentBuffer } from '../../abi/argument-buffer.js';
import type { Ioas } from '../ioas.js';

/**
 * An IOVA that is given as the number of an area and an offset in it (MOCK_FLAGS_ACCESS_SYZ):
 * fuzzers cannot know addresses. 0: there is no such area.
 */
export function syzIova(ioas: Ioas | null, buffer: ArgumentBuffer, offset: number): bigint {
  const area = [...(ioas?.areas ?? [])][buffer.u32(offset)];
  return area === undefined ? 0n : area.iova + BigInt(buffer.u32(offset + 4));
}
