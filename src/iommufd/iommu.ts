import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { StructLayout } from '../abi/layout.js';
import { copySized } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { Flow } from '../flow/flow.js';
import type { FaultingDevice } from '../iommu/page-request.js';
import type { Hwpt, NestedTable, PagingHwpt } from './hwpt.js';
import type { IoPageTable } from './page-table.js';
import type { ByteRange } from './ranges.js';

/** Data that a call hands the driver of an IOMMU (kernel: struct iommu_user_data). */
export interface UserData {
  readonly caller: Caller;
  readonly type: number;
  /** Where it is in the program, and its bytes. */
  readonly address: number;
  readonly length: number;
}

/** What the IOMMU of a device is (IOMMU_GET_HW_INFO). */
export interface HardwareInfo {
  readonly type: number;
  readonly data: Uint8Array;
  /** Bits of IommuHwCapability. */
  readonly capabilities: number;
}

/** The IOMMU of a device, as its driver serves iommufd (kernel: struct iommu_ops). */
export interface Iommu {
  /** Interrupts of the device are remapped. */
  readonly remapsInterrupts: boolean;
  /** Addresses that no map may have while the device is attached. */
  readonly reserved: readonly ByteRange[];
  /** Page tables can tell what is written. */
  readonly tracksDirty: boolean;
  /** Width of a PASID in bits; 0: the device has none. */
  readonly pasidBits: number;

  /** What it is, of a type that is asked for (0: any). EOPNOTSUPP: another type. */
  info(type: number): HardwareInfo;
  /** Makes a page table. EOPNOTSUPP: flags or data that it lacks; EINVAL, EFAULT. */
  newTable(flags: number, data: UserData | null): IoPageTable;
  /** Makes a nested page table above one of its own. EOPNOTSUPP, EINVAL, EFAULT. */
  newNested(parent: PagingHwpt, flags: number, data: UserData): NestedTable;
  /** Whether the device can be behind a page table. */
  accepts(hwpt: Hwpt): boolean;

  /** The device's group goes through a page table. ENODEV, EFAULT, ENOMEM; then it does not. */
  attach(hwpt: Hwpt, pasid: number): Flow<void>;
  /** It goes through another one, in one step; errors as `attach`, and then nothing has changed. */
  replace(from: Hwpt, to: Hwpt, pasid: number): Flow<void>;
  /** It goes through none; what it has asked for is answered INVALID. */
  detach(hwpt: Hwpt, pasid: number): Flow<void>;
  /** Whether page requests of the device come from there. Absent: from the device alone. */
  isAsker?(asker: FaultingDevice): boolean;
}

/**
 * Copies data of a type in (kernel: iommu_copy_struct_from_user). EINVAL: of another type, less
 * than `least` bytes, or more than the struct has; EFAULT.
 */
export function copyUserData(
  { caller, type, address, length }: UserData,
  wanted: number,
  { size }: Pick<StructLayout<string>, 'size'>,
  least = size,
): ArgumentBuffer {
  if (type !== wanted || length < least || length > size) fail('EINVAL');
  const buffer = new ArgumentBuffer(size);
  copySized(caller, address, buffer, length);
  return buffer;
}
