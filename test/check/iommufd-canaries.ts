/** Small mistakes around an iommufd: its scenarios must find every one. */
import { iopfWith } from '../../src/check/world/parts.js';
import { type Flow, step, type Wait } from '../../src/flow/flow.js';
import { IoSpace } from '../../src/ioas/io-space.js';
import { ResidentPages } from '../../src/ioas/iopf/resident.js';
import type { Mapping } from '../../src/ioas/mapping.js';
import { type Attachment, IommuDevice } from '../../src/iommu/device.js';
import type { Domain } from '../../src/iommu/domain.js';
import { PageResponse } from '../../src/iommu/page-request.js';
import { PageRequestQueue } from '../../src/iommu/page-request-queue.js';
import { PageRequests } from '../../src/iommu/page-requests.js';
import { type Canary, withRequests } from './canaries.js';

const BETWEEN = step('between');

export const iommufdCanaries: readonly Canary[] = [
  {
    about: 'a copy of what is pinned is charged again',
    invariant: 'the account is what is pinned',
    parts: {
      IoSpace: class extends IoSpace {
        override pinMapping(mapping: Mapping): void {
          const { lockedPages } = mapping.source;
          super.pinMapping(mapping);
          if (mapping.source.lockedPages === lockedPages)
            mapping.source.chargeAnyway(mapping.pages);
        }
      },
    },
  },
  {
    about: 'what is outstanding when a device goes is answered twice',
    invariant: 'answered exactly once',
    parts: withRequests(
      PageRequestQueue,
      class extends PageRequests {
        override refuseAll(): void {
          const pending = [...this.queue.pendingGroups];
          super.refuseAll();
          for (const group of pending) this.queue.addPending(group);
          super.refuseAll();
        }
      },
    ),
  },
  {
    about: 'IOPF takes the page requests of a fault queue',
    invariant: 'its program answers',
    parts: {
      IoSpace: class extends IoSpace {
        override *attachDevices(devices: readonly IommuDevice[], to: Attachment): Flow<void> {
          yield* super.attachDevices(devices, to);
          if (to.handler !== null)
            for (const device of devices) device.handlers.flat = this.iopf.handler;
        }
      },
    },
  },
  {
    about: 'a program says INVALID and the device is told SUCCESS',
    invariant: 'its program answers',
    parts: withRequests(
      PageRequestQueue,
      class extends PageRequests {
        override respond(pasid: number, group: number): void {
          super.respond(pasid, group, PageResponse.SUCCESS);
        }
      },
    ),
  },
  {
    about: 'a device that is moved leaves before it enters',
    invariant: 'never without a page table',
    parts: {
      IommuDevice: class extends IommuDevice {
        override *replace(to: Attachment): Flow<void> {
          const { domain } = this;
          this.domain = null;
          this.iotlb.flushAll();
          yield BETWEEN;
          this.domain = domain;
          yield* super.replace(to);
        }
      },
    },
  },
  {
    about: 'a move does not wait for the handlers that it takes the device from',
    invariant: 'say the same',
    parts: withRequests(
      PageRequestQueue,
      class extends PageRequests {
        override departure(): Wait {
          return { what: 'nobody', ready: () => true };
        }
      },
    ),
  },
  {
    about: 'the log of one page table has what was written through another',
    invariant: 'reported dirty',
    parts: {
      Iopf: iopfWith({
        ResidentPages: class extends ResidentPages {
          override add(
            mapping: Mapping,
            index: number,
            frames: Float64Array,
            count: number,
            permission: number,
            faulting: Domain,
          ): void {
            super.add(mapping, index, frames, count, permission, faulting);
            for (const log of this.backend.logs)
              if (log.domain !== faulting) log.of(mapping).set(index, 1);
          }
        },
      }),
    },
  },
];
