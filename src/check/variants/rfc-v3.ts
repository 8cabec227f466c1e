/**
 * The protocol that was posted as v3 of the series, one step at a time: each variant is the shipped
 * code with the one step that the review took apart as it was posted (../data/rfc-v3-patch-5.txt
 * and the rows of docs/series.md; told, not copied).
 */
import { type Flow, FlowLock, step } from '../../flow/flow.js';
import type { IopfBackend } from '../../ioas/iopf/backend.js';
import { FaultHandler } from '../../ioas/iopf/fault-handler.js';
import { Iopf } from '../../ioas/iopf/iopf.js';
import type { PremapPolicy } from '../../ioas/iopf/premap.js';
import { ResidentPages } from '../../ioas/iopf/resident.js';
import type { Mapping } from '../../ioas/mapping.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { Fault, ReportResult } from '../../iommu/page-request.js';
import { FaultReport } from '../../iommu/page-request.js';
import { PageRequestQueue } from '../../iommu/page-request-queue.js';
import { PageRequests } from '../../iommu/page-requests.js';
import type { Variant } from '../world/parts.js';

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
  protected override dropRun(mapping: Mapping, index: number, end: number): number {
    for (const domain of this.backend.domains) {
      const first = mapping.iovaPage + index;
      if (domain.unmap(first, end - index) !== end - index) return 0;
    }
    return this.clearBits(mapping, mapping.iovaPage + index, mapping.iovaPage + end);
  }
}

/** R3.3: a page-in maps what it got, whatever has been invalidated meanwhile. */
class NoRetryHandler extends FaultHandler {
  protected override mayMap(): boolean {
    return true;
  }
}

/** R5.2, up: page requests are on before there is somebody to look up. */
class FeatureFirstIopf extends Iopf {
  protected override *switchOn(device: IommuDevice): Flow<void> {
    device.enableIopf();
    yield FEATURE_ON;
    try {
      device.handlers.register(this.handler, device.nested ? FaultReport.STAGE2 : FaultReport.FLAT);
    } catch (error) {
      device.disableIopf();
      throw error;
    }
    this.devicesOn.push(device);
  }
}

/** R5.2, down: what is looked up goes before page requests are off. */
class LookupFirstIopf extends Iopf {
  protected override *switchOffAll(devices: readonly IommuDevice[]): Flow<void> {
    for (const device of devices) {
      device.handlers.unregister(this.handler);
      yield HANDLER_OFF;
      device.disableIopf();
      yield* device.drain();
      this.devicesOn.splice(this.devicesOn.indexOf(device), 1);
    }
  }
}

/**
 * R5.3: roll-back counts how many devices it switched on, and trusts that they are listed in the
 * same order again.
 */
class CountingIopf extends Iopf {
  protected override *switchOnAll(devices: readonly IommuDevice[]): Flow<void> {
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
        const own = this.devicesOn.indexOf(device);
        if (own >= 0) this.devicesOn.splice(own, 1);
      }
      throw error;
    }
  }
}

/** R5.6: a device leaves though a handler is at work for it. */
class NoDrainIopf extends Iopf {
  override *devicesDetaching(devices: readonly IommuDevice[]): Flow<void> {
    yield* this.lock.acquire();
    for (const device of devices.filter((each) => this.devicesOn.includes(each))) {
      device.disableIopf();
      device.handlers.unregister(this.handler);
      this.devicesOn.splice(this.devicesOn.indexOf(device), 1);
      yield HANDLER_OFF;
    }
    this.lock.release();
  }
}

/** R5.8: ENABLE leaves the pins of what is mapped already. */
class LeakingIopf extends Iopf {
  protected override adopt(mapping: Mapping): void {
    this.watch(mapping);
    mapping.mapped.set(0, mapping.pages);
    mapping.pinned = false;
  }
}

class ResidentIopf extends Iopf {
  protected override createResident(backend: IopfBackend): ResidentPages {
    return new HalfWayResident(backend);
  }
}

class HandlerIopf extends Iopf {
  protected override createHandler(backend: IopfBackend, premap: PremapPolicy): FaultHandler {
    return new NoRetryHandler(backend, this.resident, premap, this.observer);
  }
}

function iopf(row: string, about: string, IopfClass: typeof Iopf): Variant {
  return {
    name: `rfc-v3/${row.replace(' ', '-')}`,
    row,
    about,
    parts: { Iopf: IopfClass },
  };
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
  iopf('R3.2', 'an invalidation that meets a superpage stops half-way', ResidentIopf),
  iopf('R3.3', 'a page-in does not look whether its page was invalidated meanwhile', HandlerIopf),
  iopf('R5.2 up', 'page requests are on before their handler is there', FeatureFirstIopf),
  iopf('R5.2 down', 'the handler goes before page requests are off', LookupFirstIopf),
  iopf('R5.3', 'roll-back trusts a counter and the order of devices', CountingIopf),
  iopf('R5.6', 'detach does not wait for handlers that are inside', NoDrainIopf),
  iopf('R5.8', 'ENABLE on live mappings leaks their pins', LeakingIopf),
];
