import { fail } from '../abi/errno.js';
import type { DeviceFaultHandler, FaultingDevice, FaultLevel } from './page-request.js';
import { FaultReport } from './page-request.js';

const ALL = FaultReport.FLAT | FaultReport.STAGE1 | FaultReport.STAGE2;

/** The handlers of a device's page tables: one for the only table, or one per stage (R1.2). */
export class FaultHandlers {
  flat: DeviceFaultHandler | null = null;
  stage1: DeviceFaultHandler | null = null;
  stage2: DeviceFaultHandler | null = null;

  /** @param device whose page requests they answer */
  constructor(private readonly device: { readonly stalls: boolean }) {}

  /**
   * Registers a handler for what `wants` says (bits of FaultReport). EINVAL: nothing or FLAT
   * together with stages is wanted, also where the two come from different handlers; EBUSY: another
   * handler has one of these page tables; ENODEV: a program answers, and the device cannot stall.
   */
  register(handler: DeviceFaultHandler, wants: number): void {
    const flat = (wants & FaultReport.FLAT) !== 0;
    const nested = (wants & ~FaultReport.FLAT) !== 0;
    if (wants === 0 || (wants & ~ALL) !== 0 || (flat && nested)) fail('EINVAL');
    const stage1 = (wants & FaultReport.STAGE1) !== 0;
    const stage2 = (wants & FaultReport.STAGE2) !== 0;
    if ((flat && this.flat) || (stage1 && this.stage1) || (stage2 && this.stage2)) fail('EBUSY');
    if ((flat && (this.stage1 || this.stage2)) || (nested && this.flat)) fail('EINVAL');
    if (!this.accepts(handler)) fail('ENODEV');
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

  /** Whether the device can wait for a handler's answers. */
  accepts(handler: DeviceFaultHandler): boolean {
    return handler.abandoned === undefined || this.device.stalls;
  }

  /** Whether a program answers page requests at some level. */
  get hasProgram(): boolean {
    return this.isProgram('flat') || this.isProgram('stage1') || this.isProgram('stage2');
  }

  /** Whether a program answers page requests at a level. */
  isProgram(level: FaultLevel): boolean {
    return this.at(level)?.abandoned !== undefined;
  }

  /** The device asks no more: nobody waits for a program any longer. */
  abandon(device: FaultingDevice): void {
    this.flat?.abandoned?.(device);
    this.stage1?.abandoned?.(device);
    this.stage2?.abandoned?.(device);
  }

  has(handler: DeviceFaultHandler): boolean {
    return this.flat === handler || this.stage1 === handler || this.stage2 === handler;
  }

  at(level: FaultLevel): DeviceFaultHandler | null {
    if (level === 'flat') return this.flat;
    return level === 'stage1' ? this.stage1 : this.stage2;
  }
}
