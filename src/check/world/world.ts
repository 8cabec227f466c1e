/**
 * What a run is about: a container with its devices, its programs and their memory, made of shipped
 * parts.
 */

import { DEFAULT_KERNEL, kernelProfile } from '../../abi/kernel.js';
import { runDirect } from '../../flow/direct.js';
import type { Flow } from '../../flow/flow.js';
import type { IoSpace } from '../../ioas/io-space.js';
import { defaultGeometry, type IommuProperties } from '../../iommu/geometry.js';
import { IommuGroup } from '../../iommu/group.js';
import { Counters, type ObservedDevice } from '../../iommu/observer.js';
import { FaultReport } from '../../iommu/page-request.js';
import { UserLocks } from '../../iommufd/locked-memory.js';
import { READ, WRITE } from '../../mm/address-space.js';
import { SimulatedMemory } from '../../mm/simulated-memory.js';
import type { MachineState } from '../../vfio/machine-state.js';
import { Type1 } from '../../vfio/type1/type1.js';
import { Ledger } from '../verify/ledger.js';
import { Checkpoint } from './checkpoint.js';
import { Device, Guest } from './device-actor.js';
import { DomainPool } from './domain-pool.js';
import { Driver } from './driver-actor.js';
import { Fingerprint } from './fingerprint.js';
import { FirstStage } from './first-stage.js';
import { foreignHandler } from './foreign-handler.js';
import { Host } from './host-actor.js';
import { Iommufd } from './iommufd.js';
import { checkWhole, groupOf, VADDR } from './operation.js';
import type { Parts } from './parts.js';
import { Program, ProgramSpace } from './program-actor.js';
import type { ScenarioWorld } from './scenario-world.js';
import { StepNotes } from './step-notes.js';
import { DEFAULT_PAGES, type DeviceSpec, type WorldOptions } from './world-options.js';

const IOTLB_ENTRIES = 8;
const RW = READ | WRITE;

export class World implements ScenarioWorld {
  readonly memory = new SimulatedMemory();
  readonly counters = new Counters();
  readonly programs: Program[] = [];
  readonly devices: Device[] = [];
  readonly groups: IommuGroup[] = [];
  readonly type1: Type1;
  readonly space: IoSpace;
  readonly host: Host;
  readonly pages: number;
  readonly specs: readonly DeviceSpec[];
  readonly ledger: Ledger;
  readonly fingerprint: Fingerprint;
  readonly notes: StepNotes;
  /** Groups that are in the container, or on their way in or out. */
  readonly inContainer = new Set<IommuGroup>();
  /** Groups on their way in or out of the container: their devices are half on. */
  changingGroups = 0;
  closed = false;
  readonly drivers: Driver[] = [];
  readonly firstStages: FirstStage[] = [];
  /** Null: the devices are in a container. */
  readonly iommufd: Iommufd | null;
  private readonly machine: MachineState;
  private readonly geometries: readonly IommuProperties[];
  private readonly domains: DomainPool;

  /** Memory is mapped and written, devices are attached, IOPF is on where asked. */
  constructor(
    private readonly options: WorldOptions,
    private readonly parts: Parts,
  ) {
    this.pages = options.pages ?? DEFAULT_PAGES;
    this.specs = options.devices ?? [{}];
    parts.watch?.begin();
    const fingerprint = new Fingerprint(this, parts.watch);
    this.fingerprint = fingerprint;
    this.notes = new StepNotes(() => fingerprint.ofContainer());
    this.host = new Host(this.programs, this.groups);
    this.memory.limitFrames = options.frames ?? Number.POSITIVE_INFINITY;
    this.makePrograms();
    this.domains = new DomainPool(parts.Domain);
    this.geometries = this.makeGeometries();
    this.machine = {
      geometry: defaultGeometry,
      kernel: kernelProfile(options.iommufd === undefined ? DEFAULT_KERNEL : '7.2'),
      iopf: options.iommufd ?? 'ask',
      premapPages: options.premapPages ?? 1,
      dmaEntryLimit: 16,
      allowUnsafeInterrupts: false,
      type1Module: true,
      testInterface: null,
      tables: null,
      userLocks: new UserLocks(),
      compatContainer: false,
      engine: {
        space: (made) => new parts.IoSpace(made, parts),
        domain: ({ geometry }) => this.domains.take(geometry),
      },
      counters: this.counters,
      observer: null,
      premap: null,
    };
    this.ledger = new Ledger(this);
    this.type1 = new Type1(this.machine, 2);
    this.space = this.type1.space;
    this.makeDevices();
    this.iommufd = options.iommufd === undefined ? null : new Iommufd(this, this.machine);
    if (this.iommufd !== null) return;
    for (const group of this.groups)
      if (this.isAttachedAtFirst(group)) runDirect(this.attach(group));
    if (options.enabled ?? true) runDirect(this.space.iopf.enable());
  }

  /** Pages that programs lock count against a limit. */
  get isLimited(): boolean {
    return this.options.lockLimitPages !== undefined;
  }

  /** The driver of a group's devices, there from its first use on. */
  driver(group: number): Driver {
    const found = this.group(group);
    const known = this.drivers.find((each) => each.drives(group));
    if (known !== undefined) return known;
    const driver = new Driver(this.notes, this.space.pins, found, this.pages);
    this.drivers.push(driver);
    return driver;
  }

  /** The first stage before a device, there from its first use on. */
  firstStage(device: number): FirstStage {
    this.checkDevice(device);
    this.firstStages[device] ??= new FirstStage(this, this.devices[device]!);
    return this.firstStages[device];
  }

  /** Remembers how everything is now; what is returned puts it back. */
  checkpoint(): () => void {
    const { machine, options, parts, fingerprint, domains } = this;
    domains.keep();
    const { faultLatency } = this.counters;
    const constants: object[] = [
      machine,
      options,
      parts,
      fingerprint,
      domains,
      faultLatency,
      ...this.geometries,
    ];
    // Written before each call that reads it.
    for (const { mm } of this.programs) constants.push(mm.argument);
    const checkpoint = new Checkpoint(this, constants);
    return () => {
      domains.rewind();
      checkpoint.restore();
    };
  }

  /** The guest above a device. */
  guest(device: number): Guest {
    this.checkDevice(device);
    return new Guest(this.notes, this.devices[device]!);
  }

  /** The place of a device among those of the scenario. */
  numberOf(device: ObservedDevice): number {
    const { devices } = this;
    let number = 0;
    while (devices[number]!.iommu !== device) number++;
    return number;
  }

  /** Throws `ScenarioMistake` where there is none. */
  group(number: number): IommuGroup {
    return groupOf(this.groups, number);
  }

  *attach(group: IommuGroup): Flow<void> {
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

  *detach(group: IommuGroup): Flow<void> {
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
    this.iommufd?.close();
    for (const group of this.inContainer) yield* this.detach(group);
    yield* this.space.iopf.release();
    this.closed = true;
  }

  /** Somebody else has a device's page requests. */
  takeElsewhere(device: Device): void {
    const wants = device.iommu.nested ? FaultReport.STAGE2 : FaultReport.FLAT;
    device.iommu.handlers.register(foreignHandler, wants);
    device.iommu.enableIopf();
  }

  private checkDevice(number: number): void {
    checkWhole('number of a device', number, 0, this.devices.length - 1);
  }

  private makePrograms(): void {
    const { options, pages } = this;
    for (let id = 0; id < (options.processes ?? 1); id++) {
      const mm = new ProgramSpace(this.notes, this.memory, {
        id,
        swapInWaits: options.swapInWaits ?? false,
        ipcLock: options.lockLimitPages === undefined,
        lockLimitPages: options.lockLimitPages ?? Number.POSITIVE_INFINITY,
      });
      mm.mmap(VADDR, pages, { kind: options.hugePages ? 'hugetlb' : 'anon', protection: RW });
      mm.fillPages(VADDR, pages, 1);
      this.programs.push(new Program(this, mm));
    }
  }

  private makeGeometries(): IommuProperties[] {
    const plain: IommuProperties = { ...defaultGeometry, reserved: [] };
    return this.specs.map((spec, i) => {
      const own = spec.ownDomain || spec.nested || spec.merges;
      const geometry = own ? { ...plain, addressWidth: 47 - i } : plain;
      this.domains.add(geometry, {
        geometry,
        nested: spec.nested ?? false,
        merges: spec.merges ?? false,
      });
      return geometry;
    });
  }

  private makeDevices(): void {
    this.specs.forEach((spec, i) => {
      const limits = { pendingGroups: spec.pendingGroups ?? 8, partialRequests: 8 };
      const iommu = new this.parts.IommuDevice({
        address: `0000:00:0${i + 1}.0`,
        canFault: spec.canFault ?? true,
        counters: this.counters,
        observer: this.ledger,
        stalls: true,
        iotlbEntries: IOTLB_ENTRIES,
        requests: (device) => this.parts.requests(device, limits),
      });
      this.devices.push(new Device(this.notes, this.ledger, iommu));
      const number = spec.group ?? i + 1;
      let group = this.groups.find((at) => at.number === number);
      if (group === undefined) {
        group = new IommuGroup(number, this.geometries[i]!);
        this.groups.push(group);
      }
      group.add(iommu);
    });
  }

  private isAttachedAtFirst(group: IommuGroup): boolean {
    return this.specs.every(
      (spec, i) => (spec.group ?? i + 1) !== group.number || (spec.attached ?? true),
    );
  }
}
