/**
 * The devices whose page requests a space answers. Order, everywhere (R5.2): up, handler then
 * feature; down, feature off, drain, handler off.
 */
import { type Flow, step } from '../../flow/flow.js';
import type { IommuDevice } from '../../iommu/device.js';
import { type DeviceFaultHandler, FaultReport } from '../../iommu/page-request.js';
import type { IopfBackend } from './backend.js';

const HANDLER_ON = step('handler registered');
const FEATURE_ON = step('page requests on');
const FEATURE_OFF = step('page requests off');
const HANDLER_OFF = step('handler off');

export class EnabledDevices {
  /** Those that this space switched on, and no others (R5.3). */
  readonly list: IommuDevice[] = [];

  constructor(
    readonly backend: IopfBackend,
    readonly handler: DeviceFaultHandler,
  ) {}

  /**
   * Switches devices on one after another; where one fails, exactly those that this call switched
   * on go off (R5.3).
   */
  *switchOnAll(devices: readonly IommuDevice[]): Flow<void> {
    const switchedOn: IommuDevice[] = [];
    try {
      for (const device of devices) {
        yield* this.switchOn(device);
        switchedOn.push(device);
      }
    } catch (error) {
      yield* this.switchOffAll(switchedOn);
      throw error;
    }
  }

  /** Switches one on. EBUSY, ENODEV: it is as it was. */
  *switchOn(device: IommuDevice): Flow<void> {
    const handlers = device.handlers;
    handlers.register(this.handler, device.nested ? FaultReport.STAGE2 : FaultReport.FLAT);
    try {
      yield HANDLER_ON;
      device.enableIopf();
    } catch (error) {
      handlers.unregister(this.handler);
      throw error;
    }
    this.list.push(device);
    yield FEATURE_ON;
  }

  /** A device has come or gone with page requests on, and with its handler. */
  moved(device: IommuDevice, isHere: boolean): void {
    const { list } = this;
    if (isHere) list.push(device);
    else if (list.includes(device)) list.splice(list.indexOf(device), 1);
  }

  /** Switches devices off, the last first; each has no request and no handler inside at its end. */
  *switchOffAll(devices: readonly IommuDevice[]): Flow<void> {
    for (let i = devices.length - 1; i >= 0; i--) {
      const device = devices[i]!;
      device.disableIopf();
      yield FEATURE_OFF;
      yield* device.drain();
      device.handlers.unregister(this.handler);
      this.list.splice(this.list.indexOf(device), 1);
      yield HANDLER_OFF;
    }
  }
}
