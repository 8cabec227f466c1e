/** VFIO calls in strace's form. */

import { errnoName } from '../../abi/errno.js';
import * as iommufd from '../../abi/iommufd.js';
import { formatFlags, formatStruct, readStruct, type StructLayout } from '../../abi/layout.js';
import {
  ContainerIoctl,
  DeviceIoctl,
  DirtyPagesFlag,
  DmaUnmapFlag,
  GroupIoctl,
  IopfIoctl,
  IrqSetFlag,
  REGION_OFFSET,
  Stage1DeviceIoctl,
  Stage1Ioctl,
  Type1Ioctl,
  VfioExtension,
} from '../../abi/vfio.js';
import * as structs from '../../abi/vfio-structs.js';
import type { LiveCall } from '../../trace/live.js';
import type { Architecture } from '../arch.js';
import { CALL_COLUMNS, CallColumn, IMAGE_BYTES, type RawCalls } from './call-log.js';

type Kind = 'container' | 'group' | 'device' | 'fault-queue';
type Layout = StructLayout<string>;

/** What an ioctl's argument is. */
type Argument =
  | { readonly is: 'nothing' | 'extension' | 'descriptor' | 'string' }
  | { readonly is: 'struct'; readonly layout: Layout; readonly tail?: (bytes: Uint8Array) => string };

interface Request {
  readonly name: string;
  readonly argument: Argument;
}

const nothing: Argument = { is: 'nothing' };
const extension: Argument = { is: 'extension' };
const struct = (layout: StructLayout<never>, tail?: (bytes: Uint8Array) => string): Argument => ({
  is: 'struct',
  layout: layout as unknown as Layout,
  ...(tail === undefined ? {} : { tail }),
});

const requestsByKind: Readonly<Record<Kind, ReadonlyMap<number, Request>>> = {
  container: requests(
    { ...ContainerIoctl, ...Type1Ioctl, ...IopfIoctl },
    {
      VFIO_CHECK_EXTENSION: extension,
      VFIO_SET_IOMMU: extension,
      VFIO_IOMMU_GET_INFO: struct(structs.IommuType1Info),
      VFIO_IOMMU_MAP_DMA: struct(structs.DmaMap),
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
    { ...DeviceIoctl, ...Stage1DeviceIoctl },
    {
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
  'fault-queue': requests(Stage1Ioctl, {
    VFIO_STAGE1_INVALIDATE: struct(structs.Stage1Invalidate, invalidateTail),
  }),
};

const regionNames = ['BAR0', 'BAR1', 'BAR2', 'BAR3', 'BAR4', 'BAR5', 'ROM', 'config', 'VGA'];
const AT_FDCWD = -100;
const F_DUPFD_CLOEXEC = 1030;
const STRING_BYTES = 32;
/** asm-generic/fcntl.h, x86-64. O_RDONLY is 0. */
const openFlags = {
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_DIRECTORY: 0o200000,
  O_NOFOLLOW: 0o400000,
  O_CLOEXEC: 0o2000000,
  O_PATH: 0o10000000,
};
const protections = { PROT_READ: 1, PROT_WRITE: 2, PROT_EXEC: 4 };
const mapFlags = {
  MAP_SHARED: 1,
  MAP_PRIVATE: 2,
  MAP_FIXED: 0x10,
  MAP_ANONYMOUS: 0x20,
  MAP_LOCKED: 0x2000,
  MAP_NORESERVE: 0x4000,
  MAP_POPULATE: 0x8000,
  MAP_FIXED_NOREPLACE: 0x100000,
};

/** The calls in words; `startMs` is when the run began on the clock of their times. */
export function callsInWords(raw: RawCalls, architecture: Architecture, startMs: number): LiveCall[] {
  return raw.names.map((_, index) => {
    const call = new RawCall(raw, index, architecture);
    const { result } = call;
    return {
      number: call.value('number'),
      seconds: Math.round((call.value('startMs') - startMs) * 1000) / 1e6,
      pid: call.value('pid'),
      call: call.title,
      descriptor: call.value('descriptor'),
      text: call.text,
      result,
      error: result !== null && result < 0 ? errnoName(-result) : null,
      microseconds: Math.round(call.value('tookMs') * 1e6) / 1e3,
    };
  });
}

class RawCall {
  private readonly row: number;
  private readonly name: string;
  private readonly image: Uint8Array;
  private readonly systemCall: string;

  constructor(
    private readonly raw: RawCalls,
    index: number,
    architecture: Architecture,
  ) {
    this.row = index * CALL_COLUMNS;
    this.name = raw.names[index]!;
    this.image = raw.images.subarray(index * 2 * IMAGE_BYTES, (index + 1) * 2 * IMAGE_BYTES);
    this.systemCall = nameOf(architecture, this.value('nr'));
  }

  value(column: keyof typeof CallColumn): number {
    return this.raw.numbers[this.row + CallColumn[column]]!;
  }

  get result(): number | null {
    const result = this.value('result');
    return Number.isNaN(result) ? null : result;
  }

  get title(): string {
    return this.systemCall === 'ioctl' ? `ioctl(${this.request.name})` : this.systemCall;
  }

  get text(): string {
    return `${this.systemCall}(${this.arguments.join(', ')})`;
  }

  private get arguments(): string[] {
    const { systemCall } = this;
    const path = JSON.stringify(this.name);
    switch (systemCall) {
      case 'ioctl':
        return [this.file, ...this.ioctlArguments];
      case 'open':
        return [path, openText(this.int(1))];
      case 'openat':
        return [directory(this.int(0)), path, openText(this.int(2))];
      case 'openat2':
        return [directory(this.int(0)), path, pointer(this.argument(2)), `${this.argument(3)}`];
      case 'read':
      case 'write':
        return [this.file, this.bytes, `${this.argument(2)}`];
      case 'pread64':
      case 'pwrite64':
        return [this.file, this.bytes, `${this.argument(2)}`, this.offset(3)];
      case 'readv':
      case 'writev':
        return [this.file, pointer(this.argument(1)), `${this.argument(2)}`];
      case 'preadv':
      case 'pwritev':
      case 'preadv2':
      case 'pwritev2':
        return [this.file, pointer(this.argument(1)), `${this.argument(2)}`, this.offset(3)];
      case 'mmap':
        return [
          pointer(this.argument(0)),
          `${this.argument(1)}`,
          this.argument(2) === 0 ? 'PROT_NONE' : formatFlags(protections, this.int(2)),
          formatFlags(mapFlags, this.int(3)),
          this.file,
          this.offset(5),
        ];
      case 'lseek':
        return [this.file, `${this.argument(1)}`, `${this.int(2)}`];
      case 'fcntl':
        return [this.file, this.int(1) === F_DUPFD_CLOEXEC ? 'F_DUPFD_CLOEXEC' : 'F_DUPFD', `${this.int(2)}`];
      default:
        return [this.file];
    }
  }

  /** `960</dev/vfio/vfio>`, as strace -yy has it. */
  private get file(): string {
    return `${this.value('descriptor')}<${this.name}>`;
  }

  private get request(): Request {
    const number = this.argument(1) % 2 ** 32;
    const found = requestsByKind[kindOf(this.name)].get(number);
    return found ?? { name: unknownRequest(number), argument: nothing };
  }

  private get ioctlArguments(): string[] {
    const { name, argument } = this.request;
    const value = this.argument(2);
    const bytes = this.input;
    if (argument.is === 'nothing') return value === 0 ? [name] : [name, pointer(value)];
    if (argument.is === 'extension') return [name, extensionNames.get(value) ?? `${value}`];
    if (bytes.length === 0) return [name, pointer(value)];
    if (argument.is === 'descriptor') return [name, `[${readStruct(structs.IrqSetDescriptor, bytes).fd}]`];
    if (argument.is === 'struct')
      return [name, structText(argument.layout, bytes, this.output, argument.tail)];
    return [name, quoted(bytes, bytes.indexOf(0))];
  }

  private get input(): Uint8Array {
    return this.image.subarray(0, this.value('bytesIn'));
  }

  private get output(): Uint8Array {
    return this.image.subarray(IMAGE_BYTES, IMAGE_BYTES + this.value('bytesOut'));
  }

  /** What a read or a write moved. */
  private get bytes(): string {
    const bytes = this.output.length > 0 ? this.output : this.input;
    if (bytes.length === 0) return pointer(this.argument(1));
    const shown = bytes.subarray(0, STRING_BYTES);
    const text = [...shown].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
    return `"${text}"${this.argument(2) > STRING_BYTES ? '...' : ''}`;
  }

  /** A file offset, and which region of a device that is. */
  private offset(n: number): string {
    const offset = this.argument(n);
    if (kindOf(this.name) !== 'device') return `${offset}`;
    const region = regionNames[Math.floor(offset / REGION_OFFSET)];
    const place = region === undefined ? '' : ` /* ${region}+0x${(offset % REGION_OFFSET).toString(16)} */`;
    return `0x${offset.toString(16)}${place}`;
  }

  private argument(n: number): number {
    return this.raw.numbers[this.row + CallColumn.argument + n]!;
  }

  private int(n: number): number {
    return this.argument(n) | 0;
  }
}

const extensionNames: ReadonlyMap<number, string> = new Map(
  Object.entries(VfioExtension).map(([name, number]) => [number, name]),
);

function requests(
  numbers: Readonly<Record<string, number>>,
  args: Readonly<Record<string, Argument>>,
): ReadonlyMap<number, Request> {
  return new Map(
    Object.entries(numbers).map(([name, number]) => [number, { name, argument: args[name] ?? nothing }]),
  );
}

function kindOf(name: string): Kind {
  if (name === '/dev/vfio/vfio') return 'container';
  if (name === 'anon_inode:[iommufd-pgfault]') return 'fault-queue';
  return name.startsWith('/dev/vfio/') ? 'group' : 'device';
}

/** A struct, and which of its fields the call changed. */
function structText(
  layout: Layout,
  before: Uint8Array,
  after: Uint8Array,
  tail?: (bytes: Uint8Array) => string,
): string {
  const text = formatStruct(layout, before.subarray(0, layout.size));
  const whole = tail === undefined ? text : `${text.slice(0, -1)}${tail(before)}}`;
  const changed = fieldsOf(layout, after).filter((field) => !fieldsOf(layout, before).includes(field));
  return changed.length === 0 ? whole : `${whole} => {${changed.join(', ')}}`;
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
  if ((flags & DmaUnmapFlag.VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) === 0 || bitmap.length === 0) return '';
  return `, bitmap=${formatStruct(structs.VfioBitmap, bitmap)}`;
}

function dirtyTail(bytes: Uint8Array): string {
  const flags = Number(readStruct(structs.DirtyBitmap, bytes).flags);
  const get = bytes.subarray(structs.DirtyBitmap.size);
  if ((flags & DirtyPagesFlag.VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP) === 0 || get.length === 0) return '';
  return `, ${formatStruct(structs.DirtyBitmapGet, get).slice(1, -1)}`;
}

function stage1Tail(bytes: Uint8Array): string {
  const isVtd = readStruct(structs.Stage1Alloc, bytes).data_type === iommufd.HWPT_DATA_VTD_S1;
  const table = bytes.subarray(structs.Stage1Alloc.size);
  return !isVtd || table.length === 0 ? '' : `, ${formatStruct(iommufd.HwptVtdS1, table).slice(1, -1)}`;
}

function invalidateTail(bytes: Uint8Array): string {
  const range = bytes.subarray(structs.Stage1Invalidate.size);
  return range.length === 0 ? '' : `, ${formatStruct(iommufd.HwptVtdS1Invalidate, range).slice(1, -1)}`;
}

function unknownRequest(number: number): string {
  const hex = (value: number): string => `0x${value.toString(16)}`;
  const directions = ['_IOC_NONE', '_IOC_WRITE', '_IOC_READ', '_IOC_READ|_IOC_WRITE'];
  const [type, nr, size] = [(number >>> 8) & 0xff, number & 0xff, (number >>> 16) & 0x3fff];
  return `_IOC(${directions[number >>> 30]}, ${hex(type)}, ${hex(nr)}, ${hex(size)})`;
}

function openText(flags: number): string {
  const text = formatFlags(openFlags, flags);
  if ((flags & 3) !== 0) return text;
  return flags === 0 ? 'O_RDONLY' : `O_RDONLY|${text}`;
}

function directory(fd: number): string {
  return fd === AT_FDCWD ? 'AT_FDCWD' : `${fd}`;
}

function pointer(address: number): string {
  return address === 0 ? 'NULL' : `0x${address.toString(16)}`;
}

function quoted(bytes: Uint8Array, end: number): string {
  return JSON.stringify(Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('latin1'));
}

const names = new WeakMap<Architecture, Map<number, string>>();

function nameOf(architecture: Architecture, nr: number): string {
  let table = names.get(architecture);
  if (table === undefined) {
    table = new Map(Object.entries(architecture.nr).map(([name, number]) => [number, name]));
    names.set(architecture, table);
  }
  return table.get(nr) ?? `syscall_${nr}`;
}
