/**
 * Pages that device drivers pin themselves (R6.2, R7.1; kernel: vfio_iommu_type1_pin_pages and the
 * pfn list of a vfio_dma).
 *
 * Terms: a *driver* is the code behind an open device; a *static* mapping has all of its pages
 * pinned and accounted already. A page that drivers pin is pinned once, with a count, and is
 * accounted unless its mapping is static.
 */
import { Bug } from '../abi/bug.js';
import { Errno, fail, VfioError } from '../abi/errno.js';
import type { Domain } from '../iommu/domain.js';
import type { IommuGroup } from '../iommu/group.js';
import type { Counters } from '../iommu/observer.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { type DirtyLog, noteWritten } from './dirty-log.js';
import type { Mapping } from './mapping.js';
import type { MappingIndex } from './mapping-index.js';
import { PageBitmap } from './page-bitmap.js';
import { isCharged } from './user-pages.js';

/** Pages of one call at most (kernel: VFIO_PIN_PAGES_MAX_ENTRIES). */
const PIN_PAGES_MAX = 512;

interface Pin {
  readonly frame: number;
  /** Charged to the locked-memory account, as the shared zero page and the like are not. */
  readonly accounted: boolean;
  references: number;
}

/** The driver's pins of one mapping, by index of the page. */
export class DriverPins {
  readonly pages: PageBitmap;
  private readonly pins = new Map<number, Pin>();

  constructor(pages: number) {
    this.pages = new PageBitmap(pages);
  }

  /** Pages that are charged to the account. */
  get accounted(): number {
    let count = 0;
    for (const pin of this.pins.values()) if (pin.accounted) count++;
    return count;
  }

  get(index: number): Pin | undefined {
    return this.pins.get(index);
  }

  add(index: number, pin: Pin): void {
    this.pins.set(index, pin);
    this.pages.set(index, 1);
  }

  remove(index: number): void {
    this.pins.delete(index);
    this.pages.clear(index, 1);
  }

  [Symbol.iterator](): IterableIterator<[number, Pin]> {
    return this.pins.entries();
  }
}

/**
 * A driver that pins: told before a mapping goes, it unpins what it has there (kernel:
 * vfio_device_ops.dma_unmap).
 */
export interface PinUser {
  dmaUnmap(iovaPage: number, pages: number): void;
}

/** What device drivers need of the space whose pages they pin. */
export interface PinnableSpace {
  readonly counters: Counters;
  readonly domains: readonly Domain[];
  readonly mappings: MappingIndex;
  readonly logs: readonly DirtyLog[];
  /** Mappings whose address is invalid at the moment. */
  readonly invalidVaddrs: number;
  readonly driversMayPin: boolean;
  /** No driver holds a page any more: nothing of it stays present. */
  pageUnpinned(mapping: Mapping, index: number): void;
}

const one = new Float64Array(1);

/** The pins of an I/O address space. */
export class DriverPinning {
  private readonly users: PinUser[] = [];
  /**
   * Groups whose drivers pin all that they write: only that can be dirty (kernel:
   * pinned_page_dirty_scope).
   */
  private readonly scoped = new Set<IommuGroup>();

  constructor(private readonly space: PinnableSpace) {}

  register(user: PinUser): void {
    this.users.push(user);
  }

  unregister(user: PinUser): void {
    this.users.splice(this.users.indexOf(user), 1);
  }

  /** Whether a group may write pages that none of its drivers has pinned. */
  isUnscoped(group: IommuGroup): boolean {
    return !this.scoped.has(group);
  }

  forgetGroup(group: IommuGroup): void {
    this.scoped.delete(group);
  }

  /**
   * Pins pages [first, first + count) of the space for READ or WRITE and stores their frames.
   * In this order: EINVAL (no page), E2BIG, EACCES where drivers may not, EBUSY while an address is
   * invalid, EINVAL where no driver is told of unmaps; then by page: EINVAL (no mapping),
   * EPERM, EFAULT, ENOMEM. On failure this call has pinned nothing.
   */
  pin(
    group: IommuGroup,
    first: number,
    count: number,
    permission: number,
    frames: Float64Array,
  ): void {
    if (count <= 0) fail('EINVAL');
    if (count > PIN_PAGES_MAX) fail('E2BIG');
    if (!this.space.driversMayPin) fail('EACCES');
    this.checkAddresses();
    if (this.users.length === 0) fail('EINVAL');
    for (let done = 0; done < count; done++) {
      try {
        frames[done] = this.pinPage(first + done, permission);
      } catch (error) {
        this.unpin(first, done);
        throw error;
      }
    }
    // A device that faults on a part of its accesses writes pages that its driver does not pin.
    if ((group.faultable?.length ?? 0) === 0) this.scoped.add(group);
  }

  /** Undoes `pin` of as many pages; one that is not pinned is passed over, as in the kernel. */
  unpin(first: number, count: number): void {
    for (let page = first; page < first + count; page++) {
      const mapping = this.space.mappings.covering(page);
      if (mapping === null) return;
      this.unpinPage(mapping, page - mapping.iovaPage);
    }
  }

  /**
   * Copies bytes from or to the space's memory at an address, by the CPU (kernel: vfio_dma_rw).
   * EINVAL: nothing to copy, no mapping; EBUSY; EPERM; EFAULT. What lies before the page that
   * failed is copied.
   */
  readWrite(address: number, bytes: Uint8Array, write: boolean): void {
    if (bytes.length === 0) fail('EINVAL');
    this.checkAddresses();
    for (let done = 0; done < bytes.length; ) {
      const at = address + done;
      const page = Math.floor(at / PAGE_SIZE);
      const mapping = this.space.mappings.covering(page);
      if (mapping === null) fail('EINVAL');
      // The kernel asks for READ in both directions.
      const needed = write ? READ | WRITE : READ;
      if ((mapping.permission & needed) !== needed) fail('EPERM');
      const count = Math.min(bytes.length - done, mapping.iovaEnd * PAGE_SIZE - at);
      const part = bytes.subarray(done, done + count);
      const vaddr = at + (mapping.vaddrPage - mapping.iovaPage) * PAGE_SIZE;
      if (!(write ? mapping.mm.copyTo(vaddr, part) : mapping.mm.copyFrom(vaddr, part)))
        fail('EFAULT');
      if (write) {
        const pages = Math.floor((at + count - 1) / PAGE_SIZE) - page + 1;
        noteWritten(this.space.logs, mapping, page - mapping.iovaPage, pages);
      }
      done += count;
    }
  }

  /** A mapping is about to go: drivers unpin what they have of it. */
  unmapping(mapping: Mapping): void {
    if (mapping.driverPins === null) return;
    for (const user of [...this.users]) user.dmaUnmap(mapping.iovaPage, mapping.pages);
    if (mapping.driverPins !== null)
      throw new Bug('a driver keeps pages pinned of a mapping that goes', {
        iovaPage: mapping.iovaPage,
      });
  }

  /** Devices may write pinned pages at any time. */
  markDirty(mapping: Mapping, logs: readonly DirtyLog[]): void {
    if (mapping.driverPins === null) return;
    for (const [index] of mapping.driverPins) noteWritten(logs, mapping, index, 1);
  }

  /** Maps the pins of a mapping that is not static in a domain, over what is there. */
  mapInto(mapping: Mapping, domains: readonly Domain[]): void {
    if (mapping.driverPins === null) return;
    for (const [index, pin] of mapping.driverPins) this.mapPin(mapping, index, pin, domains);
  }

  /** A mapping is no longer static: its pins are accounted by themselves, and mapped. */
  afterWholeUnpin(mapping: Mapping): void {
    if (mapping.driverPins === null) return;
    this.count(mapping, mapping.driverPins, 1);
    this.mapInto(mapping, this.space.domains);
  }

  /**
   * A mapping is about to become static, which accounts its pins as well. None of their pages is
   * present on return.
   */
  beforeWholePin(mapping: Mapping): void {
    if (mapping.driverPins === null) return;
    this.count(mapping, mapping.driverPins, -1);
    for (const [index] of mapping.driverPins) {
      for (const domain of this.space.domains) domain.unmap(mapping.iovaPage + index, 1);
      this.space.counters.addResident(-mapping.mapped.clear(index, 1));
    }
  }

  /** It has not become static: undoes `beforeWholePin`. */
  wholePinFailed(mapping: Mapping): void {
    this.afterWholeUnpin(mapping);
  }

  private mapPin(
    mapping: Mapping,
    index: number,
    { frame }: Pin,
    domains: readonly Domain[],
  ): void {
    if (domains.length === 0) return;
    one[0] = frame;
    for (const domain of domains) {
      domain.mapFrames(mapping.iovaPage + index, one, 1, mapping.permission);
      domain.flush(mapping.iovaPage + index, 1);
    }
    this.space.counters.addResident(mapping.mapped.set(index, 1));
  }

  private count(mapping: Mapping, pins: DriverPins, sign: 1 | -1): void {
    // Their mapping was charged for them, or will be: the limit is not checked.
    if (sign > 0) mapping.source.chargeAnyway(pins.accounted);
    else mapping.source.uncharge(pins.accounted);
    this.space.counters.addPinned(sign * pins.pages.count);
  }

  private checkAddresses(): void {
    if (this.space.invalidVaddrs > 0) fail('EBUSY');
  }

  private pinPage(page: number, permission: number): number {
    const mapping = this.space.mappings.covering(page);
    if (mapping === null) fail('EINVAL');
    if ((mapping.permission & permission) !== permission) fail('EPERM');
    const index = page - mapping.iovaPage;
    const known = mapping.driverPins?.get(index);
    if (known !== undefined) {
      known.references++;
      return known.frame;
    }
    const pin = pinFrame(mapping, index);
    if (!mapping.pinned) {
      if (pin.accounted && mapping.source.charge(1) !== 0) {
        one[0] = pin.frame;
        mapping.mm.unpin(one, 1);
        throw new VfioError(Errno.ENOMEM);
      }
      this.space.counters.addPinned(1);
    }
    mapping.driverPins ??= new DriverPins(mapping.pages);
    mapping.driverPins.add(index, pin);
    if (!mapping.pinned) this.mapPin(mapping, index, pin, this.space.domains);
    noteWritten(this.space.logs, mapping, index, 1);
    return pin.frame;
  }

  private unpinPage(mapping: Mapping, index: number): void {
    const pins = mapping.driverPins;
    const pin = pins?.get(index);
    if (pins === null || pin === undefined || --pin.references > 0) return;
    pins.remove(index);
    if (pins.pages.count === 0) mapping.driverPins = null;
    if (!mapping.pinned) {
      // No translation may lead to a frame that nobody holds: devices fault the page in again, or
      // are refused.
      this.space.pageUnpinned(mapping, index);
      if (pin.accounted) mapping.source.uncharge(1);
      this.space.counters.addPinned(-1);
    }
    one[0] = pin.frame;
    mapping.mm.unpin(one, 1);
  }
}

/**
 * Pins the page of a mapping for all that the mapping allows, whatever was asked, as the kernel
 * does.
 */
function pinFrame({ mm, vaddrPage, permission }: Mapping, index: number): Pin {
  const got = mm.pin(vaddrPage + index, 1, permission, one);
  if (got < 0) throw new VfioError(-got);
  return { frame: one[0]!, accounted: isCharged(mm, one[0]!), references: 1 };
}
