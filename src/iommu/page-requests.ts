/**
 * A device's page requests, from report to answer (kernel: iommu_report_device_fault and
 * iommu_page_response).
 */
import { Bug } from '../abi/bug.js';
import { Errno, fail } from '../abi/errno.js';
import { runDirect } from '../flow/direct.js';
import type { Flow, Wait } from '../flow/flow.js';
import { removeAt } from '../flow/list.js';
import { Parked } from '../flow/parked.js';
import { FaultHandlers } from './fault-handlers.js';
import type { Counters, Observer } from './observer.js';
import {
  type DeviceFaultHandler,
  type Fault,
  type FaultingDevice,
  type FaultLevel,
  NO_PASID,
  type PageRequestGroup,
  PageResponse,
  type PageResponseCode,
  type ReportResult,
  WAITS,
} from './page-request.js';
import { faultErrno, type PageRequestQueue } from './page-request-queue.js';

/** A device that reports page requests. */
export interface ReportingDevice extends FaultingDevice {
  readonly counters: Counters;
  readonly observer: Observer | null;
  /** It has two page tables. */
  readonly nested: boolean;
  /** It can put an access off until a program has answered. */
  readonly stalls: boolean;
}

export class PageRequests {
  readonly handlers: FaultHandlers;
  /** The IOPF feature (IOMMU_DEV_FEAT_IOPF): page requests are reported. */
  enabled = false;
  /** Groups that handlers are at work on (R5.6). */
  private readonly inside: PageRequestGroup[] = [];
  /** Page requests that wait for a program; no runner has them. */
  private readonly parked: Parked<boolean>[] = [];

  constructor(
    private readonly device: ReportingDevice,
    readonly queue: PageRequestQueue,
  ) {
    this.handlers = new FaultHandlers(device);
  }

  /** Handlers at work on a group. */
  get handlersInside(): number {
    return this.inside.length;
  }

  /** Whether page requests wait for their answer, or handlers are inside. */
  get busy(): boolean {
    return this.queue.pendingCount !== 0 || this.inside.length !== 0;
  }

  /**
   * Reports one page to the handler of a level and runs the request to its answer: true: try
   * again; false: refused, also where a program would have to answer. Hot, allocates nothing where
   * the page is at hand.
   */
  fault(
    handler: DeviceFaultHandler | null,
    level: FaultLevel,
    iovaPage: number,
    access: number,
  ): boolean {
    const { device } = this;
    const { counters, observer } = device;
    if (handler === null || !this.enabled) {
      counters.faultsRefused++;
      return false;
    }
    if (this.queue.full) return this.overflow();
    const startedUs = counters.nowUs();
    counters.faults++;
    const id = this.queue.takeId();
    if (observer !== null) observer.pageRequest(device, iovaPage, access, NO_PASID, id, true);
    let code: number = handler.answer(device, iovaPage, access);
    if (code === WAITS && handler.abandoned === undefined) {
      code = this.handleDirect(handler, pageRequest(level, iovaPage, access, id));
    } else {
      if (code === WAITS) code = PageResponse.INVALID;
      this.answered(NO_PASID, id, code as PageResponseCode);
    }
    counters.faultLatency.record(counters.nowUs() - startedUs);
    return code === PageResponse.SUCCESS;
  }

  /** `fault` as a path that may wait. */
  *faultFlow(level: FaultLevel, iovaPage: number, access: number): Flow<boolean> {
    const { counters } = this.device;
    if (this.handlers.at(level) === null || !this.enabled) {
      counters.faultsRefused++;
      return false;
    }
    if (this.queue.full) return this.overflow();
    const startedUs = counters.nowUs();
    const fault = pageRequest(level, iovaPage, access, this.queue.takeId());
    const { code } = yield* this.report(fault);
    counters.faultLatency.record(counters.nowUs() - startedUs);
    return code === PageResponse.SUCCESS;
  }

  /** Parks a page request: it goes on by itself once a program has answered. */
  park(request: Flow<boolean>): Parked<boolean> {
    const parked = new Parked(request);
    if (!parked.done) this.parked.push(parked);
    return parked;
  }

  /** Resumes parked page requests, each as far as it gets. */
  resumeParked(): void {
    for (let i = this.parked.length - 1; i >= 0; i--) {
      this.parked[i]!.resume();
      if (this.parked[i]!.done) removeAt(this.parked, i);
    }
  }

  /** Reports any fault: see `ReportResult` for what comes of it. */
  *report(fault: Fault): Flow<ReportResult> {
    const taken = this.take(fault);
    if (!Array.isArray(taken)) return taken;
    const group = this.enter(taken);
    try {
      const code = yield* this.handlers.at(group.level)!.handle(group);
      return { errno: 0, code: this.settle(group, code) };
    } finally {
      this.leave(group);
    }
  }

  /** Takes a fault in: the group that it ends, to be handled, or what comes of it at once. */
  private take(fault: Fault): Fault[] | ReportResult {
    const { device, queue } = this;
    const { counters } = device;
    if (fault.kind === 'unrecoverable') {
      // No handler takes this kind, and an access that has failed already is not answered.
      counters.faultsRefused++;
      return { errno: Errno.EOPNOTSUPP, code: null };
    }
    const handler = this.handlers.at(fault.level);
    const errno = faultErrno(fault, device.nested);
    if (errno !== 0 || handler === null || !this.enabled) return this.refuse(fault, errno);
    counters.faults++;
    const { iovaPage, access, pasid, group, last } = fault;
    device.observer?.pageRequest(device, iovaPage, access, pasid, group, last);
    if (!last) {
      if (queue.addPartial(fault)) return { errno: 0, code: null };
      counters.partialsDiscarded++;
      return { errno: Errno.ENOSPC, code: null };
    }
    const requests = queue.takeGroup(fault);
    if (queue.isPending(pasid, group)) return this.refuse(fault, Errno.EINVAL);
    if (queue.full) {
      this.overflow();
      this.answered(pasid, group, PageResponse.SUCCESS);
      return { errno: 0, code: PageResponse.SUCCESS };
    }
    return requests;
  }

  /**
   * Answers a pending page request group; EINVAL where device, PASID and group id match none
   * (R1.4).
   */
  respond(pasid: number, group: number, code: PageResponseCode): void {
    if (!this.queue.isPending(pasid, group)) {
      this.device.counters.responsesUnmatched++;
      fail('EINVAL');
    }
    this.queue.takePending(pasid, group);
    this.answered(pasid, group, code);
  }

  /**
   * No page request is reported from now on. What is pending goes on to its answer, see `drain`;
   * what a program has not answered is INVALID, because a drain must not wait for a program.
   * Idempotent.
   */
  disable(): void {
    this.enabled = false;
    this.discardPartials();
    this.handlers.abandon(this.device);
  }

  /**
   * Waits until every page request is answered and every handler has left. The feature is off
   * (R5.2).
   */
  *drain(): Flow<void> {
    const { address } = this.device;
    if (this.enabled) throw new Bug('drain with page requests on', { device: address });
    const wait = { what: `drain of ${address}`, ready: () => !this.busy };
    while (this.busy) yield wait;
  }

  /**
   * Answers each pending page request group INVALID now. What its handler answers later is dropped,
   * even if the device has used the group's id again.
   */
  refuseAll(): void {
    this.discardPartials();
    for (const { pasid, group } of this.queue.takeAllPending())
      this.answered(pasid, group, PageResponse.INVALID);
    this.handlers.abandon(this.device);
  }

  /** Ready when the handlers inside now have left; later ones do not count. */
  departure(): Wait {
    const inside = this.inside.slice();
    return {
      what: `handlers of ${this.device.address}`,
      ready: () => !inside.some((group) => this.inside.includes(group)),
    };
  }

  /** Runs a request to its answer: its handler waits for nothing but the host. */
  private handleDirect(handler: DeviceFaultHandler, request: Fault): PageResponseCode {
    const group = this.enter([request]);
    try {
      return this.settle(group, runDirect(handler.handle(group)));
    } finally {
      this.leave(group);
    }
  }

  /** A handler is about to work on a group. */
  private enter(requests: readonly Fault[]): PageRequestGroup {
    const { pasid, group: id, level } = requests[requests.length - 1]!;
    const group = { device: this.device, pasid, group: id, level, requests };
    this.queue.addPending(group);
    this.inside.push(group);
    return group;
  }

  private leave(group: PageRequestGroup): void {
    removeAt(this.inside, this.inside.indexOf(group));
  }

  /** Answers a group as its handler says, unless it was answered meanwhile. */
  private settle(group: PageRequestGroup, code: PageResponseCode): PageResponseCode {
    if (!this.queue.isStillPending(group)) return PageResponse.INVALID;
    this.respond(group.pasid, group.group, code);
    return code;
  }

  private discardPartials(): void {
    this.device.counters.partialsDiscarded += this.queue.discardPartials();
  }

  /**
   * R1.3: no handler has this level: the reporter gets an errno, and the device an answer if this
   * ends its group.
   */
  private refuse(fault: Fault, errno: number): ReportResult {
    this.device.counters.faultsRefused++;
    if (fault.last) this.answered(fault.pasid, fault.group, PageResponse.INVALID);
    return {
      errno: errno === 0 ? Errno.EOPNOTSUPP : errno,
      code: fault.last ? PageResponse.INVALID : null,
    };
  }

  /** VT-d answers SUCCESS by itself when its queue is full, so that the device asks again. */
  private overflow(): true {
    this.device.counters.requestsOverflowed++;
    return true;
  }

  private answered(pasid: number, group: number, code: PageResponseCode): void {
    const { counters, observer } = this.device;
    if (code === PageResponse.SUCCESS) counters.responsesSuccess++;
    else if (code === PageResponse.INVALID) counters.responsesInvalid++;
    else counters.responsesFailure++;
    if (observer !== null) observer.pageResponse(this.device, pasid, group, code);
  }
}

function pageRequest(level: FaultLevel, iovaPage: number, access: number, group: number): Fault {
  return { kind: 'page-request', iovaPage, access, pasid: NO_PASID, group, last: true, level };
}
