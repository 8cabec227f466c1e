/**
 * The second front end of a world: an iommufd with the world's devices bound to it, and what
 * programs do with it. Ids are given in order: devices have 1 and those that follow.
 */
import { Bug } from '../../abi/bug.js';
import {
  HWPT_DIRTY_TRACKING_ENABLE,
  HwptAllocFlag,
  IoasMapFlag,
  IommufdIoctl,
} from '../../abi/iommufd.js';
import {
  Destroy,
  FaultAlloc,
  HwptAlloc,
  HwptGetDirtyBitmap,
  HwptPageResponse,
  HwptPgfault,
  HwptSetDirtyTracking,
  IoasAlloc,
  IoasCopy,
  IoasMap,
  IoasUnmap,
} from '../../abi/iommufd-structs.js';
import { type FieldValues, type StructLayout, writeStruct } from '../../abi/layout.js';
import type { Caller, ReservedDescriptor } from '../../file/caller.js';
import type { VfioFile } from '../../file/file.js';
import type { Flow } from '../../flow/flow.js';
import type { DirtyLog } from '../../ioas/dirty-log.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { ObservedDevice } from '../../iommu/observer.js';
import { PageResponse } from '../../iommu/page-request.js';
import { BoundDevice, NO_PASID } from '../../iommufd/device.js';
import { FaultQueueObject } from '../../iommufd/fault-queue-file.js';
import { PagingHwpt } from '../../iommufd/hwpt.js';
import { Ioas } from '../../iommufd/ioas.js';
import { type IommufdFile, openIommufd } from '../../iommufd/iommufd-file.js';
import type { UserLocks } from '../../iommufd/locked-memory.js';
import type { IommufdMachine } from '../../iommufd/machine.js';
import type { IommufdObject } from '../../iommufd/objects.js';
import type { VtdTable } from '../../iommufd/vtd-iommu.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { Invariant, violated } from '../verify/violation.js';
import type { Digest } from './digest.js';
import { hex, IOVA, onContainer, VADDR } from './operation.js';
import { ARGUMENT, BITMAP_AT, type ProgramSpace } from './program-actor.js';
import type { StepNotes } from './step-notes.js';

/** Ids that scenarios come to, at most. */
const IDS = 16;
/** The first descriptor number of a fault queue. */
const QUEUE_FD = 100;
const { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } =
  IoasMapFlag;
const FIXED_RW = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;

/** What it needs of the world. */
interface Machine {
  readonly notes: StepNotes;
  readonly devices: readonly { readonly iommu: IommuDevice }[];
  readonly programs: readonly { readonly mm: ProgramSpace }[];
  readonly pages: number;
}

export class Iommufd implements Caller {
  readonly sysResource = false;
  readonly iommufd: IommufdFile;
  readonly bound: BoundDevice[];
  readonly locks: UserLocks;
  /** Descriptors of fault queues, in order; null: closed. */
  private readonly queues: (VfioFile | null)[] = [];
  /** By page table and page: written since the last report, and ever asked to be written. */
  private readonly written: Uint8Array;
  private readonly asked: Uint8Array;
  /** SUCCESS answers that programs have given and no request has had. */
  private given = 0;

  constructor(
    private readonly world: Machine,
    machine: IommufdMachine,
  ) {
    this.iommufd = openIommufd(machine, null);
    this.locks = machine.userLocks;
    this.bound = world.devices.map(({ iommu }) => new BoundDevice(this.iommufd.context, iommu));
    this.written = new Uint8Array(IDS * world.pages);
    this.asked = new Uint8Array(IDS * world.pages);
  }

  get mm(): ProgramSpace {
    return this.world.programs[0]!.mm;
  }

  file(): null {
    return null;
  }

  install(): never {
    throw new Bug('no call of an iommufd makes a descriptor so', {});
  }

  reserve(file: VfioFile): ReservedDescriptor {
    const { queues } = this;
    return {
      number: QUEUE_FD + queues.length,
      install: () => queues.push(file),
      cancel: () => file.release(),
    };
  }

  /** IOMMU_IOAS_ALLOC. */
  ioas(): Flow<string> {
    return this.makes('IOAS_ALLOC', 'IOMMU_IOAS_ALLOC', IoasAlloc, {});
  }

  /** IOMMU_IOAS_MAP of `count` pages from `page` on (0: the first of the scenario). */
  map(ioas: number, page: number, count: number): Flow<string> {
    return this.makes(`IOAS_MAP ${ioas}`, 'IOMMU_IOAS_MAP', IoasMap, {
      flags: FIXED_RW,
      ioas_id: ioas,
      user_va: (VADDR + page) * PAGE_SIZE,
      length: count * PAGE_SIZE,
      iova: (IOVA + page) * PAGE_SIZE,
    });
  }

  /** IOMMU_IOAS_UNMAP. */
  unmap(ioas: number, page: number, count: number): Flow<string> {
    const iova = (IOVA + page) * PAGE_SIZE;
    const range = { ioas_id: ioas, iova, length: count * PAGE_SIZE };
    return this.makes(`IOAS_UNMAP ${ioas}`, 'IOMMU_IOAS_UNMAP', IoasUnmap, range);
  }

  /** IOMMU_IOAS_COPY of `count` pages from `page` on to the same place of another IOAS. */
  copy(from: number, to: number, page: number, count: number): Flow<string> {
    const iova = (IOVA + page) * PAGE_SIZE;
    return this.makes(`IOAS_COPY ${from} to ${to}`, 'IOMMU_IOAS_COPY', IoasCopy, {
      flags: FIXED_RW,
      src_ioas_id: from,
      dst_ioas_id: to,
      length: count * PAGE_SIZE,
      src_iova: iova,
      dst_iova: iova,
    });
  }

  /** IOMMU_FAULT_QUEUE_ALLOC: an object, and the next descriptor of `queues`. */
  queue(): Flow<string> {
    return this.makes('FAULT_QUEUE_ALLOC', 'IOMMU_FAULT_QUEUE_ALLOC', FaultAlloc, {});
  }

  /** IOMMU_HWPT_ALLOC: a page table of an IOAS, with a fault queue or a dirty log. */
  hwpt(ioas: number, { queue = 0, dirty = false }): Flow<string> {
    const { IOMMU_HWPT_FAULT_ID_VALID, IOMMU_HWPT_ALLOC_DIRTY_TRACKING } = HwptAllocFlag;
    return this.makes(`HWPT_ALLOC of ${ioas}`, 'IOMMU_HWPT_ALLOC', HwptAlloc, {
      flags:
        (queue === 0 ? 0 : IOMMU_HWPT_FAULT_ID_VALID) |
        (dirty ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0),
      dev_id: this.bound[0]!.id,
      pt_id: ioas,
      fault_id: queue,
    });
  }

  /** IOMMU_DESTROY. */
  destroy(id: number): Flow<string> {
    return this.makes(`DESTROY ${id}`, 'IOMMU_DESTROY', Destroy, { id });
  }

  /** VFIO_DEVICE_ATTACH_IOMMUFD_PT: attaches a device, or moves it. */
  *attach(device: number, id: number): Flow<string> {
    yield onContainer(`ATTACH of device ${device + 1} to ${id}`);
    return yield* this.world.notes.result(ended(this.bound[device]!.attachOrReplaceFlow(id)));
  }

  /** VFIO_DEVICE_DETACH_IOMMUFD_PT. */
  *detach(device: number): Flow<string> {
    yield onContainer(`DETACH of device ${device + 1}`);
    return yield* this.world.notes.result(this.bound[device]!.detachFlow());
  }

  /** read(2) of a fault queue; returns the cookie of the first group, or 0. */
  *read(queue: number): Flow<number> {
    yield onContainer(`reads fault queue ${queue + 1}`);
    const bytes = this.opened(queue).read(this, ARGUMENT, 2 * HwptPgfault.size, 0);
    const cookie = bytes === 0 ? 0 : this.mm.argument.u32(HwptPgfault.at.cookie);
    return this.world.notes.note(cookie, cookie);
  }

  /** write(2) of an answer. */
  *answer(queue: number, cookie: number, code: number): Flow<string> {
    const said = code === PageResponse.SUCCESS ? 'SUCCESS' : 'INVALID';
    yield onContainer(`answers cookie ${cookie} with ${said}`);
    this.mm.argument.bytes.set(writeStruct(HwptPageResponse, { cookie, code }));
    return this.world.notes.call(() => {
      if (code === PageResponse.SUCCESS) this.given++;
      try {
        this.opened(queue).write(this, ARGUMENT, HwptPageResponse.size, 0);
      } catch (error) {
        if (code === PageResponse.SUCCESS) this.given--;
        throw error;
      }
    });
  }

  /** close(2) of a fault queue's descriptor. */
  *closeQueue(queue: number): Flow<void> {
    yield onContainer(`closes fault queue ${queue + 1}`);
    this.opened(queue).release();
    this.queues[queue] = null;
    this.world.notes.note(null, 0);
  }

  /** IOMMU_HWPT_SET_DIRTY_TRACKING. */
  *logDirty(hwpt: number, on: boolean): Flow<string> {
    const flags = on ? HWPT_DIRTY_TRACKING_ENABLE : 0;
    yield onContainer(`SET_DIRTY_TRACKING ${hwpt} ${on ? 'on' : 'off'}`);
    const values = { flags, hwpt_id: hwpt };
    const result = this.call('IOMMU_HWPT_SET_DIRTY_TRACKING', HwptSetDirtyTracking, values);
    const { pages } = this.world;
    for (let page = 0; page < pages; page++) this.written[hwpt * pages + page] = 0;
    return result;
  }

  /** IOMMU_HWPT_GET_DIRTY_BITMAP: what was written is reported, and nothing else. */
  *reportDirty(hwpt: number): Flow<string> {
    yield onContainer(`GET_DIRTY_BITMAP ${hwpt}`);
    const { pages } = this.world;
    const { argument } = this.mm;
    argument.bytes.fill(0, BITMAP_AT);
    const result = this.call('IOMMU_HWPT_GET_DIRTY_BITMAP', HwptGetDirtyBitmap, {
      hwpt_id: hwpt,
      iova: IOVA * PAGE_SIZE,
      length: pages * PAGE_SIZE,
      page_size: PAGE_SIZE,
      data: ARGUMENT + BITMAP_AT,
    });
    if (result === 'ok') this.reported(hwpt, argument.bytes.subarray(BITMAP_AT));
    return result;
  }

  /** Everything is closed. */
  close(): void {
    for (const bound of this.bound) bound.unbind();
    for (const queue of this.queues) queue?.release();
    this.queues.fill(null);
    this.iommufd.release();
  }

  /** The page table that a device goes through, or null. */
  tableOf(device: ObservedDevice): PagingHwpt | null {
    const { domain } = this.world.devices.find(({ iommu }) => iommu === device)!.iommu;
    for (const object of this.objects())
      if (object instanceof PagingHwpt && tableOf(object).domain === domain) return object;
    return null;
  }

  /** The objects that there are, in order of ids. */
  objects(): Iterable<IommufdObject> {
    return this.iommufd.context.objects;
  }

  spaces(): Ioas[] {
    return [...this.objects()].filter((object) => object instanceof Ioas);
  }

  /** The dirty logs that are on. */
  logs(): { id: number; table: PagingHwpt; log: DirtyLog }[] {
    const tables = [...this.objects()].filter((object) => object instanceof PagingHwpt);
    return tables.flatMap((table) =>
      tableOf(table).log === null ? [] : [{ id: table.id, table, log: tableOf(table).log! }],
    );
  }

  /** Whether a page was written through a page table since its last report. */
  hasWritten(table: number, page: number): boolean {
    return this.written[table * this.world.pages + page] !== 0;
  }

  /** A device asks to write a page. */
  writeAsked(device: IommuDevice, iovaPage: number): void {
    const table = this.tableOf(device);
    if (table !== null) this.asked[table.id * this.world.pages + iovaPage - IOVA] = 1;
  }

  /** A device has written a page. */
  wrote(device: IommuDevice, iovaPage: number): void {
    const table = this.tableOf(device)!;
    const at = table.id * this.world.pages + iovaPage - IOVA;
    this.asked[at] = 1;
    if (tableOf(table).log !== null) this.written[at] = 1;
  }

  /** A page request is answered: one of a fault queue's by its program, or INVALID. */
  requestAnswered(device: ObservedDevice, code: number): void {
    if (code !== PageResponse.SUCCESS || (this.tableOf(device)?.fault ?? null) === null) return;
    if (this.given-- === 0)
      violated(
        Invariant.QUEUE,
        'R1.2',
        `${device.address} is answered SUCCESS and its program has not said so`,
      );
  }

  /** Adds all that decides what comes next. */
  addTo(digest: Digest, number: (device: IommuDevice) => number): void {
    digest.add(this.given);
    digest.add(this.locks.pages);
    for (const queue of this.queues) digest.add(queue === null ? 0 : 1);
    for (let i = 0; i < this.written.length; i++)
      if (this.written[i]! + this.asked[i]! !== 0)
        digest.add(i * 4 + this.written[i]! + 2 * this.asked[i]!);
    for (const object of this.objects()) {
      digest.add(object.id * 64 + object.users);
      if (object instanceof PagingHwpt) {
        digest.add(object.ioas.id * 64 + (object.fault?.id ?? 0));
        digest.add((object.isAuto ? 1 : 0) | (tableOf(object).log === null ? 0 : 2));
      } else if (object instanceof FaultQueueObject) {
        for (const { cookie, code, group } of object.queue.groups) {
          const { iovaPage, access } = group.requests[0]!;
          digest.add(number(group.device as IommuDevice) * 256 + cookie * 4 + (code ?? 3));
          digest.add(iovaPage * 16 + access);
        }
      } else if (object instanceof BoundDevice) {
        const { attachments, lock } = object.group;
        const { hwpt = null } = attachments.get(NO_PASID) ?? {};
        digest.add((hwpt?.id ?? 0) * 4 + (object.hwpt() === null ? 0 : 2) + (lock.isHeld ? 1 : 0));
      }
    }
  }

  private *makes<N extends string>(
    verb: string,
    request: keyof typeof IommufdIoctl,
    layout: StructLayout<N>,
    values: Partial<FieldValues<N>>,
  ): Flow<string> {
    yield onContainer(verb);
    return this.call(request, layout, values);
  }

  private call<N extends string>(
    request: keyof typeof IommufdIoctl,
    layout: StructLayout<N>,
    values: Partial<FieldValues<N>>,
  ): string {
    const { argument } = this.mm;
    argument.bytes.set(writeStruct(layout, values));
    argument.setU32(0, layout.size);
    return this.world.notes.call(() => this.iommufd.ioctl(this, IommufdIoctl[request], ARGUMENT));
  }

  private opened(queue: number): VfioFile {
    return this.queues[queue]!;
  }

  private reported(hwpt: number, bitmap: Uint8Array): void {
    const { pages } = this.world;
    for (let page = 0; page < pages; page++) {
      const isReported = (bitmap[page >>> 3]! & (1 << (page & 7))) !== 0;
      const at = hwpt * pages + page;
      const what = `page table ${hwpt}: ${hex(IOVA + page)}`;
      if (this.written[at] !== 0 && !isReported)
        violated(Invariant.DIRTY, 'R6.3', `${what} was written and is not reported`);
      if (isReported && this.asked[at] === 0)
        violated(Invariant.DIRTY, 'R6.3', `${what} is reported and no device asked to write it`);
      this.written[at] = 0;
    }
  }
}

/** The engine's page table behind one. */
function tableOf({ table }: PagingHwpt): VtdTable {
  return table as VtdTable;
}

function* ended(flow: Flow<unknown>): Flow<void> {
  yield* flow;
}
