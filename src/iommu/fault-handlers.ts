import { fail } from '../abi/errno.js';
import type { DeviceFaultHandler, FaultLevel } from './page-request.js';
import { FaultReport } from './page-request.js';

const ALL = FaultReport.FLAT | FaultReport.NESTED_L1 | FaultReport.NESTED_L2;

/** The handlers of a device's page tables: one for the only table, or one per stage (R1.2). */
export class FaultHandlers {
  flat: DeviceFaultHandler | null = null;
  stage1: DeviceFaultHandler | null = null;
  stage2: DeviceFaultHandler | null = null;

  /**
   * Registers a handler for what `wants` says (bits of FaultReport). EINVAL: nothing or FLAT
   * together with NESTED is wanted, also where the two come from different handlers; EBUSY: another
   * handler has one of these page tables.
   */
  register(handler: DeviceFaultHandler, wants: number): void {
    const flat = (wants & FaultReport.FLAT) !== 0;
    const nested = (wants & ~FaultReport.FLAT) !== 0;
    if (wants === 0 || (wants & ~ALL) !== 0 || (flat && nested)) fail('EINVAL');
    const stage1 = (wants & FaultReport.NESTED_L1) !== 0;
    const stage2 = (wants & FaultReport.NESTED_L2) !== 0;
    if ((flat && this.flat) || (stage1 && this.stage1) || (stage2 && this.stage2)) fail('EBUSY');
    if ((flat && (this.stage1 || this.stage2)) || (nested && this.flat)) fail('EINVAL');
    if (flat) this.flat = handler;
    if (stage1) this.stage1 = handler;
    if (stage2) this.stage2 = handler;
  }

  /** Takes a handler off the page tables it has; EINVAL where it has none. */
  unregister(handler: DeviceFaultHandler): void {
    if (!this.has(handler)) fail('EINVAL');
    if (this.flat === handler) this.flat = null;
    if (this.stage1 === handler) this.stage1 = null;
    if (this.stage2 === handler) this.stage2 = null;
  }

  has(handler: DeviceFaultHandler): boolean {
    return this.flat === handler || this.stage1 === handler || this.stage2 === handler;
  }

  at(level: FaultLevel): DeviceFaultHandler | null {
    if (level === 'flat') return this.flat;
    return level === 'stage1' ? this.stage1 : this.stage2;
  }
}
