/**
 * Page requests that user space reads and answers (R8.1), as with an iommufd fault queue: those of
 * a guest's own first stage, or of any other page table.
 *
 * Terms: a *cookie* names a page request group from when it was read to when it is answered.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { HwptPgfaultFlag } from '../abi/iommufd.js';
import { HwptPageResponse, HwptPgfault } from '../abi/iommufd-structs.js';
import type { Flow } from '../flow/flow.js';
import {
  type DeviceFaultHandler,
  type Fault,
  type FaultingDevice,
  NO_PASID,
  type PageRequestGroup,
  PageResponse,
  type PageResponseCode,
  WAITS,
} from './page-request.js';

/** The most bytes of answers that one call takes. */
const ANSWERS_MAX = 1024 * HwptPageResponse.size;

/** A page request group and, once it is there, its answer. */
export class QueuedGroup {
  /** 0: not read yet. */
  cookie = 0;
  code: PageResponseCode | null = null;

  constructor(readonly group: PageRequestGroup) {}
}

const COOKIE_LAST = 2 ** 32 - 1;
const { IOMMU_PGFAULT_FLAGS_PASID_VALID: PASID_VALID, IOMMU_PGFAULT_FLAGS_LAST_PAGE: LAST_PAGE } =
  HwptPgfaultFlag;

export class FaultQueue implements DeviceFaultHandler {
  private readonly entries: QueuedGroup[] = [];
  private nextCookie = 1;
  private closed = false;
  private unreadCount = 0;
  private tell: ((readable: boolean) => void) | null = null;
  private readonly record = new ArgumentBuffer(HwptPgfault.size);
  private readonly response = new ArgumentBuffer(HwptPageResponse.size);

  /**
   * @param idOf the number that user space knows a device by
   * @param reuses a cookie is the lowest that is free, as iommufd's; else they count on
   */
  constructor(
    private readonly idOf: (device: FaultingDevice) => number,
    private readonly reuses = false,
  ) {}

  /**
   * poll(2): `tell` is told whether there is something to read, now and whenever that changes;
   * null: nobody is told any more.
   */
  watch(tell: ((readable: boolean) => void) | null): void {
    this.tell = tell;
    tell?.(this.unreadCount !== 0);
  }

  /** Page request groups that wait for their answer, in order. */
  get groups(): readonly QueuedGroup[] {
    return this.entries;
  }

  /** Page request groups that nobody has read. */
  get unread(): number {
    return this.unreadCount;
  }

  /** Page request groups that were read and wait for their answer. */
  get unanswered(): number {
    return this.entries.length - this.unread;
  }

  /** The cookie that the next group gets, unless it is in use. */
  get cookie(): number {
    return this.nextCookie;
  }

  /** Nobody will read or answer any more. */
  get isClosed(): boolean {
    return this.closed;
  }

  /** User space answers, and that takes its time. */
  answer(): typeof WAITS {
    return WAITS;
  }

  *handle(group: PageRequestGroup): Flow<PageResponseCode> {
    if (this.closed) return PageResponse.INVALID;
    const entry = this.enqueue(group);
    const wait = {
      what: `the guest's answer for ${group.device.address}`,
      ready: () => entry.code !== null,
      reliesOn: entry,
    };
    while (entry.code === null) yield wait;
    return entry.code;
  }

  /** A group is there to be read. */
  enqueue(group: PageRequestGroup): QueuedGroup {
    const entry = new QueuedGroup(group);
    this.entries.push(entry);
    if (++this.unreadCount === 1) this.tell?.(true);
    return entry;
  }

  pageLost(device: FaultingDevice, iovaPage: number): void {
    device.iotlb.flush(iovaPage, 1);
  }

  /**
   * A device asks no more: what user space has not answered is INVALID, and an answer that comes
   * later finds nothing.
   */
  abandoned(device: FaultingDevice): void {
    for (const entry of [...this.entries])
      if (entry.group.device === device) this.finish(entry, PageResponse.INVALID);
  }

  /** Nobody will read or answer any more: what waits is INVALID, and so is all that comes later. */
  close(): void {
    this.closed = true;
    for (const entry of [...this.entries]) this.finish(entry, PageResponse.INVALID);
  }

  /**
   * read(2): fills `into` with records of groups that were not read, whole groups only, and returns
   * the bytes. 0: there is none, or not even the first group fits. Never waits.
   * @param taken whether user space got them: false: they stay unread, and it returns -1
   */
  read(into: Uint8Array, taken: (records: Uint8Array) => boolean = () => true): number {
    let done = 0;
    let read = 0;
    for (const entry of this.entries) {
      if (entry.cookie !== 0) continue;
      const { requests } = entry.group;
      if (done + requests.length * HwptPgfault.size > into.length) break;
      entry.cookie = this.takeCookie();
      read++;
      for (const request of requests) {
        this.fill(entry, request);
        into.set(this.record.bytes, done);
        done += HwptPgfault.size;
      }
    }
    if (done > 0 && !taken(into.subarray(0, done))) {
      for (const entry of this.entries.slice(this.entries.length - this.unreadCount).slice(0, read))
        entry.cookie = 0;
      return -1;
    }
    this.wereRead(read);
    return done;
  }

  /**
   * read(2) as iommufd has it: `put` gets each record and where it goes, whole groups only; returns
   * the bytes. Where one cannot be put, its group stays unread, and so do those behind it. EINVAL:
   * not even the first group fits; EFAULT: it cannot be put.
   */
  readGroups(count: number, put: (record: Uint8Array, at: number) => boolean): number {
    let done = 0;
    for (const entry of this.entries) {
      if (entry.cookie !== 0) continue;
      const { requests } = entry.group;
      if (done + requests.length * HwptPgfault.size > count)
        return done > 0 ? done : fail('EINVAL');
      entry.cookie = this.takeCookie();
      const wasPut = requests.every((request, index) => {
        this.fill(entry, request);
        return put(this.record.bytes, done + index * HwptPgfault.size);
      });
      if (!wasPut) {
        entry.cookie = 0;
        return done > 0 ? done : fail('EFAULT');
      }
      done += requests.length * HwptPgfault.size;
      this.wereRead(1);
    }
    return done;
  }

  /**
   * write(2): answers groups that were read; returns the bytes taken. EINVAL where the first
   * record's code is neither SUCCESS nor INVALID, or its cookie names nothing; a later one that is
   * wrong ends the call before it.
   */
  write(from: Uint8Array): number {
    let done = 0;
    for (; done + HwptPageResponse.size <= from.length; done += HwptPageResponse.size) {
      this.response.bytes.set(from.subarray(done, done + HwptPageResponse.size));
      const cookie = this.response.u32(HwptPageResponse.at.cookie);
      const code = this.response.u32(HwptPageResponse.at.code);
      const entry = this.entries.find((each) => each.cookie === cookie && cookie !== 0);
      if (entry === undefined || (code !== PageResponse.SUCCESS && code !== PageResponse.INVALID))
        break;
      this.finish(entry, code);
    }
    if (done === 0 && from.length >= HwptPageResponse.size) fail('EINVAL');
    return done;
  }

  /**
   * `write` of `count` bytes at a file position, which `copy` copies in. ESPIPE: not at 0, or not
   * whole records; EFAULT: they cannot be copied; EINVAL: see `write`.
   */
  writeFrom(count: number, position: number, copy: (into: Uint8Array) => boolean): number {
    if (position !== 0 || count % HwptPageResponse.size !== 0) fail('ESPIPE');
    const bytes = new Uint8Array(Math.min(count, ANSWERS_MAX));
    if (!copy(bytes)) fail('EFAULT');
    return this.write(bytes);
  }

  private finish(entry: QueuedGroup, code: PageResponseCode): void {
    this.entries.splice(this.entries.indexOf(entry), 1);
    if (entry.cookie === 0) this.wereRead(1);
    entry.code = code;
    entry.group.device.resumeParked();
  }

  private wereRead(groups: number): void {
    if (groups === 0) return;
    this.unreadCount -= groups;
    if (this.unreadCount === 0) this.tell?.(false);
  }

  /** Cookies are 32 bits; one that is in use is not given again. */
  private takeCookie(): number {
    if (this.reuses) this.nextCookie = 1;
    while (this.entries.some((entry) => entry.cookie === this.nextCookie)) this.countCookie();
    const cookie = this.nextCookie;
    this.countCookie();
    return cookie;
  }

  private countCookie(): void {
    this.nextCookie = this.nextCookie === COOKIE_LAST ? 1 : this.nextCookie + 1;
  }

  private fill({ cookie, group }: QueuedGroup, fault: Fault): void {
    const { pasid, access, last, iovaPage, address } = fault;
    const { at } = HwptPgfault;
    const { record } = this;
    // Nobody writes `reserved` and `length`, which stay 0.
    record.setU32(at.flags, (pasid === NO_PASID ? 0 : PASID_VALID) | (last ? LAST_PAGE : 0));
    record.setU32(at.dev_id, this.idOf(group.device));
    record.setU32(at.pasid, pasid === NO_PASID ? 0 : pasid);
    record.setU32(at.grpid, group.group);
    record.setU32(at.perm, access);
    if (address === undefined) record.setPages(at.addr, iovaPage);
    else record.setBig(at.addr, address);
    record.setU32(at.cookie, cookie);
  }
}
