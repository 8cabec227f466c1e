import { Bug } from '../abi/bug.js';
import { fail } from '../abi/errno.js';
import type { Flow } from '../flow/flow.js';
import type { Parked } from '../flow/parked.js';
import { READ } from '../mm/address-space.js';
import type { Domain } from './domain.js';
import type { FaultHandlers } from './fault-handlers.js';
import type { IommuGroup, PageRange } from './group.js';
import type { Asker, Incidents, RefusalCause } from './incidents.js';
import { Iotlb } from './iotlb.js';
import { Counters, type Observer } from './observer.js';
import {
  type DeviceFaultHandler,
  type Fault,
  type FaultLevel,
  FaultReport,
  type PageResponseCode,
  type ReportResult,
} from './page-request.js';
import { type PageRequestLimits, PageRequestQueue } from './page-request-queue.js';
import { PageRequests, type ReportingDevice } from './page-requests.js';
import type { Stage1 } from './stage1.js';

export interface IommuDeviceOptions {
  /** `0000:02:00.0` */
  readonly address: string;
  /** The device can wait for a page (PCIe PRI, SMMU stall); default true. */
  readonly canFault?: boolean;
  /** It can put an access off until a program has answered (default false). */
  readonly stalls?: boolean;
  readonly counters?: Counters;
  readonly observer?: Observer | null;
  readonly incidents?: Incidents | null;
  readonly iotlbEntries?: number;
  readonly limits?: PageRequestLimits;
  /** Makes what carries its page requests to their answers. */
  readonly requests?: (device: ReportingDevice) => PageRequests;
}

/** Where a device's accesses go. */
export interface Attachment {
  readonly domain: Domain;
  /** Brings the pages that the domain lacks; null: they are refused. */
  readonly handler: DeviceFaultHandler | null;
  /** A guest's own table before it, of a nested domain; null: none. */
  readonly stage1: Stage1 | null;
}

/** A device as its IOMMU sees it: where its accesses are translated, and how it asks for pages. */
export class IommuDevice implements ReportingDevice {
  readonly address: string;
  readonly canFault: boolean;
  /**
   * It can put an access off until a program has answered: set by its function before it gets a
   * group.
   */
  stalls: boolean;
  /**
   * It has ATS and PRI of its own, as a kernel without IOPF can use them: set by its function
   * before it gets a group.
   */
  hasPri = false;
  readonly iotlb: Iotlb;
  readonly requests: PageRequests;
  readonly handlers: FaultHandlers;
  readonly queue: PageRequestQueue;
  /**
   * Where it can wait for a page, if not everywhere; its group goes by it (R7.1). Set before it
   * gets a group.
   */
  faultable: readonly PageRange[] | null = null;
  group: IommuGroup | null = null;
  domain: Domain | null = null;
  counters: Counters;
  observer: Observer | null;
  readonly incidents: Incidents | null;
  /**
   * The guest's own table that accesses go through first, of a device with a nested domain (R8.1).
   */
  stage1: Stage1 | null = null;
  /** What the device has moved, of what `counters` has of all. */
  dmaBytesRead = 0;
  dmaBytesWritten = 0;

  constructor(options: IommuDeviceOptions) {
    this.address = options.address;
    this.canFault = options.canFault ?? true;
    this.stalls = options.stalls ?? false;
    this.counters = options.counters ?? new Counters();
    this.observer = options.observer ?? null;
    this.incidents = options.incidents ?? null;
    this.iotlb = new Iotlb(options.iotlbEntries);
    this.requests =
      options.requests?.(this) ?? new PageRequests(this, new PageRequestQueue(options.limits));
    this.queue = this.requests.queue;
    this.handlers = this.requests.handlers;
  }

  /** Lets accesses go through a domain. */
  attach(domain: Domain): void {
    if (this.domain !== null)
      throw new Bug('device has a domain already', { device: this.address });
    this.domain = domain;
    domain.devices.push(this);
    this.iotlb.flushAll();
  }

  /**
   * Blocks all accesses. Whoever switched page requests on has drained them (R5.6); the feature of
   * another owner stays on (R5.3).
   */
  detach(): void {
    const domain = this.domain;
    if (domain === null) return;
    if (this.busy) {
      throw new Bug('device is detached while it faults', {
        device: this.address,
        pending: this.queue.pendingCount,
      });
    }
    if (this.stage1 !== null)
      throw new Bug('device is detached with its first stage', { device: this.address });
    domain.devices.splice(domain.devices.indexOf(this), 1);
    this.domain = null;
    this.iotlb.flushAll();
  }

  /**
   * Accesses go elsewhere from the next one on (kernel: iommu_replace_group_handle): in one step
   * domain, first stage and handlers change, what is outstanding is answered INVALID, and nothing
   * stays in the IOTLB. Ends when none of the old handlers is at work for the device: then the old
   * domain may go. `iopfEnabled` stays as it is: the owner of the feature switches it on before, or
   * off afterwards. EINVAL: a first stage before a domain that is not nested; ENODEV: a
   * program would answer, and the device cannot wait; then nothing has changed.
   */
  *replace({ domain, handler, stage1 }: Attachment): Flow<void> {
    const { handlers, requests } = this;
    const old = this.domain;
    if (old === null) throw new Bug('no domain to be replaced', { device: this.address });
    if (stage1 !== null && !domain.nested) fail('EINVAL');
    for (const each of [handler, stage1?.queue ?? null])
      if (each !== null && !this.canWaitFor(each)) fail('ENODEV');
    const left = requests.departure();
    requests.refuseAll();
    old.devices.splice(old.devices.indexOf(this), 1);
    domain.devices.push(this);
    this.domain = domain;
    this.stage1 = stage1;
    handlers.flat = domain.nested ? null : handler;
    handlers.stage2 = domain.nested ? handler : null;
    handlers.stage1 = stage1?.queue ?? null;
    this.iotlb.flushAll();
    while (!left.ready()) yield left;
  }

  /** Whether the handler may answer this device's page requests. */
  canWaitFor(handler: DeviceFaultHandler): boolean {
    return this.canFault && this.handlers.accepts(handler);
  }

  get nested(): boolean {
    return this.domain?.nested ?? false;
  }

  /**
   * The frame that an access reaches, through the IOTLB; -1 where there is no translation or no
   * domain. Hot.
   */
  translate(iovaPage: number, access: number): number {
    const cached = this.iotlb.lookup(iovaPage, access);
    if (cached >= 0) return cached;
    const { domain, stage1 } = this;
    if (domain === null) return -1;
    const frame =
      stage1 === null ? domain.translate(iovaPage, access) : stage1.walk(domain, iovaPage, access);
    if (frame >= 0) this.iotlb.fill(iovaPage, frame, access);
    return frame;
  }

  /**
   * Forgets cached translations of [iovaPage, iovaPage + count) of the domain. With a first stage
   * nobody knows by which input pages they were cached, so all go.
   */
  flush(iovaPage: number, count: number): void {
    if (this.stage1 === null) this.iotlb.flush(iovaPage, count);
    else this.iotlb.flushAll();
  }

  /**
   * Accesses go through a guest's table from now on. EINVAL: the device has no second stage;
   * ENODEV: the guest answers, and it cannot wait; EBUSY: it has a first stage.
   */
  attachStage1(stage1: Stage1): void {
    if (!this.nested) fail('EINVAL');
    if (stage1.queue !== null && !this.canFault) fail('ENODEV');
    if (this.stage1 !== null) fail('EBUSY');
    if (stage1.queue !== null) this.handlers.register(stage1.queue, FaultReport.STAGE1);
    this.stage1 = stage1;
    this.iotlb.flushAll();
  }

  /**
   * Accesses are the container's alone again; what the guest has not answered is INVALID, and
   * nothing of it is left.
   */
  *detachStage1(): Flow<void> {
    const { stage1 } = this;
    if (stage1 === null) return;
    this.stage1 = null;
    this.iotlb.flushAll();
    const { queue } = stage1;
    if (queue === null) return;
    const wait = {
      what: `stage-1 requests of ${this.address}`,
      ready: () => !this.queue.hasPending('stage1'),
    };
    for (;;) {
      queue.abandoned?.(this);
      if (wait.ready()) break;
      yield wait;
    }
    this.handlers.unregister(queue);
  }

  get iopfEnabled(): boolean {
    return this.requests.enabled;
  }

  /** Switches page requests on. ENODEV: the device cannot; EBUSY: they are on. */
  enableIopf(): void {
    if (!this.canFault) fail('ENODEV');
    if (this.requests.enabled) fail('EBUSY');
    this.requests.enabled = true;
  }

  /** See `PageRequests.disable`. */
  disableIopf(): void {
    this.requests.disable();
  }

  /** The device was reset or is gone: it waits for no answer any more. */
  reset(): void {
    this.requests.refuseAll();
    this.incidents?.deviceReset(this);
  }

  get busy(): boolean {
    return this.requests.busy;
  }

  get handlersInside(): number {
    return this.requests.handlersInside;
  }

  drain(): Flow<void> {
    return this.requests.drain();
  }

  /**
   * Reports a page request for one page and runs it to its answer: true: try again; false: refused.
   * Hot, allocates nothing where the page is at hand.
   */
  fault(iovaPage: number, access: number): boolean {
    if (this.stage1 !== null) return this.faultNested(this.stage1, iovaPage, access);
    const { handlers, domain } = this;
    if (domain === null || !domain.nested)
      return this.requests.fault(handlers.flat, 'flat', iovaPage, access);
    return this.requests.fault(handlers.stage2, 'stage2', iovaPage, access);
  }

  /**
   * What the guest's table lacks in the domain, its own pages included, is the container's to
   * bring.
   */
  private faultNested(stage1: Stage1, page: number, access: number): boolean {
    const domain = this.domain!;
    if (stage1.walk(domain, page, access) >= 0) return true;
    if (stage1.end === 'stage2') {
      const { iovaPage } = stage1;
      if (stage1.tableLost) this.handlers.stage2?.pageLost(this, iovaPage);
      return this.requests.fault(this.handlers.stage2, 'stage2', iovaPage, stage1.access);
    }
    // An entry that makes no sense, or one that is missing for a device which cannot wait for the
    // guest.
    this.counters.faultsRefused++;
    return false;
  }

  /**
   * A page request for what a program must bring, at whatever level: the request, for as long as it
   * waits, and then whether to try again. Null where no program answers for what is missing, or
   * nothing is: `fault` is for that.
   */
  request(iovaPage: number, access: number): Parked<boolean> | null {
    const { domain, stage1, requests } = this;
    if (domain === null) return null;
    if (stage1 !== null && stage1.walk(domain, iovaPage, access) >= 0) return null;
    const end = stage1 === null ? this.level : stage1.end;
    if (end === 'frame' || end === 'malformed' || !requests.handlers.isProgram(end)) return null;
    if (stage1 !== null && end === 'stage2')
      return requests.park(requests.faultFlow(end, stage1.iovaPage, stage1.access));
    if (stage1 === null && domain.translate(iovaPage, access) >= 0) return null;
    return requests.park(requests.faultFlow(end, iovaPage, access));
  }

  /** Whether a program answers page requests, at whatever level. */
  get asksProgram(): boolean {
    return this.handlers.hasProgram;
  }

  resumeParked(): void {
    this.requests.resumeParked();
  }

  /**
   * The IOVA page of the container that an access goes to, or -1 where the guest's table does not
   * say.
   */
  stage2Page(page: number, access: number): number {
    const { domain, stage1 } = this;
    if (domain === null || stage1 === null) return page;
    stage1.walk(domain, page, access);
    return stage1.iovaPage;
  }

  /** `fault` as a path that may wait, for runs that put other paths in between. */
  faultFlow(iovaPage: number, access: number, level: FaultLevel = this.level): Flow<boolean> {
    return this.requests.faultFlow(level, iovaPage, access);
  }

  /** See `PageRequests.report`. */
  report(fault: Fault): Flow<ReportResult> {
    return this.requests.report(fault);
  }

  /** See `PageRequests.respond`. */
  respond(pasid: number, group: number, code: PageResponseCode): void {
    this.requests.respond(pasid, group, code);
  }

  /**
   * The page behind an IOVA went away without notice: forget its translation, so that the next
   * access asks again.
   */
  pageLost(iovaPage: number): void {
    const page = this.stage2Page(iovaPage, READ);
    if (page >= 0) this.handlers.at(this.level)?.pageLost(this, page);
    this.flush(iovaPage, 1);
  }

  /** An access at an IOVA, in bytes, has been refused. */
  refused(iova: number, access: number, cause: RefusalCause, asker: Asker): void {
    this.incidents?.accessRefused(this, iova, access, cause, asker);
  }

  /** The level of the domain's own page table. */
  private get level(): FaultLevel {
    return this.domain?.nested ? 'stage2' : 'flat';
  }
}
