/**
 * What devices asked for, were answered and wrote, noted beside the container to be held against
 * what it says.
 */

import type { IoSpace } from '../../ioas/io-space.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { Counters, ObservedDevice, Observer } from '../../iommu/observer.js';
import { PageResponse } from '../../iommu/page-request.js';
import { WRITE } from '../../mm/address-space.js';
import { type SimulatedMemory, ZERO_FRAME } from '../../mm/simulated-memory.js';
import type { Type1 } from '../../vfio/type1/type1.js';
import type { Digest } from '../world/digest.js';
import type { Iommufd } from '../world/iommufd.js';
import { accessName, hex, IOVA, Side } from '../world/operation.js';
import type { ProgramSpace } from '../world/program-actor.js';
import type { StepNotes } from '../world/step-notes.js';
import type { DeviceSpec } from '../world/world-options.js';
import { Invariant, violated } from './violation.js';

/** What a ledger is held against: `World`. */
interface Audited {
  readonly type1: Type1;
  readonly space: IoSpace;
  readonly memory: SimulatedMemory;
  readonly counters: Counters;
  readonly notes: StepNotes;
  readonly devices: readonly { readonly iommu: IommuDevice }[];
  readonly specs: readonly DeviceSpec[];
  readonly pages: number;
  readonly iommufd: Iommufd | null;
  numberOf(device: ObservedDevice): number;
}

export class Ledger implements Observer {
  /** Static pins were there: their pages count as written where the dirty log meets them. */
  everPinned = false;
  /** Requests that were reported and are not answered: device, PASID and group id as one number. */
  readonly requests: number[] = [];
  /** By device: it has had a handler. */
  readonly handled: boolean[];
  /**
   * By IOVA page of the scenario: written by a device since the last report, and asked to be
   * written.
   */
  readonly written: Uint8Array;
  readonly writeAsked: Uint8Array;
  /** Accesses that are under way, by IOVA page. */
  private readonly writesUnderWay: Uint8Array;
  /** The request that the step at hand has reported last, or -1. */
  private askedNow = -1;
  /** Refusals that the last step may answer without a pending request. */
  private refusedSeen = 0;

  constructor(private readonly world: Audited) {
    const { pages, specs } = world;
    this.handled = specs.map(() => false);
    this.written = new Uint8Array(pages);
    this.writeAsked = new Uint8Array(pages);
    this.writesUnderWay = new Uint8Array(pages);
  }

  /** A device's access got through to a frame: the frame must be what the program has there now. */
  reached(device: IommuDevice, iovaPage: number, access: number, frame: number): void {
    const { type1, memory, iommufd } = this.world;
    const space = iommufd?.tableOf(device)?.ioas.space ?? this.world.space;
    this.world.notes.accessed |= Side.MEMORY;
    const mapping = space.mappings.covering(iovaPage);
    if (mapping === null) gone(device, iovaPage, access, 'went through where nothing is mapped');
    if (frame !== ZERO_FRAME && !memory.isOwned(frame))
      gone(device, iovaPage, access, 'reached a frame that was freed');
    const page = mapping.vaddrPage + iovaPage - mapping.iovaPage;
    const isHeld = mapping.pinned || mapping.driverPins?.pages.test(iovaPage - mapping.iovaPage);
    if (!isHeld && (mapping.mm as ProgramSpace).frameAt(page) !== frame)
      gone(device, iovaPage, access, 'reached a frame that the program has no more');
    if ((access & WRITE) === 0) return;
    if (type1.log !== null) this.written[iovaPage - IOVA] = 1;
    iommufd?.wrote(device, iovaPage);
  }

  asked(iovaPage: number, access: number, device: IommuDevice | null = null): void {
    if ((access & WRITE) === 0) return;
    if (device !== null) this.world.iommufd?.writeAsked(device, iovaPage);
    this.writesUnderWay[iovaPage - IOVA]!++;
    this.writeAsked[iovaPage - IOVA] = 1;
  }

  answered(iovaPage: number, access: number): void {
    if ((access & WRITE) !== 0) this.writesUnderWay[iovaPage - IOVA]!--;
  }

  /** The bitmap that a program got says what was written since the last one. */
  dirtyReported(bitmap: Uint8Array): void {
    const { pages, space } = this.world;
    for (let page = 0; page < pages; page++) {
      const mapping = space.mappings.covering(IOVA + page);
      if (mapping === null || mapping.pinned) continue;
      const reported = (bitmap[page >>> 3]! & (1 << (page & 7))) !== 0;
      if (this.written[page] !== 0 && !reported)
        violated(Invariant.DIRTY, 'R6.3', `page ${page} was written and is not reported`);
      this.written[page] = 0;
      this.writeAsked[page] = this.writesUnderWay[page] !== 0 ? 1 : 0;
    }
  }

  map(): void {}

  unmap(): void {}

  pageRequest(
    device: ObservedDevice,
    _page: number,
    _access: number,
    pasid: number,
    group: number,
    last: boolean,
  ): void {
    if (!last) return;
    // A device may use an id that is pending; then it gets as many answers.
    const name = this.requestName(device, pasid, group);
    this.requests.push(name);
    this.askedNow = name;
  }

  pageResponse(device: ObservedDevice, pasid: number, group: number, code: number): void {
    this.world.iommufd?.requestAnswered(device, code);
    const name = this.requestName(device, pasid, group);
    if (code === PageResponse.INVALID && this.world.counters.faultsRefused > this.refusedSeen) {
      this.refusedSeen++;
      // What was refused before it counted as reported is no request; another may be pending under
      // its name.
      if (name !== this.askedNow) return;
    }
    const { requests } = this;
    const open = requests.indexOf(name);
    if (open >= 0) {
      const last = requests.pop()!;
      if (open < requests.length) requests[open] = last;
      return;
    }
    violated(
      Invariant.ONCE,
      'R1.4',
      `group ${group} of ${device.address} is answered and nobody waits for it`,
    );
  }

  /** A step is over: what it refused has been answered. */
  stepDone(): void {
    const { counters, devices } = this.world;
    if (counters.pinnedPages !== 0) this.everPinned = true;
    for (let i = 0; i < devices.length; i++) {
      const { handlers } = devices[i]!.iommu;
      if (handlers.flat !== null || handlers.stage2 !== null) this.handled[i] = true;
    }
    this.refusedSeen = counters.faultsRefused;
    this.askedNow = -1;
  }

  addTo(digest: Digest): void {
    digest.add(this.requests.length * 2 + (this.everPinned ? 1 : 0));
    for (let page = 0; page < this.written.length; page++) {
      digest.add(this.written[page]! + this.writeAsked[page]! * 2 + this.writesUnderWay[page]! * 4);
    }
  }

  /** Device, PASID and group id as one number. */
  private requestName(device: ObservedDevice, pasid: number, group: number): number {
    return (this.world.numberOf(device) * 0x100000 + pasid + 1) * 512 + group;
  }
}

function gone(device: IommuDevice, iovaPage: number, access: number, what: string): never {
  const at = `a ${accessName(access)} of ${device.address} at IOVA page ${hex(iovaPage)}`;
  violated(Invariant.GONE, 'R3.3', `${at} ${what}`);
}
