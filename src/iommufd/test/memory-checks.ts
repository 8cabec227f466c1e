/** What tests ask of memory and page tables: are these the same pages, and how often pinned? */
import { fail } from '../../abi/errno.js';
import { CheckMap, CheckRefs } from '../../abi/iommufd-test.js';
import { type AddressSpace, PAGE_SIZE, READ } from '../../mm/address-space.js';
import type { Call } from '../call.js';
import { PagingHwpt } from '../hwpt.js';
import { smallestEntry } from '../page-table.js';
import { ADDRESS_END } from '../ranges.js';
import { MockTable } from './mock-table.js';

const one = new Float64Array(1);

/** The frame at an address of a process (get_user_pages). EFAULT. */
function frameAt(mm: AddressSpace, address: number): number {
  return mm.pageIn(Math.floor(address / PAGE_SIZE), 1, READ, one) === 1 ? one[0]! : fail('EFAULT');
}

function isSame(mm: AddressSpace, frame: number, other: number): boolean {
  return frame === other || mm.isSameMemory?.(frame, other) === true;
}

/** EBADE: the pages at an address, page aligned, are not in these frames; EFAULT. */
export function checkPages(mm: AddressSpace, address: number, frames: readonly number[]): void {
  frames.forEach((frame, index) => {
    if (!isSame(mm, frame, frameAt(mm, address + index * PAGE_SIZE))) fail('EBADE');
  });
}

/** The mock page table of an id. ENOENT: no page table; EINVAL: another IOMMU's. */
export function mockTable({ context }: Call, id: number): MockTable {
  const { table } = context.objects.get(id, PagingHwpt);
  return table instanceof MockTable ? table : fail('EINVAL');
}

/**
 * MD_CHECK_MAP: a page table leads where addresses of the program lead. ENOENT; EINVAL: not aligned
 * to its entries, or it does not; EFAULT.
 */
export function checkMap(call: Call): void {
  const { buffer, caller } = call;
  const { at } = CheckMap;
  const table = mockTable(call, buffer.u32(at.id));
  const entry = smallestEntry(table);
  const iova = buffer.big(at.iova);
  const length = buffer.big(at.length);
  const address = buffer.big(at.uptr);
  if (((iova | length | address) & (entry - 1n)) !== 0n) fail('EINVAL');
  if (address + length >= ADDRESS_END) fail('EINVAL');
  for (let done = 0n; done < length; done += entry) {
    const here = Number(address + done);
    const frame = frameAt(caller.mm, here);
    const found = table.physicalAt(iova + done) ?? fail('EINVAL');
    if (found.offset !== here % PAGE_SIZE || !isSame(caller.mm, found.frame, frame)) fail('EINVAL');
  }
}

/** MD_CHECK_REFS: pages of the program are pinned so often. EINVAL; EFAULT; EIO: they are not. */
export function checkRefs({ buffer, caller: { mm } }: Call): void {
  const { at } = CheckRefs;
  const length = buffer.big(at.length);
  const address = buffer.big(at.uptr);
  const misaligned = ((length | address) & BigInt(PAGE_SIZE - 1)) !== 0n;
  if (misaligned || address + length >= ADDRESS_END) fail('EINVAL');
  const refs = buffer.u32(at.refs);
  const first = Number(address);
  for (let done = 0; done < Number(length); done += PAGE_SIZE) {
    const pins = mm.pinsAt?.(frameAt(mm, first + done)) ?? null;
    if (pins !== null && pins !== refs) fail('EIO');
  }
}
