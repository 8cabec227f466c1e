import { Bug } from '../abi/bug.js';
import { Errno, fail } from '../abi/errno.js';
import { runDirect } from '../flow/direct.js';
import type { Flow } from '../flow/flow.js';
import { Parked } from '../flow/parked.js';
import { READ } from '../mm/address-space.js';
import type { Domain } from './domain.js';
import { FaultHandlers } from './fault-handlers.js';
import type { IommuGroup, PageRange } from './group.js';
import { Iotlb } from './iotlb.js';
import { Counters, type Observer } from './observer.js';
import {
  type DeviceFaultHandler,
  type Fault,
  type FaultLevel,
  FaultReport,
  NO_PASID,
  type PageRequestGroup,
  PageResponse,
  type PageResponseCode,
  type ReportResult,
  WAITS,
} from './page-request.js';
import { faultErrno, type PageRequestLimits, PageRequestQueue } from './page-request-queue.js';
import type { Stage1 } from './stage1.js';

export interface IommuDeviceOptions {
  /** `0000:02:00.0` */
  readonly address: string;
  /** The device can wait for a page (PCIe PRI, SMMU stall). */
  readonly canFault?: boolean;
  readonly counters?: Counters;
  readonly observer?: Observer | null;
  readonly iotlbEntries?: number;
  readonly limits?: PageRequestLimits;
}

/** A device as its IOMMU sees it: where its accesses are translated, and how it asks for pages. */
export class IommuDevice {
  readonly address: string;
  readonly canFault: boolean;
  readonly iotlb: Iotlb;
  readonly handlers = new FaultHandlers();
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
  /** The IOPF feature (IOMMU_DEV_FEAT_IOPF): page requests are reported. */
  iopfEnabled = false;
  /** Flows of page requests that have begun and are not over (R5.6). */
  handlersInside = 0;
  /**
   * The guest's own table that accesses go through first, of a device with a nested domain (R8.1).
   */
  stage1: Stage1 | null = null;
  /** Page requests that wait for a guest and that nobody runs. */
  private readonly parked: Parked<boolean>[] = [];
  /** What the device has moved, of what `counters` has of all. */
  dmaBytesRead = 0;
  dmaBytesWritten = 0;

  constructor(options: IommuDeviceOptions) {
    this.address = options.address;
    this.canFault = options.canFault ?? true;
    this.counters = options.counters ?? new Counters();
    this.observer = options.observer ?? null;
    this.iotlb = new Iotlb(options.iotlbEntries);
    this.queue = new PageRequestQueue(options.limits);
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
   * Blocks all accesses. Who switched page requests on has drained them (R5.6); somebody else's
   * feature stays on (R5.3).
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
   * ENODEV: it cannot wait; EBUSY: it has a first stage.
   */
  attachStage1(stage1: Stage1): void {
    if (!this.nested) fail('EINVAL');
    if (!this.canFault) fail('ENODEV');
    if (this.stage1 !== null) fail('EBUSY');
    this.handlers.register(stage1.queue, FaultReport.NESTED_L1);
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
    const wait = {
      what: `stage-1 requests of ${this.address}`,
      ready: () => !this.queue.hasPending('stage1'),
    };
    for (;;) {
      queue.abandoned(this);
      if (wait.ready()) break;
      yield wait;
    }
    this.handlers.unregister(queue);
  }

  /** Switches page requests on. ENODEV: the device cannot; EBUSY: they are on. */
  enableIopf(): void {
    if (!this.canFault) fail('ENODEV');
    if (this.iopfEnabled) fail('EBUSY');
    this.iopfEnabled = true;
  }

  /**
   * No page request is reported from now on. What is pending goes on to its answer: see `drain`;
   * what a guest has not answered is INVALID, for nobody can wait for a guest. Idempotent.
   */
  disableIopf(): void {
    this.iopfEnabled = false;
    this.counters.partialsDiscarded += this.queue.discardPartials();
    this.handlers.stage1?.abandoned?.(this);
  }

  /**
   * The device was reset or is gone: it waits for no answer any more. Each pending page request
   * group is answered INVALID now, and what its handler comes to later goes nowhere, also where the
   * device has used the group's id again.
   */
  reset(): void {
    this.counters.partialsDiscarded += this.queue.discardPartials();
    for (const { pasid, group } of this.queue.takeAllPending())
      this.answered(pasid, group, PageResponse.INVALID);
    this.handlers.stage1?.abandoned?.(this);
  }

  /** Whether page requests wait for their answer, or handlers are inside. */
  get busy(): boolean {
    return this.queue.pendingCount !== 0 || this.handlersInside !== 0;
  }

  /**
   * Waits until every page request is answered and every handler has left. The feature is off
   * (R5.2).
   */
  *drain(): Flow<void> {
    if (this.iopfEnabled) throw new Bug('drain with page requests on', { device: this.address });
    const wait = { what: `drain of ${this.address}`, ready: () => !this.busy };
    while (this.busy) yield wait;
  }

  /**
   * Reports a page request for one page and runs it to its answer: true: try again; false: refused.
   * Hot, allocates nothing where the page is at hand. `stage1` null: the page is the domain's.
   */
  fault(iovaPage: number, access: number, stage1: Stage1 | null = this.stage1): boolean {
    if (stage1 !== null) return this.faultNested(stage1, iovaPage, access);
    const nested = this.domain?.nested ?? false;
    const handler = nested ? this.handlers.stage2 : this.handlers.flat;
    if (handler === null || !this.iopfEnabled) {
      this.counters.faultsRefused++;
      return false;
    }
    if (this.queue.full) return this.overflow();
    const counters = this.counters;
    const started = counters.now();
    counters.faults++;
    const id = this.queue.takeId();
    if (this.observer !== null)
      this.observer.pageRequest(this, iovaPage, access, NO_PASID, id, true);
    let code: number = handler.answer(this, iovaPage, access);
    if (code === WAITS) {
      const level = nested ? 'stage2' : 'flat';
      const fault: Fault = {
        kind: 'page-request',
        iovaPage,
        access,
        pasid: NO_PASID,
        group: id,
        last: true,
        level,
      };
      code = runDirect(this.handleGroup(handler, [fault]));
    } else {
      this.answered(NO_PASID, id, code as PageResponseCode);
    }
    counters.faultLatency.record(counters.now() - started);
    return code === PageResponse.SUCCESS;
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
      return this.fault(iovaPage, stage1.access, null);
    }
    // An entry that makes no sense, or one that is missing for a device which cannot wait for the
    // guest.
    this.counters.faultsRefused++;
    return false;
  }

  /**
   * A page request for what only the guest can bring: the request, for as long as it waits, and
   * then whether to try again. Null where the guest's table is not what is missing: `fault` is for
   * that.
   */
  requestStage1(iovaPage: number, access: number): Parked<boolean> | null {
    const { domain, stage1 } = this;
    if (domain === null || stage1 === null) return null;
    if (stage1.walk(domain, iovaPage, access) >= 0 || stage1.end !== 'stage1') return null;
    const request = new Parked(this.faultFlow(iovaPage, access, 'stage1'));
    if (!request.done) this.parked.push(request);
    return request;
  }

  /** Lets page requests go on that nobody runs, as far as they can. */
  resumeParked(): void {
    for (let i = this.parked.length - 1; i >= 0; i--) {
      this.parked[i]!.resume();
      if (this.parked[i]!.done) this.parked.splice(i, 1);
    }
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
  *faultFlow(
    iovaPage: number,
    access: number,
    level: FaultLevel = this.nested ? 'stage2' : 'flat',
  ): Flow<boolean> {
    if (this.handlers.at(level) === null || !this.iopfEnabled) {
      this.counters.faultsRefused++;
      return false;
    }
    if (this.queue.full) return this.overflow();
    const group = this.queue.takeId();
    const fault: Fault = {
      kind: 'page-request',
      iovaPage,
      access,
      pasid: NO_PASID,
      group,
      last: true,
      level,
    };
    const result = yield* this.report(fault);
    return result.code === PageResponse.SUCCESS;
  }

  /**
   * Reports any fault (kernel: iommu_report_device_fault): see `ReportResult` for what comes of it.
   */
  *report(fault: Fault): Flow<ReportResult> {
    if (fault.kind === 'unrecoverable') {
      // Nobody handles this kind, and an access that has failed already is not answered.
      this.counters.faultsRefused++;
      return { errno: Errno.EOPNOTSUPP, code: null };
    }
    const handler = this.handlers.at(fault.level);
    const errno = faultErrno(fault, this.nested);
    if (errno !== 0 || handler === null || !this.iopfEnabled) return this.refuse(fault, errno);
    this.counters.faults++;
    this.observer?.pageRequest(
      this,
      fault.iovaPage,
      fault.access,
      fault.pasid,
      fault.group,
      fault.last,
    );
    if (!fault.last) {
      if (this.queue.addPartial(fault)) return { errno: 0, code: null };
      this.counters.partialsDiscarded++;
      return { errno: Errno.ENOSPC, code: null };
    }
    const requests = this.queue.takeGroup(fault);
    if (this.queue.isPending(fault.pasid, fault.group)) return this.refuse(fault, Errno.EINVAL);
    if (this.queue.full) {
      this.overflow();
      this.answered(fault.pasid, fault.group, PageResponse.SUCCESS);
      return { errno: 0, code: PageResponse.SUCCESS };
    }
    return { errno: 0, code: yield* this.handleGroup(handler, requests) };
  }

  /**
   * Answers a pending page request group; EINVAL where device, PASID and group id match none
   * (R1.4).
   */
  respond(pasid: number, group: number, code: PageResponseCode): void {
    if (!this.queue.isPending(pasid, group)) {
      this.counters.responsesUnmatched++;
      fail('EINVAL');
    }
    this.queue.takePending(pasid, group);
    this.answered(pasid, group, code);
  }

  /**
   * The page behind an IOVA went away without notice: forget its translation, so that the next
   * access asks again.
   */
  pageLost(iovaPage: number): void {
    const handler = this.nested ? this.handlers.stage2 : this.handlers.flat;
    const page = this.stage2Page(iovaPage, READ);
    if (handler !== null && page >= 0) handler.pageLost(this, page);
    this.flush(iovaPage, 1);
  }

  protected *handleGroup(
    handler: DeviceFaultHandler,
    requests: readonly Fault[],
  ): Flow<PageResponseCode> {
    const last = requests[requests.length - 1]!;
    const group: PageRequestGroup = {
      device: this,
      pasid: last.pasid,
      group: last.group,
      level: last.level,
      requests,
    };
    this.queue.addPending(group);
    this.handlersInside++;
    try {
      const code = yield* handler.handle(group);
      if (!this.queue.holds(group)) return PageResponse.INVALID;
      this.respond(group.pasid, group.group, code);
      return code;
    } finally {
      this.handlersInside--;
    }
  }

  /**
   * R1.3: nobody asked for this level: the reporter gets an errno, and the device an answer where
   * its group ends.
   */
  protected refuse(fault: Fault, errno: number): ReportResult {
    this.counters.faultsRefused++;
    if (fault.last) this.answered(fault.pasid, fault.group, PageResponse.INVALID);
    return {
      errno: errno === 0 ? Errno.EOPNOTSUPP : errno,
      code: fault.last ? PageResponse.INVALID : null,
    };
  }

  /** As VT-d does with a full queue: SUCCESS by itself, so that the device asks again. */
  protected overflow(): true {
    this.counters.requestsOverflowed++;
    return true;
  }

  protected answered(pasid: number, group: number, code: PageResponseCode): void {
    const counters = this.counters;
    if (code === PageResponse.SUCCESS) counters.responsesSuccess++;
    else if (code === PageResponse.INVALID) counters.responsesInvalid++;
    else counters.responsesFailure++;
    if (this.observer !== null) this.observer.pageResponse(this, pasid, group, code);
  }
}
