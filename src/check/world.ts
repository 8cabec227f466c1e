/** What a run is about: a container with its devices, its programs and their memory, made of shipped parts, made new for each order. */
import { errnoName, VfioError } from '../abi/errno.js';
import { runDirect } from '../flow/direct.js';
import type { Flow } from '../flow/flow.js';
import type { IommuDevice } from '../iommu/device.js';
import type { Domain, DomainOptions } from '../iommu/domain.js';
import { defaultGeometry, type IommuGeometry } from '../iommu/geometry.js';
import { IommuGroup } from '../iommu/group.js';
import { Counters, type Observer } from '../iommu/observer.js';
import { type DeviceFaultHandler, FaultReport, PageResponse } from '../iommu/page-request.js';
import { READ, WRITE } from '../mm/address-space.js';
import { SimulatedMemory, ZERO_FRAME } from '../mm/simulated-memory.js';
import { VfioGroup } from '../vfio/group.js';
import type { PciBus } from '../vfio/hot-reset.js';
import { DEFAULT_KERNEL, kernelProfile } from '../vfio/kernel.js';
import { Device, Guest } from './device.js';
import { Digest } from './digest.js';
import { Driver } from './driver.js';
import { FirstStage } from './first-stage.js';
import { Host } from './host.js';
import { IOVA, VADDR } from './operation.js';
import type { CheckMachine, CheckType1, Parts } from './parts.js';
import { Program, ProgramSpace } from './program.js';
import type { DeviceSpec, WorldOptions } from './scenario.js';
import { violated } from './violation.js';

const IOTLB_ENTRIES = 8;
const NO_BUS: PciBus = { neighbours: () => [] };
const RW = READ | WRITE;

/** Somebody else's handler, for devices that are in use elsewhere. */
export const foreignHandler: DeviceFaultHandler = {
  answer: () => PageResponse.INVALID,
  // biome-ignore lint/correctness/useYield: it never waits
  *handle() {
    return PageResponse.INVALID;
  },
  pageLost: () => {},
};

export class World implements Observer {
  readonly memory = new SimulatedMemory();
  readonly counters = new Counters();
  readonly programs: Program[] = [];
  readonly host: Host;
  readonly pages: number;
  type1!: CheckType1;
  devices: Device[] = [];
  groups: VfioGroup[] = [];
  /** Groups that are in the container, or on their way in or out. */
  readonly inContainer = new Set<VfioGroup>();
  closed = false;
  /** Groups on their way in or out of the container: their devices are half on. */
  changingGroups = 0;
  /** Static pins were there: their pages count as written where the dirty log meets them. */
  everPinned = false;
  /** By device: it has had a handler. */
  readonly handled: boolean[] = [];
  /** By IOVA page of the scenario: written by a device since the last report, and asked to be written. */
  readonly written: Uint8Array;
  readonly writeAsked: Uint8Array;
  /** Accesses that are under way, by IOVA page. */
  readonly writesUnderWay: Uint8Array;
  /** Requests that were reported and are not answered. */
  readonly requests = new Map<number, number>();
  /** A digest of what the operations of the actor that runs have come to. */
  outcome = 0;
  /** Refusals that the last step may answer without a pending request. */
  private refusedSeen = 0;

  private drivers: Driver[] = [];
  private firstStages: FirstStage[] = [];
  private readonly machine: CheckMachine;
  private readonly geometries: IommuGeometry[];
  private readonly domains = new Map<
    IommuGeometry,
    { options: DomainOptions; all: Domain[]; used: number }
  >();
  private readonly specs: readonly DeviceSpec[];
  private readonly digest = new Digest();

  constructor(
    readonly options: WorldOptions,
    private readonly parts: Parts,
  ) {
    this.pages = options.pages ?? 4;
    this.written = new Uint8Array(this.pages);
    this.writeAsked = new Uint8Array(this.pages);
    this.writesUnderWay = new Uint8Array(this.pages);
    this.specs = options.devices ?? [{}];
    for (let id = 0; id < (options.processes ?? 1); id++) {
      const space = new ProgramSpace(this.memory, {
        id,
        swapInWaits: options.swapInWaits ?? false,
        ipcLock: options.lockLimitPages === undefined,
        lockLimitPages: options.lockLimitPages ?? Number.POSITIVE_INFINITY,
      });
      this.programs.push(new Program(this, space));
    }
    this.host = new Host(this);
    this.memory.limitFrames = options.frames ?? Number.POSITIVE_INFINITY;
    const plain: IommuGeometry = { ...defaultGeometry, reserved: [] };
    this.geometries = this.specs.map((spec, i) =>
      spec.ownDomain || spec.nested || spec.merges ? { ...plain, addressWidth: 47 - i } : plain,
    );
    this.specs.forEach((spec, i) => {
      const geometry = this.geometries[i]!;
      const domainOptions = { geometry, nested: spec.nested ?? false, merges: spec.merges ?? false };
      this.domains.set(geometry, { options: domainOptions, all: [], used: 0 });
    });
    this.machine = {
      geometry: defaultGeometry,
      kernel: kernelProfile(DEFAULT_KERNEL),
      iopf: 'ask',
      premapPages: options.premapPages ?? 1,
      dmaEntryLimit: 16,
      allowUnsafeInterrupts: false,
      type1Module: true,
      tables: null,
      counters: this.counters,
      observer: null,
      premap: null,
      takeDomain: (geometry) => this.takeDomain(geometry),
    };
  }

  /** As it is before any order: memory mapped and written, devices attached, IOPF on where asked. */
  reset(): void {
    const { counters, options, pages } = this;
    this.memory.reset();
    for (const { mm } of this.programs) {
      mm.reset();
      mm.mmap(VADDR, pages, { kind: options.hugePages ? 'hugetlb' : 'anon', protection: RW });
      mm.fillPages(VADDR, pages, 1);
    }
    for (const pool of this.domains.values()) {
      for (let i = 0; i < pool.used; i++) {
        const domain = pool.all[i]!;
        domain.devices.length = 0;
        domain.unmap(IOVA, pages);
      }
      pool.used = 0;
    }
    counters.residentPages = 0;
    counters.pinnedPages = 0;
    counters.mappedPages = 0;
    this.refusedSeen = counters.faultsRefused;
    this.requests.clear();
    this.inContainer.clear();
    this.written.fill(0);
    this.writeAsked.fill(0);
    this.writesUnderWay.fill(0);
    this.closed = false;
    this.changingGroups = 0;
    this.everPinned = false;
    this.type1 = new this.parts.Type1(this.machine, 2);
    this.makeDevices();
    this.drivers = [];
    this.firstStages = [];
    for (const group of this.groups) if (this.isAttachedAtFirst(group)) runDirect(this.attach(group));
    if (options.enabled ?? true) runDirect(this.type1.iopf!.enable());
  }

  /** The driver of a group's devices, there from its first use on. */
  driver(group: number): Driver {
    const known = this.drivers.find((each) => each.drives(group));
    if (known !== undefined) return known;
    const driver = new Driver(this, group);
    this.drivers.push(driver);
    return driver;
  }

  /** The first stage before a device, there from its first use on. */
  firstStage(device: number): FirstStage {
    this.firstStages[device] ??= new FirstStage(this, this.devices[device]!);
    return this.firstStages[device];
  }

  /** The guest above a device. */
  guest(device: number): Guest {
    return new Guest(this, this.devices[device]!);
  }

  group(number: number): VfioGroup {
    return this.groups.find((group) => group.number === number)!;
  }

  *attach(group: VfioGroup): Flow<void> {
    this.inContainer.add(group);
    this.changingGroups++;
    try {
      yield* this.type1.attachFlow(group);
    } catch (error) {
      this.inContainer.delete(group);
      throw error;
    } finally {
      this.changingGroups--;
    }
  }

  *detach(group: VfioGroup): Flow<void> {
    this.changingGroups++;
    try {
      // Devices are closed before their group can leave.
      for (const driver of this.drivers) if (driver.drives(group.number)) driver.close();
      yield* this.type1.detachFlow(group);
      this.inContainer.delete(group);
    } finally {
      this.changingGroups--;
    }
  }

  /** The container goes with all that is in it. */
  *close(): Flow<void> {
    for (const group of this.inContainer) yield* this.detach(group);
    yield* this.type1.iopf!.release();
    this.closed = true;
  }

  /** What a control path came to: `ok` or the errno's name. */
  *result(flow: Flow<void>): Flow<string> {
    try {
      yield* flow;
      return this.note('ok', 0);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      return this.note(errnoName(error.errno), error.errno);
    }
  }

  /** Ends an operation with what it came to, which its actor knows from now on. */
  note<T>(result: T, code: number): T {
    this.outcome = (Math.imul(this.outcome, 31) + code + 1) | 0;
    return result;
  }

  /** Somebody else has a device's page requests. */
  takeElsewhere(device: Device): void {
    device.iommu.handlers.register(
      foreignHandler,
      device.iommu.nested ? FaultReport.NESTED_L2 : FaultReport.FLAT,
    );
    device.iommu.enableIopf();
  }

  /** A device's access got through to a frame: the frame must be what the program has there now. */
  reached(device: Device, iovaPage: number, access: number, frame: number): void {
    const mapping = this.type1.mappings.covering(iovaPage);
    const at = `${accessText(access)} of ${device.iommu.address} at IOVA page 0x${iovaPage.toString(16)}`;
    if (mapping === null) violated(GONE, 'R3.3', `${at} went through where nothing is mapped`);
    if (frame !== ZERO_FRAME && !this.memory.isOwned(frame))
      violated(GONE, 'R3.3', `${at} reached a frame that was freed`);
    if (
      !mapping.pinned &&
      !mapping.driverPins?.pages.test(iovaPage - mapping.iovaPage) &&
      (mapping.mm as ProgramSpace).frameAt(mapping.vaddrPage + iovaPage - mapping.iovaPage) !== frame
    )
      violated(GONE, 'R3.3', `${at} reached a frame that the program has no more`);
    if ((access & WRITE) !== 0 && this.type1.dirtyTracking) this.written[iovaPage - IOVA] = 1;
  }

  asked(iovaPage: number, access: number): void {
    if ((access & WRITE) === 0) return;
    this.writesUnderWay[iovaPage - IOVA]!++;
    this.writeAsked[iovaPage - IOVA] = 1;
  }

  answered(iovaPage: number, access: number): void {
    if ((access & WRITE) !== 0) this.writesUnderWay[iovaPage - IOVA]!--;
  }

  /** The bitmap that a program got says what was written since the last one. */
  dirtyReported(bitmap: Uint8Array): void {
    for (let page = 0; page < this.pages; page++) {
      const mapping = this.type1.mappings.covering(IOVA + page);
      if (mapping === null || mapping.pinned) continue;
      const reported = (bitmap[page >>> 3]! & (1 << (page & 7))) !== 0;
      if (this.written[page] !== 0 && !reported)
        violated(DIRTY, 'R6.3', `page ${page} was written and is not reported`);
      this.written[page] = 0;
      this.writeAsked[page] = this.writesUnderWay[page] !== 0 ? 1 : 0;
    }
  }

  /** A call that failed left everything as it was. */
  failedCall(before: number, error: VfioError): void {
    if (this.containerPrint() === before) return;
    violated(
      'a call that fails changes nothing',
      'R5.3',
      `${errnoName(error.errno)}, and the state is another`,
    );
  }

  map(): void {}

  unmap(): void {}

  pageRequest(
    device: IommuDevice,
    _page: number,
    _access: number,
    pasid: number,
    group: number,
    last: boolean,
  ): void {
    if (!last) return;
    // A device may use an id that is pending; then it gets as many answers.
    const name = this.requestName(device, pasid, group);
    this.requests.set(name, (this.requests.get(name) ?? 0) + 1);
  }

  pageResponse(device: IommuDevice, pasid: number, group: number, code: number): void {
    const name = this.requestName(device, pasid, group);
    const open = this.requests.get(name) ?? 0;
    if (open > 0) {
      if (open === 1) this.requests.delete(name);
      else this.requests.set(name, open - 1);
      return;
    }
    if (code === PageResponse.INVALID && this.counters.faultsRefused > this.refusedSeen) {
      this.refusedSeen++;
      return;
    }
    violated(ONCE, 'R1.4', `group ${group} of ${device.address} is answered and nobody waits for it`);
  }

  /** Device, PASID and group id as one number. */
  private requestName(device: IommuDevice, pasid: number, group: number): number {
    let index = 0;
    while (this.devices[index]!.iommu !== device) index++;
    return (index * 0x100000 + pasid + 1) * 512 + group;
  }

  /** A step is over: what it refused has been answered. */
  stepDone(): void {
    if (this.counters.pinnedPages !== 0) this.everPinned = true;
    for (let i = 0; i < this.devices.length; i++) {
      const { handlers } = this.devices[i]!.iommu;
      if (handlers.flat !== null || handlers.stage2 !== null) this.handled[i] = true;
    }
    this.refusedSeen = this.counters.faultsRefused;
  }

  /** How often what page-ins rely on has changed; only differences of it matter. */
  get history(): number {
    let history = this.type1.iopf!.handler.generation;
    for (let i = 0; i < this.programs.length; i++)
      history = history * 64 + this.programs[i]!.mm.invalidations;
    return history;
  }

  /** A digest of all that a path can see; what paths hold in their locals is not in it. */
  fingerprint(): number {
    const { digest, pages } = this;
    digest.begin();
    this.addContainer();
    for (let i = 0; i < this.programs.length; i++) {
      const { mm } = this.programs[i]!;
      for (let page = 0; page < pages; page++) digest.add(mm.stateAt(VADDR + page));
    }
    digest.add(this.memory.used);
    for (let page = 0; page < pages; page++) {
      digest.add(this.written[page]! + this.writeAsked[page]! * 2 + this.writesUnderWay[page]! * 4);
    }
    return digest.value;
  }

  /** A digest of what is the container's, its devices' and in the programs' accounts. */
  containerPrint(): number {
    this.digest.begin();
    this.addContainer();
    return this.digest.value;
  }

  private addContainer(): void {
    const { digest, type1, pages } = this;
    const iopf = type1.iopf!;
    digest.add(
      (this.closed ? 1 : 0) |
        (iopf.enabled ? 2 : 0) |
        (iopf.changing ? 4 : 0) |
        (type1.dirtyTracking ? 8 : 0) |
        (this.everPinned ? 16 : 0),
    );
    digest.add(iopf.watchedSpaces);
    for (const pageIn of iopf.handler.pageIns) digest.add(pageIn.mapping.iovaPage + pageIn.index);
    for (let i = 0; i < type1.domains.length; i++) {
      const domain = type1.domains[i]!;
      digest.add(domain.geometry.addressWidth);
      for (let page = IOVA; page < IOVA + pages; page++) {
        digest.add(domain.frameAt(page) * 4 + domain.permissionAt(page));
      }
    }
    for (let i = 0; i < this.drivers.length; i++) this.drivers[i]!.addTo(digest);
    for (let i = 0; i < this.firstStages.length; i++) this.firstStages[i]?.addTo(digest);
    for (let i = 0; i < this.devices.length; i++) this.addDevice(this.devices[i]!.iommu, i);
    let mapping = type1.mappings.firstFrom(0);
    while (mapping !== null) {
      digest.add(mapping.iovaPage * 8 + mapping.permission);
      digest.add(mapping.vaddrPage * 8 + mapping.mm.id);
      digest.add(
        mapping.pages * 16 +
          (mapping.pinned ? 1 : 0) +
          (mapping.pinnedByFlag ? 2 : 0) +
          (mapping.dirty === null ? 4 : 0) +
          (mapping.vaddrInvalid ? 8 : 0),
      );
      digest.add(mapping.lockedPages);
      if (mapping.driverPins !== null)
        for (const [index, { frame, references }] of mapping.driverPins)
          digest.add((frame * 16 + index) * 16 + references);
      for (let i = 0; i < mapping.pages; i++) {
        digest.add((mapping.mapped.test(i) ? 1 : 0) | (mapping.dirty?.test(i) ? 2 : 0));
      }
      mapping = type1.mappings.after(mapping);
    }
    for (let i = 0; i < this.programs.length; i++) {
      const { mm } = this.programs[i]!;
      digest.add(mm.notifierCount);
      digest.add(mm.lockedPages);
    }
    digest.add(this.memory.pinned);
  }

  private addDevice(device: IommuDevice, index: number): void {
    const { digest } = this;
    const { handlers, queue } = device;
    digest.add(
      (device.iopfEnabled ? 1 : 0) |
        (device.domain === null ? 2 : 0) |
        (this.handlerKind(handlers.flat) << 2) |
        (this.handlerKind(handlers.stage1) << 4) |
        (this.handlerKind(handlers.stage2) << 6),
    );
    digest.add(device.handlersInside * 4096 + queue.pendingCount * 64 + queue.partialCount);
    queue.addTo(digest);
    const faults = this.devices[index]!.faultQueue;
    if (faults !== null) digest.add(faults.unread * 64 + faults.unanswered + 1);
    for (let page = IOVA; page < IOVA + this.pages; page++) {
      digest.add(device.iotlb.lookup(page, READ) * 4096 + device.iotlb.lookup(page, WRITE));
    }
  }

  private handlerKind(handler: DeviceFaultHandler | null): number {
    if (handler === null) return 0;
    return handler === this.type1.iopf!.handler ? 1 : handler === foreignHandler ? 2 : 3;
  }

  private isAttachedAtFirst(group: VfioGroup): boolean {
    return this.specs.every((spec, i) => (spec.group ?? i + 1) !== group.number || (spec.attached ?? true));
  }

  private makeDevices(): void {
    this.devices = [];
    this.handled.length = 0;
    this.groups = [];
    for (let i = 0; i < this.specs.length; i++) {
      const spec = this.specs[i]!;
      const iommu = new this.parts.IommuDevice({
        address: `0000:00:0${i + 1}.0`,
        canFault: spec.canFault ?? true,
        counters: this.counters,
        observer: this,
        iotlbEntries: IOTLB_ENTRIES,
        limits: { pendingGroups: spec.pendingGroups ?? 8, partialRequests: 8 },
      });
      this.devices.push(new Device(this, iommu));
      const number = spec.group ?? i + 1;
      let group = this.groups.find((at) => at.number === number);
      if (group === undefined) {
        group = new VfioGroup(new IommuGroup(number), this.geometries[i]!, this.machine, NO_BUS, []);
        this.groups.push(group);
      }
      group.iommuGroup.add(iommu);
    }
  }

  private takeDomain(geometry: IommuGeometry): Domain {
    const pool = this.domains.get(geometry)!;
    if (pool.used === pool.all.length) pool.all.push(new this.parts.Domain(pool.options));
    return pool.all[pool.used++]!;
  }
}

export const GONE = 'no access goes through a translation of a page that is gone';
export const ONCE = 'every page request is answered exactly once';
export const DIRTY = 'a page that was written is reported dirty, and no other';

function accessText(access: number): string {
  return (access & WRITE) !== 0 ? 'a write' : 'a read';
}
