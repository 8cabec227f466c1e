/** Faults on purpose in a run: what is put in where the machine and its calls are made. */
import type { DeviceFaults } from '../../device/faults.js';
import { type Injected, Plan } from '../../inject/plan.js';
import type { IommuDevice } from '../../iommu/device.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import type { CallContext, FirstLooks } from '../calls/context.js';
import type { InjectOptions } from '../run/exec-options.js';
import { deviceFaults } from './device-faults.js';
import { faultyCalls } from './faulty-calls.js';
import { faultyFunction } from './faulty-function.js';
import { FaultyLink } from './faulty-link.js';

export class Injection {
  private readonly plan: Plan;
  private readonly links = new Map<string, FaultyLink>();

  /**
   * @param nowMs milliseconds since the run began
   * @param made told of each fault, by the rule as it was written
   */
  constructor(
    { rules, seed }: InjectOptions,
    private readonly nowMs: () => number,
    made: (rule: string) => void,
  ) {
    this.plan = new Plan(rules, seed, nowMs, ({ text }) => made(text));
  }

  deviceFaults(iommu: IommuDevice): DeviceFaults {
    const { links, nowMs, plan } = this;
    const rules = plan.at(['link:down'], iommu.address);
    const link = rules.length === 0 ? null : new FaultyLink(rules, nowMs);
    if (link !== null) links.set(iommu.address, link);
    return deviceFaults(plan, iommu, nowMs, link);
  }

  /** The function, or one in its place that has faults. `memories`: of its mappable regions. */
  functionFor(made: PciFunction, memories: readonly DmaBuffer[]): PciFunction {
    const link = this.links.get(made.address);
    return faultyFunction(this.plan, made, memories, link?.isWatched ? link : null);
  }

  looks(context: CallContext): FirstLooks {
    return faultyCalls(this.plan, context);
  }

  get injected(): Injected[] {
    return this.plan.injected;
  }
}
