/** VFIO's ioctls in strace's form: their names, and what their arguments point to. */
import { HWPT_DATA_VTD_S1, IommufdIoctl } from '../../abi/iommufd.js';
import * as iommufd from '../../abi/iommufd-structs.js';
import { formatStruct, readStruct, type StructLayout } from '../../abi/layout.js';
import {
  CdevIoctl,
  ContainerIoctl,
  DeviceIoctl,
  DirtyPagesFlag,
  DmaUnmapFlag,
  GroupIoctl,
  IopfIoctl,
  IrqSetFlag,
  Stage1DeviceIoctl,
  Stage1Ioctl,
  Type1Ioctl,
  VfioExtension,
} from '../../abi/vfio.js';
import * as structs from '../../abi/vfio-structs.js';
import type { FileKind } from './call-log.js';

type Layout = StructLayout<string>;

/** What an ioctl's argument is. */
type Argument =
  | { readonly is: 'nothing' | 'unknown' | 'extension' | 'descriptor' | 'string' }
  | {
      readonly is: 'struct';
      readonly layout: Layout;
      readonly tail?: (bytes: Uint8Array) => string;
      /** The field that is shown first; else the order is the struct's. */
      readonly first?: string;
    };

export interface Request {
  readonly name: string;
  readonly argument: Argument;
}

const nothing: Argument = { is: 'nothing' };
const extension: Argument = { is: 'extension' };
const struct = (
  layout: StructLayout<never>,
  tail?: (bytes: Uint8Array) => string,
  first?: string,
): Argument => ({
  is: 'struct',
  layout: layout as unknown as Layout,
  ...(tail === undefined ? {} : { tail }),
  ...(first === undefined ? {} : { first }),
});

const requestsByKind: Readonly<Record<FileKind, ReadonlyMap<number, Request>>> = {
  container: requests(
    { ...ContainerIoctl, ...Type1Ioctl, ...IopfIoctl },
    {
      VFIO_CHECK_EXTENSION: extension,
      VFIO_SET_IOMMU: extension,
      VFIO_IOMMU_GET_INFO: struct(structs.IommuType1Info),
      VFIO_IOMMU_MAP_DMA: struct(structs.DmaMap, undefined, 'iova'),
      VFIO_IOMMU_UNMAP_DMA: struct(structs.DmaUnmap, unmapTail),
      VFIO_IOMMU_DIRTY_PAGES: struct(structs.DirtyBitmap, dirtyTail),
      VFIO_IOMMU_STAGE1_ALLOC: struct(structs.Stage1Alloc, stage1Tail),
    },
  ),
  group: requests(GroupIoctl, {
    VFIO_GROUP_GET_STATUS: struct(structs.GroupStatus),
    VFIO_GROUP_SET_CONTAINER: { is: 'descriptor' },
    VFIO_GROUP_GET_DEVICE_FD: { is: 'string' },
  }),
  device: requests(
    { ...DeviceIoctl, ...CdevIoctl, ...Stage1DeviceIoctl },
    {
      VFIO_DEVICE_BIND_IOMMUFD: struct(structs.DeviceBindIommufd),
      VFIO_DEVICE_ATTACH_IOMMUFD_PT: struct(structs.DeviceAttachIommufdPt),
      VFIO_DEVICE_DETACH_IOMMUFD_PT: struct(structs.DeviceDetachIommufdPt),
      VFIO_DEVICE_GET_INFO: struct(structs.DeviceInfo),
      VFIO_DEVICE_GET_REGION_INFO: struct(structs.RegionInfo),
      VFIO_DEVICE_GET_IRQ_INFO: struct(structs.IrqInfo),
      VFIO_DEVICE_SET_IRQS: struct(structs.IrqSet, irqTail),
      VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: struct(structs.PciHotResetInfo),
      VFIO_DEVICE_PCI_HOT_RESET: struct(structs.PciHotReset),
      VFIO_DEVICE_IOEVENTFD: struct(structs.DeviceIoeventfd),
      VFIO_DEVICE_FEATURE: struct(structs.DeviceFeature),
      VFIO_DEVICE_ATTACH_STAGE1: struct(structs.Stage1Attach),
      VFIO_DEVICE_DETACH_STAGE1: struct(structs.Stage1Detach),
    },
  ),
  iommufd: requests(IommufdIoctl, {
    IOMMU_DESTROY: struct(iommufd.Destroy),
    IOMMU_IOAS_ALLOC: struct(iommufd.IoasAlloc),
    IOMMU_IOAS_ALLOW_IOVAS: struct(iommufd.IoasAllowIovas),
    IOMMU_IOAS_COPY: struct(iommufd.IoasCopy),
    IOMMU_IOAS_IOVA_RANGES: struct(iommufd.IoasIovaRanges),
    IOMMU_IOAS_MAP: struct(iommufd.IoasMap),
    IOMMU_IOAS_UNMAP: struct(iommufd.IoasUnmap),
    IOMMU_OPTION: struct(iommufd.Option),
    IOMMU_VFIO_IOAS: struct(iommufd.VfioIoas),
    IOMMU_HWPT_ALLOC: struct(iommufd.HwptAlloc),
    IOMMU_GET_HW_INFO: struct(iommufd.HwInfo),
    IOMMU_HWPT_SET_DIRTY_TRACKING: struct(iommufd.HwptSetDirtyTracking),
    IOMMU_HWPT_GET_DIRTY_BITMAP: struct(iommufd.HwptGetDirtyBitmap),
    IOMMU_HWPT_INVALIDATE: struct(iommufd.HwptInvalidate),
    IOMMU_FAULT_QUEUE_ALLOC: struct(iommufd.FaultAlloc),
    IOMMU_IOAS_MAP_FILE: struct(iommufd.IoasMapFile),
    IOMMU_VIOMMU_ALLOC: struct(iommufd.ViommuAlloc),
    IOMMU_VDEVICE_ALLOC: struct(iommufd.VdeviceAlloc),
    IOMMU_IOAS_CHANGE_PROCESS: struct(iommufd.IoasChangeProcess),
    IOMMU_VEVENTQ_ALLOC: struct(iommufd.VeventqAlloc),
    IOMMU_HW_QUEUE_ALLOC: struct(iommufd.HwQueueAlloc),
  }),
  'iommufd-test': new Map(),
  'fault-queue': requests(Stage1Ioctl, {
    VFIO_STAGE1_INVALIDATE: struct(structs.Stage1Invalidate, invalidateTail),
  }),
};

const extensionNames: ReadonlyMap<number, string> = new Map(
  Object.entries(VfioExtension).map(([name, number]) => [number, name]),
);

/** What an ioctl on a file of this kind asks for. */
export function requestOf(kind: FileKind, number: number): Request {
  return (
    requestsByKind[kind].get(number) ?? {
      name: unknownRequest(number),
      argument: { is: 'unknown' },
    }
  );
}

/**
 * The request and its argument: `value`, and the bytes that lay there before and after, empty where
 * nobody looked.
 */
export function requestText(
  { name, argument }: Request,
  value: number,
  before: Uint8Array,
  after: Uint8Array,
): string[] {
  // What is left in a register that nobody reads says nothing.
  if (argument.is === 'nothing') return [name];
  if (argument.is === 'unknown') return value === 0 ? [name] : [name, pointer(value)];
  if (argument.is === 'extension') return [name, extensionNames.get(value) ?? `${value}`];
  if (before.length === 0) return [name, pointer(value)];
  if (argument.is === 'descriptor')
    return [name, `[${readStruct(structs.IrqSetDescriptor, before).fd}]`];
  if (argument.is === 'struct') return [name, structText(argument, before, after)];
  return [name, quoted(before, before.indexOf(0))];
}

export function pointer(address: number): string {
  return address === 0 ? 'NULL' : `0x${address.toString(16)}`;
}

function requests(
  numbers: Readonly<Record<string, number>>,
  args: Readonly<Record<string, Argument>>,
): ReadonlyMap<number, Request> {
  return new Map(
    Object.entries(numbers).map(([name, number]) => [
      number,
      { name, argument: args[name] ?? nothing },
    ]),
  );
}

/** A struct, and which of its fields the call changed. */
function structText(
  { first, layout, tail }: Argument & { readonly is: 'struct' },
  before: Uint8Array,
  after: Uint8Array,
): string {
  const inOrder = formatStruct(layout, before.subarray(0, layout.size));
  const text = first === undefined ? inOrder : withFirst(first, fieldsOf(layout, before));
  const whole = tail === undefined ? text : `${text.slice(0, -1)}${tail(before)}}`;
  const changed = fieldsOf(layout, after).filter(
    (field) => !fieldsOf(layout, before).includes(field),
  );
  return changed.length === 0 ? whole : `${whole} => {${changed.join(', ')}}`;
}

/** The fields with one of them in front. */
function withFirst(name: string, fields: readonly string[]): string {
  const isFirst = (field: string): boolean => field.startsWith(`${name}=`);
  const parts = [...fields.filter(isFirst), ...fields.filter((field) => !isFirst(field))];
  return `{${parts.join(', ')}}`;
}

/** `argsz=32`, and so on. */
function fieldsOf(layout: Layout, bytes: Uint8Array): string[] {
  const inside = bytes.subarray(0, layout.size);
  return formatStruct(layout, inside)
    .slice(1, -1)
    .split(', ')
    .filter((field) => field !== '' && field !== '...');
}

function irqTail(bytes: Uint8Array): string {
  const { flags, count } = readStruct(structs.IrqSet, bytes);
  const data = bytes.subarray(structs.IrqSet.size);
  const isEventfd = (Number(flags) & IrqSetFlag.VFIO_IRQ_SET_DATA_EVENTFD) !== 0;
  const isBool = (Number(flags) & IrqSetFlag.VFIO_IRQ_SET_DATA_BOOL) !== 0;
  if (!(isEventfd || isBool)) return '';
  const width = isEventfd ? structs.IrqSetDescriptor.size : 1;
  const values: string[] = [];
  for (let at = 0; at + width <= data.length && values.length < Number(count); at += width)
    values.push(
      `${isEventfd ? readStruct(structs.IrqSetDescriptor, data.subarray(at, at + 4)).fd : data[at]}`,
    );
  if (values.length < Number(count)) values.push('...');
  return `, data=[${values.join(', ')}]`;
}

function unmapTail(bytes: Uint8Array): string {
  const flags = Number(readStruct(structs.DmaUnmap, bytes).flags);
  const bitmap = bytes.subarray(structs.DmaUnmap.size);
  if ((flags & DmaUnmapFlag.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) === 0 || bitmap.length === 0)
    return '';
  return `, bitmap=${formatStruct(structs.VfioBitmap, bitmap)}`;
}

function dirtyTail(bytes: Uint8Array): string {
  const flags = Number(readStruct(structs.DirtyBitmap, bytes).flags);
  const get = bytes.subarray(structs.DirtyBitmap.size);
  if ((flags & DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP) === 0 || get.length === 0)
    return '';
  return `, ${formatStruct(structs.DirtyBitmapGet, get).slice(1, -1)}`;
}

function stage1Tail(bytes: Uint8Array): string {
  const isVtd = readStruct(structs.Stage1Alloc, bytes).data_type === HWPT_DATA_VTD_S1;
  const table = bytes.subarray(structs.Stage1Alloc.size);
  return !isVtd || table.length === 0
    ? ''
    : `, ${formatStruct(iommufd.HwptVtdS1, table).slice(1, -1)}`;
}

function invalidateTail(bytes: Uint8Array): string {
  const range = bytes.subarray(structs.Stage1Invalidate.size);
  return range.length === 0
    ? ''
    : `, ${formatStruct(iommufd.HwptVtdS1Invalidate, range).slice(1, -1)}`;
}

function unknownRequest(number: number): string {
  const hex = (value: number): string => `0x${value.toString(16)}`;
  const directions = ['_IOC_NONE', '_IOC_WRITE', '_IOC_READ', '_IOC_READ|_IOC_WRITE'];
  const [type, nr, size] = [(number >>> 8) & 0xff, number & 0xff, (number >>> 16) & 0x3fff];
  return `_IOC(${directions[number >>> 30]}, ${hex(type)}, ${hex(nr)}, ${hex(size)})`;
}

function quoted(bytes: Uint8Array, end: number): string {
  return JSON.stringify(Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1'));
}
