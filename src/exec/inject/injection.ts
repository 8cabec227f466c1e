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

export class Injection {
  private readonly plan: Plan;

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
    return deviceFaults(this.plan, iommu, this.nowMs);
  }

  /** The function, or one in its place that has faults. `memories`: of its mappable regions. */
  functionFor(made: PciFunction, memories: readonly DmaBuffer[]): PciFunction {
    return faultyFunction(this.plan, made, memories);
  }

  looks(context: CallContext): FirstLooks {
    return faultyCalls(this.plan, context);
  }

  get injected(): Injected[] {
    return this.plan.injected;
  }
}
