/**
 * A first stage that this program owns (docs/iopf-abi.md): a table in its own memory, the fault
 * queue of its devices, and what a page request looks like when it is read.
 */
import { HWPT_DATA_VTD_S1 } from '../../src/abi/iommufd.js';
import {
  HwptPageResponse,
  HwptPgfault,
  HwptVtdS1,
  HwptVtdS1Invalidate,
} from '../../src/abi/iommufd-structs.js';
import { IopfIoctl, Stage1DeviceIoctl, Stage1Ioctl } from '../../src/abi/vfio.js';
import {
  Stage1Alloc,
  Stage1Attach,
  Stage1Detach,
  Stage1Invalidate,
} from '../../src/abi/vfio-structs.js';
import {
  allocateNative,
  close,
  ioctl,
  must,
  poll,
  read,
  write,
} from '../../src/mm/process/libc.js';
import type { VfioClient } from '../dma-copy/vfio.js';

const PAGE = 4096;
const LEVELS = 4;
/** Present, writable, user. */
const ENTRY = 7;
const POLLIN = 1;
const QUEUE_RECORDS = 16;

export interface PageRequest {
  readonly device: number;
  /** Bytes, page-aligned. */
  readonly address: number;
  /** 1 read, 2 write. */
  readonly access: number;
  readonly cookie: number;
}

const scratch = allocateNative(4096);
const view = new DataView(scratch.bytes.buffer);

/** A table for addresses of one 2 MiB region, and its queue. */
export class GuestTable {
  readonly queue: number;
  private readonly tables = allocateNative(LEVELS * PAGE);
  private readonly words = new BigUint64Array(
    this.tables.bytes.buffer,
    this.tables.bytes.byteOffset,
    LEVELS * 512,
  );

  /**
   * @param iova where the pages of the table lie in the container's address space
   * @param region first byte of the region, a multiple of 2 MiB
   */
  constructor(
    private readonly vfio: VfioClient,
    iova: number,
    private readonly region: number,
  ) {
    vfio.map(this.tables.address, iova, LEVELS * PAGE);
    for (let level = 0; level < LEVELS - 1; level++) {
      const index = Math.floor(region / 512 ** (LEVELS - 1 - level) / PAGE) % 512;
      this.words[level * 512 + index] = BigInt(iova + (level + 1) * PAGE + ENTRY);
    }
    scratch.bytes.fill(0, 0, Stage1Alloc.size + HwptVtdS1.size);
    view.setUint32(Stage1Alloc.at.argsz, Stage1Alloc.size + HwptVtdS1.size, true);
    view.setUint32(Stage1Alloc.at.data_type, HWPT_DATA_VTD_S1, true);
    view.setUint32(Stage1Alloc.at.data_len, HwptVtdS1.size, true);
    view.setBigUint64(Stage1Alloc.size + HwptVtdS1.at.pgtbl_addr, BigInt(iova), true);
    view.setUint32(Stage1Alloc.size + HwptVtdS1.at.addr_width, 48, true);
    this.queue = must(
      'STAGE1_ALLOC',
      ioctl(vfio.container, IopfIoctl.VFIO_IOMMU_STAGE1_ALLOC, scratch.address),
    );
  }

  /**
   * The device's accesses go through the table from now on; returns its number in page requests.
   */
  attach(): number {
    view.setUint32(Stage1Attach.at.argsz, Stage1Attach.size, true);
    view.setUint32(Stage1Attach.at.flags, 0, true);
    view.setInt32(Stage1Attach.at.queue_fd, this.queue, true);
    must(
      'ATTACH_STAGE1',
      ioctl(this.vfio.device, Stage1DeviceIoctl.VFIO_DEVICE_ATTACH_STAGE1, scratch.address),
    );
    return view.getUint32(Stage1Attach.at.out_dev_id, true);
  }

  detach(): void {
    view.setUint32(Stage1Detach.at.argsz, Stage1Detach.size, true);
    view.setUint32(Stage1Detach.at.flags, 0, true);
    must(
      'DETACH_STAGE1',
      ioctl(this.vfio.device, Stage1DeviceIoctl.VFIO_DEVICE_DETACH_STAGE1, scratch.address),
    );
  }

  /**
   * Lets an address of the region lead to a page of the container's address space; null: nowhere.
   */
  set(address: number, iova: number | null): void {
    const index = (LEVELS - 1) * 512 + (address - this.region) / PAGE;
    this.words[index] = iova === null ? 0n : BigInt(iova + ENTRY);
  }

  /** VFIO_STAGE1_INVALIDATE of whole pages. */
  invalidate(address: number, pages: number): void {
    scratch.bytes.fill(0, 0, Stage1Invalidate.size + HwptVtdS1Invalidate.size);
    view.setUint32(
      Stage1Invalidate.at.argsz,
      Stage1Invalidate.size + HwptVtdS1Invalidate.size,
      true,
    );
    view.setBigUint64(Stage1Invalidate.size + HwptVtdS1Invalidate.at.addr, BigInt(address), true);
    view.setBigUint64(Stage1Invalidate.size + HwptVtdS1Invalidate.at.npages, BigInt(pages), true);
    must(
      'STAGE1_INVALIDATE',
      ioctl(this.queue, Stage1Ioctl.VFIO_STAGE1_INVALIDATE, scratch.address),
    );
  }

  /** poll(2) of the queue: whether there is something to read within so many milliseconds. */
  readable(milliseconds: number): boolean {
    view.setInt32(0, this.queue, true);
    view.setInt32(4, POLLIN, true);
    return must('poll', poll(scratch.address, 1, milliseconds)) === 1;
  }

  /** Page requests that nobody has read yet. */
  read(): PageRequest[] {
    const bytes = must('read', read(this.queue, scratch.address, QUEUE_RECORDS * HwptPgfault.size));
    return Array.from({ length: bytes / HwptPgfault.size }, (_, i) => {
      const at = i * HwptPgfault.size;
      return {
        device: view.getUint32(at + HwptPgfault.at.dev_id, true),
        address: Number(view.getBigUint64(at + HwptPgfault.at.addr, true)),
        access: view.getUint32(at + HwptPgfault.at.perm, true),
        cookie: view.getUint32(at + HwptPgfault.at.cookie, true),
      };
    });
  }

  /** Answers a page request: 0 SUCCESS, 1 INVALID. Returns what write(2) did. */
  answer(cookie: number, code: number): number {
    view.setUint32(HwptPageResponse.at.cookie, cookie, true);
    view.setUint32(HwptPageResponse.at.code, code, true);
    return write(this.queue, scratch.address, HwptPageResponse.size);
  }

  close(): void {
    close(this.queue);
  }
}
