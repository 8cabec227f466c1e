/**
 * The protocol that was posted as v3 of the series, one step at a time: each variant is the shipped
 * code with the one step that the review took apart as it was posted (../data/rfc-v3-patch-5.txt
 * and the rows of docs/series.md; told, not copied).
 */
import { type Flow, FlowLock, step } from '../../flow/flow.js';
import type { IopfBackend } from '../../ioas/iopf/backend.js';
import { EnabledDevices } from '../../ioas/iopf/enabled-devices.js';
import { Iopf, type IopfOptions, type IopfParts } from '../../ioas/iopf/iopf.js';
import { PageIn } from '../../ioas/iopf/page-in.js';
import { ResidentPages } from '../../ioas/iopf/resident.js';
import type { Mapping } from '../../ioas/mapping.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { Fault, ReportResult } from '../../iommu/page-request.js';
import { FaultReport } from '../../iommu/page-request.js';
import { PageRequestQueue } from '../../iommu/page-request-queue.js';
import { PageRequests } from '../../iommu/page-requests.js';
import { iopfWith, type Variant } from '../world/parts.js';

const FEATURE_ON = step('page requests on');
const HANDLER_OFF = step('handler off');

/** R1.3: the path that refuses a fault returns with the reporting lock held. */
class LostLockRequests extends PageRequests {
  private readonly reporting = new FlowLock('the fault reporting lock');

  override *report(fault: Fault): Flow<ReportResult> {
    yield* this.reporting.acquire();
    if (this.handlers.at(fault.level) !== null) this.reporting.release();
    return yield* super.report(fault);
  }
}

/**
 * R3.2: where an IOMMU removes more than was asked, the invalidation warns and stops, and the bits
 * stay.
 */
class HalfWayResident extends ResidentPages {
  override drop(mapping: Mapping, index: number, count: number): number {
    const { mapped, iovaPage } = mapping;
    const { domains, counters } = this.backend;
    let removed = 0;
    for (let at = mapped.nextSet(index, index + count); at < index + count; ) {
      const stop = mapped.nextClear(at, index + count);
      for (const domain of domains)
        if (domain.unmap(iovaPage + at, stop - at) !== stop - at) return removed;
      removed += mapped.clear(at, stop - at);
      at = mapped.nextSet(stop, index + count);
    }
    counters.addResident(-removed);
    return removed;
  }
}

/** R3.3: a page-in maps what it got, whatever has been invalidated meanwhile. */
class NoRetryPageIn extends PageIn {
  override get isValid(): boolean {
    return true;
  }
}

/** R5.2, up: page requests are on before there is somebody to look up. */
class FeatureFirst extends EnabledDevices {
  override *switchOn(device: IommuDevice): Flow<void> {
    device.enableIopf();
    yield FEATURE_ON;
    try {
      device.handlers.register(this.handler, device.nested ? FaultReport.STAGE2 : FaultReport.FLAT);
    } catch (error) {
      device.disableIopf();
      throw error;
    }
    this.list.push(device);
  }
}

/** R5.2, down: what is looked up goes before page requests are off. */
class LookupFirst extends EnabledDevices {
  override *switchOffAll(devices: readonly IommuDevice[]): Flow<void> {
    for (const device of devices) {
      device.handlers.unregister(this.handler);
      yield HANDLER_OFF;
      device.disableIopf();
      yield* device.drain();
      this.list.splice(this.list.indexOf(device), 1);
    }
  }
}

/**
 * R5.3: roll-back counts how many devices it switched on, and trusts that they are listed in the
 * same order again.
 */
class Counting extends EnabledDevices {
  override *switchOnAll(devices: readonly IommuDevice[]): Flow<void> {
    let count = 0;
    try {
      for (const device of devices) {
        yield* this.switchOn(device);
        count++;
      }
    } catch (error) {
      for (const device of this.backend.devices()) {
        if (count-- <= 0) break;
        device.disableIopf();
        device.handlers.flat = null;
        device.handlers.stage2 = null;
        const own = this.list.indexOf(device);
        if (own >= 0) this.list.splice(own, 1);
      }
      throw error;
    }
  }
}

/** R5.6: a device leaves though a handler is at work for it. */
class NoDrain extends EnabledDevices {
  override *switchOffAll(devices: readonly IommuDevice[]): Flow<void> {
    for (const device of devices) {
      device.disableIopf();
      device.handlers.unregister(this.handler);
      this.list.splice(this.list.indexOf(device), 1);
      yield HANDLER_OFF;
    }
  }
}

/** R5.8: ENABLE leaves the pins of what is mapped already. */
function leaking(backend: IopfBackend): IopfBackend {
  return {
    counters: backend.counters,
    domains: backend.domains,
    mappings: backend.mappings,
    logs: backend.logs,
    devices: () => backend.devices(),
    pinMapping: (mapping) => backend.pinMapping(mapping),
    unpinMapping(mapping) {
      mapping.pinned = false;
    },
  };
}

class LeakingIopf extends Iopf {
  constructor(backend: IopfBackend, options: IopfOptions) {
    super(leaking(backend), options);
  }
}

function iopf(row: string, about: string, Class: typeof Iopf): Variant {
  return { name: `rfc-v3/${row.replace(' ', '-')}`, row, about, parts: { Iopf: Class } };
}

function made(row: string, about: string, parts: Partial<IopfParts>): Variant {
  return iopf(row, about, iopfWith(parts));
}

/** The findings of the review, each by itself. */
export const rfcV3: readonly Variant[] = [
  {
    name: 'rfc-v3/R1.3',
    row: 'R1.3',
    about: 'a fault that is refused leaves the reporting lock held',
    parts: {
      requests: (device, limits) => new LostLockRequests(device, new PageRequestQueue(limits)),
    },
  },
  made('R3.2', 'an invalidation that meets a superpage stops half-way', {
    ResidentPages: HalfWayResident,
  }),
  made('R3.3', 'a page-in does not look whether its page was invalidated meanwhile', {
    PageIn: NoRetryPageIn,
  }),
  made('R5.2 up', 'page requests are on before their handler is there', {
    EnabledDevices: FeatureFirst,
  }),
  made('R5.2 down', 'the handler goes before page requests are off', {
    EnabledDevices: LookupFirst,
  }),
  made('R5.3', 'roll-back trusts a counter and the order of devices', {
    EnabledDevices: Counting,
  }),
  made('R5.6', 'detach does not wait for handlers that are inside', { EnabledDevices: NoDrain }),
  iopf('R5.8', 'ENABLE on live mappings leaks their pins', LeakingIopf),
];
