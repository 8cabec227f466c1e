/**
 * Small mistakes in iopf's code, at least one for each invariant. The checker must find every one,
 * or it sees nothing.
 */

import type { Parts } from '../../src/check/world/parts.js';
import { iopfWith } from '../../src/check/world/parts.js';
import { type Flow, step } from '../../src/flow/flow.js';
import { noteWritten } from '../../src/ioas/dirty-log.js';
import { DriverPinning } from '../../src/ioas/driver-pins.js';
import { IoSpace } from '../../src/ioas/io-space.js';
import { EnabledDevices } from '../../src/ioas/iopf/enabled-devices.js';
import { Iopf, type IopfParts } from '../../src/ioas/iopf/iopf.js';
import { PageIn } from '../../src/ioas/iopf/page-in.js';
import { ResidentPages } from '../../src/ioas/iopf/resident.js';
import type { Mapping } from '../../src/ioas/mapping.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Domain } from '../../src/iommu/domain.js';
import { PageResponse, type PageResponseCode } from '../../src/iommu/page-request.js';
import { PageRequestQueue } from '../../src/iommu/page-request-queue.js';
import { PageRequests } from '../../src/iommu/page-requests.js';
import { READ, WRITE } from '../../src/mm/address-space.js';

export interface Canary {
  readonly about: string;
  /** A part of the invariant that must be broken. */
  readonly invariant: string;
  readonly parts: Partial<Parts>;
}

function withIopf(IopfClass: typeof Iopf): Partial<Parts> {
  return { Iopf: IopfClass };
}

function withParts(parts: Partial<IopfParts>): Partial<Parts> {
  return withIopf(iopfWith(parts));
}

function withResident(Resident: typeof ResidentPages): Partial<Parts> {
  return withParts({ ResidentPages: Resident });
}

export function withRequests(
  Queue: typeof PageRequestQueue,
  Requests = PageRequests,
): Partial<Parts> {
  return { requests: (device, limits) => new Requests(device, new Queue(limits)) };
}

function withPinning(Pinning: typeof DriverPinning): Partial<Parts> {
  return { DriverPinning: Pinning };
}

const BETWEEN = step('between');

export const canaries: readonly Canary[] = [
  {
    about: 'a page-in forgets to look at the sequence count',
    invariant: 'a page that is gone',
    parts: withParts({
      PageIn: class extends PageIn {
        override get isValid(): boolean {
          return this.handler.mappingFor(this.mapping.iovaPage + this.index, READ) === this.mapping;
        }
      },
    }),
  },
  {
    about: 'an invalidation leaves its last page',
    invariant: 'a page that is gone',
    parts: withResident(
      class extends ResidentPages {
        override drop(mapping: Mapping, index: number, count: number): number {
          return super.drop(
            mapping,
            index,
            count > 1 ? count - 1 : count === mapping.pages ? count : 0,
          );
        }
      },
    ),
  },
  {
    about: 'unmapping forgets the IOTLBs',
    invariant: 'say the same',
    parts: {
      Domain: class extends Domain {
        override flush(): void {}
      },
    },
  },
  {
    about: 'the bits of what went are kept',
    invariant: 'say the same',
    parts: withResident(
      class extends ResidentPages {
        override drop({ iovaPage }: Mapping, index: number, count: number): number {
          for (const domain of this.backend.domains) domain.unmap(iovaPage + index, count);
          return 0;
        }
      },
    ),
  },
  {
    about: 'a request that waited for another page-in gets no answer',
    invariant: 'answered exactly once',
    parts: withRequests(
      class extends PageRequestQueue {
        override addPending(): void {}
      },
    ),
  },
  {
    about: 'a request is answered twice',
    invariant: 'answered exactly once',
    parts: withRequests(
      PageRequestQueue,
      class extends PageRequests {
        override respond(pasid: number, group: number, code: PageResponseCode): void {
          const pending = this.queue.pendingGroups.find((each) => each.group === group)!;
          super.respond(pasid, group, code);
          if (code !== PageResponse.SUCCESS) return;
          this.queue.addPending(pending);
          super.respond(pasid, group, code);
        }
      },
    ),
  },
  {
    about: 'a request that is refused is answered twice',
    invariant: 'answered exactly once',
    parts: withRequests(
      PageRequestQueue,
      class extends PageRequests {
        override respond(pasid: number, group: number, code: PageResponseCode): void {
          const pending = this.queue.pendingGroups.find((each) => each.group === group)!;
          super.respond(pasid, group, code);
          if (code !== PageResponse.INVALID) return;
          this.queue.addPending(pending);
          super.respond(pasid, group, code);
        }
      },
    ),
  },
  {
    about: 'a handler answers whoever has its group id now, after a reset',
    invariant: 'no assertion',
    parts: withRequests(
      class extends PageRequestQueue {
        override isStillPending(): boolean {
          return true;
        }
      },
    ),
  },
  {
    about: 'unmapping a pinned mapping forgets its account',
    invariant: 'the account is what is pinned',
    parts: {
      IoSpace: class extends IoSpace {
        override unpinMapping(mapping: Mapping): void {
          const { mm } = mapping;
          const { lockedPages } = mapping.source;
          super.unpinMapping(mapping);
          mm.accountLocked(lockedPages);
        }
      },
    },
  },
  {
    about: 'release keeps its notifier',
    invariant: 'the account is what is pinned',
    parts: withIopf(
      class extends Iopf {
        override mappingRemoved(mapping: Mapping): void {
          super.mappingRemoved(mapping);
          mapping.mm.subscribe({ invalidate: () => {}, release: () => {} });
        }
      },
    ),
  },
  {
    about: 'the feature goes on before its handler',
    invariant: 'their handler is there',
    parts: withParts({
      EnabledDevices: class extends EnabledDevices {
        override *switchOn(device: IommuDevice): Flow<void> {
          device.enableIopf();
          yield BETWEEN;
          device.disableIopf();
          yield* super.switchOn(device);
        }
      },
    }),
  },
  {
    about: 'a failed ENABLE leaves on what it has switched on',
    invariant: 'a call that fails changes nothing',
    parts: withParts({
      EnabledDevices: class extends EnabledDevices {
        override *switchOnAll(devices: readonly IommuDevice[]): Flow<void> {
          for (const device of devices) yield* this.switchOn(device);
        }
      },
    }),
  },
  {
    about: 'MAP_DMA that fails leaves a notifier behind',
    invariant: 'a call that fails changes nothing',
    parts: {
      IoSpace: class extends IoSpace {
        override map(mapping: Mapping): void {
          mapping.mm.subscribe({ invalidate: () => {}, release: () => {} });
          super.map(mapping);
        }
      },
    },
  },
  {
    about: 'detach drains before page requests are off',
    invariant: 'nothing is touched after its release',
    parts: withParts({
      EnabledDevices: class extends EnabledDevices {
        override *switchOffAll(devices: readonly IommuDevice[]): Flow<void> {
          for (const device of devices) {
            while (device.busy) yield { what: 'quiet', ready: () => !device.busy };
            yield BETWEEN;
            device.disableIopf();
            device.handlers.unregister(this.handler);
            this.list.splice(this.list.indexOf(device), 1);
          }
        }
      },
    }),
  },
  {
    about: 'a fault grants writing whatever the mapping says',
    invariant: 'no permission is above',
    parts: withResident(
      class extends ResidentPages {
        override add(
          mapping: Mapping,
          index: number,
          frames: Float64Array,
          count: number,
          permission: number,
          faulting: Domain,
        ): void {
          super.add(mapping, index, frames, count, permission | WRITE, faulting);
        }
      },
    ),
  },
  {
    about: 'the dirty log misses writes',
    invariant: 'reported dirty',
    parts: withResident(
      class extends ResidentPages {
        override add(
          mapping: Mapping,
          index: number,
          frames: Float64Array,
          count: number,
          _permission: number,
          faulting: Domain,
        ): void {
          super.add(mapping, index, frames, count, mapping.permission, faulting);
        }
      },
    ),
  },
  {
    about: 'the dirty log reports what was read',
    invariant: 'reported dirty',
    parts: withResident(
      class extends ResidentPages {
        override add(
          mapping: Mapping,
          index: number,
          frames: Float64Array,
          count: number,
          permission: number,
          faulting: Domain,
        ): void {
          super.add(mapping, index, frames, count, permission, faulting);
          noteWritten(this.backend.logs, mapping, index, count, faulting);
        }
      },
    ),
  },
  {
    about: 'a control path is left half-way, with its lock',
    invariant: 'can go on some time',
    parts: withIopf(
      class extends Iopf {
        override *disable(): Flow<void> {
          yield* super.disable();
          this.enable().next();
        }
      },
    ),
  },
  {
    about: 'an invalidation takes pages that a driver has pinned',
    invariant: 'say the same',
    parts: withResident(
      class extends ResidentPages {
        override drop(mapping: Mapping, index: number, count: number): number {
          const { driverPins } = mapping;
          mapping.driverPins = null;
          const removed = super.drop(mapping, index, count);
          mapping.driverPins = driverPins;
          return removed;
        }
      },
    ),
  },
  {
    about: 'a page-in starts again whatever happened',
    invariant: 'somebody gets done',
    parts: withParts({
      PageIn: class extends PageIn {
        override get isValid(): boolean {
          return false;
        }
      },
    }),
  },
  {
    about: 'UNMAP_DMA does not tell the driver whose pins go',
    invariant: 'the account is what is pinned',
    parts: withPinning(
      class extends DriverPinning {
        override unmapping(mapping: Mapping): void {
          mapping.driverPins = null;
        }
      },
    ),
  },
  {
    about: "a driver's pins are missing in a domain that comes later",
    invariant: 'say the same',
    parts: withPinning(
      class extends DriverPinning {
        override mapInto(): void {}
      },
    ),
  },
  {
    about: "a DISABLE that fails loses a driver's pins",
    invariant: 'say the same',
    parts: withPinning(
      class extends DriverPinning {
        override wholePinFailed(): void {}
      },
    ),
  },
  {
    about: 'a page that a driver unpins is unpinned while devices reach it',
    invariant: 'a page that is gone',
    parts: withIopf(
      class extends Iopf {
        override pageUnpinned(): void {}
      },
    ),
  },
  {
    about: 'detaching a first stage leaves its requests to the guest',
    invariant: 'answered exactly once',
    parts: {
      IommuDevice: class extends IommuDevice {
        // biome-ignore lint/correctness/useYield: it does not wait, that is its mistake
        override *detachStage1(): Flow<void> {
          const { stage1 } = this;
          if (stage1 === null) return;
          this.stage1 = null;
          this.handlers.unregister(stage1.queue!);
          this.queue.takeAllPending();
        }
      },
    },
  },
  {
    about: 'a change of the second stage leaves translations that went through both',
    invariant: 'say the same',
    parts: {
      IommuDevice: class extends IommuDevice {
        override flush(iovaPage: number, count: number): void {
          this.iotlb.flush(iovaPage, count);
        }
      },
    },
  },
  {
    about: 'assertions of the checker are heard',
    invariant: 'no assertion',
    parts: {
      Domain: class extends Domain {
        override mapFrames(
          page: number,
          frames: Float64Array,
          count: number,
          permission: number,
        ): void {
          super.map(page, frames[0]!, count, permission);
        }
      },
    },
  },
];
