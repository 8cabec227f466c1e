/**
 * A program with a first stage of its own on an iommufd: the device `ats` copies a page between
 * addresses of the first stage, whose entries are made when it asks for them.
 */
import { readdirSync } from 'node:fs';
import {
  HWPT_DATA_VTD_S1,
  HwptAllocFlag,
  IoasMapFlag,
  IommufdIoctl,
} from '../../../src/abi/iommufd.js';
import {
  FaultAlloc,
  HwptAlloc,
  HwptPageResponse,
  HwptPgfault,
  HwptVtdS1,
  IoasAlloc,
  IoasMap,
} from '../../../src/abi/iommufd-structs.js';
import {
  type FieldValues,
  readStruct,
  type StructLayout,
  writeStruct,
} from '../../../src/abi/layout.js';
import { O_RDWR } from '../../../src/abi/linux.js';
import { CdevIoctl, REGION_OFFSET } from '../../../src/abi/vfio.js';
import { DeviceAttachIommufdPt, DeviceBindIommufd } from '../../../src/abi/vfio-structs.js';
import * as libc from '../../../src/mm/process/libc.js';

const PAGE = 4096;
const CONFIG = 7;
/** Where the memory is in the second stage: tables of four levels, then data. */
const IOVA = 0x10_0000;
const [SOURCE, TARGET] = [4, 5];
/** Input pages that the device uses. */
const [FROM, TO] = [0x100, 0x101];
const PRESENT_WRITABLE_USER = 7;
const calls = { ...IommufdIoctl, ...CdevIoctl };

const argument = libc.allocateNative(PAGE);
const memory = libc.allocateNative(8 * PAGE);
const entries = new BigUint64Array(memory.bytes.buffer, memory.bytes.byteOffset, 4 * 512);

function call<N extends string>(
  fd: number,
  name: keyof typeof calls,
  layout: StructLayout<N>,
  values: Partial<FieldValues<N>>,
): Partial<FieldValues<N>> {
  const bytes = writeStruct(layout, values);
  new DataView(bytes.buffer).setUint32(0, layout.size, true);
  argument.bytes.set(bytes);
  libc.must(name, libc.ioctl(fd, calls[name], argument.address));
  return readStruct(layout, argument.bytes.subarray(0, layout.size));
}

function write(fd: number, value: bigint, size: number, at: number): void {
  new DataView(argument.bytes.buffer).setBigUint64(0, value, true);
  libc.must('pwrite', libc.pwrite(fd, argument.address, size, at));
}

const [name] = readdirSync(`/sys/bus/pci/devices/${process.argv[2]}/vfio-dev`);
const iommufd = libc.must('open', libc.open('/dev/iommu', O_RDWR, 0));
const device = libc.must('open', libc.open(`/dev/vfio/devices/${name}`, O_RDWR, 0));
const { out_devid } = call(device, 'VFIO_DEVICE_BIND_IOMMUFD', DeviceBindIommufd, { iommufd });
const { out_ioas_id } = call(iommufd, 'IOMMU_IOAS_ALLOC', IoasAlloc, {});
const { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } =
  IoasMapFlag;
call(iommufd, 'IOMMU_IOAS_MAP', IoasMap, {
  flags: IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
  ioas_id: out_ioas_id!,
  user_va: BigInt(memory.address),
  length: BigInt(memory.bytes.length),
  iova: BigInt(IOVA),
});
const { out_fault_id, out_fault_fd } = call(iommufd, 'IOMMU_FAULT_QUEUE_ALLOC', FaultAlloc, {});
const second = call(iommufd, 'IOMMU_HWPT_ALLOC', HwptAlloc, {
  flags: HwptAllocFlag.IOMMU_HWPT_ALLOC_NEST_PARENT,
  dev_id: out_devid!,
  pt_id: out_ioas_id!,
});
argument.bytes.set(writeStruct(HwptVtdS1, { pgtbl_addr: BigInt(IOVA), addr_width: 48 }), 1024);
const first = call(iommufd, 'IOMMU_HWPT_ALLOC', HwptAlloc, {
  flags: HwptAllocFlag.IOMMU_HWPT_FAULT_ID_VALID,
  dev_id: out_devid!,
  pt_id: second.out_hwpt_id!,
  data_type: HWPT_DATA_VTD_S1,
  data_len: HwptVtdS1.size,
  data_uptr: BigInt(argument.address + 1024),
  fault_id: out_fault_id!,
});
const pt_id = first.out_hwpt_id!;
call(device, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', DeviceAttachIommufdPt, { pt_id });
write(device, 6n, 2, CONFIG * REGION_OFFSET + 4);

const entry = (page: number): bigint => BigInt(IOVA + page * PAGE + PRESENT_WRITABLE_USER);
for (let level = 0; level < 3; level++) entries[level * 512] = entry(level + 1);
const asked: string[] = [];

/** Has the device move a page; it asks for the entry of `input`, which then leads to `page`. */
function move(input: number, page: number, command: bigint): void {
  write(device, BigInt(input * PAGE), 8, 0);
  write(device, command, 4, 8);
  const queue = Number(out_fault_fd);
  for (let isBusy = true; isBusy; ) {
    if (libc.must('read', libc.read(queue, argument.address, HwptPgfault.size)) > 0) {
      const { addr, cookie, perm } = readStruct(HwptPgfault, argument.bytes.subarray(0, 40));
      asked.push(`0x${addr!.toString(16)} ${perm}`);
      entries[3 * 512 + input] = entry(page);
      argument.bytes.set(writeStruct(HwptPageResponse, { cookie: cookie!, code: 0 }));
      libc.must('write', libc.write(queue, argument.address, HwptPageResponse.size));
    }
    libc.must('pread', libc.pread(device, argument.address, 4, 8));
    isBusy = (argument.bytes[0]! & 1) !== 0;
  }
}

memory.bytes.fill(0x5a, SOURCE * PAGE, (SOURCE + 1) * PAGE);
move(FROM, SOURCE, 3n);
move(TO, TARGET, 1n);
const target = memory.bytes.subarray(TARGET * PAGE, (TARGET + 1) * PAGE);
console.log(`asked for ${asked.join(', ')}; copied ${target.every((byte) => byte === 0x5a)}`);
