/**
 * The kit to write a device with: `iopf/device`.
 *
 * ```ts
 * import { defineDevice } from 'iopf/device';
 * export const counter = defineDevice({
 *   name: 'counter', summary: 'counts reads', vendor: 0x1234, device: 1, classCode: 0xff0000,
 *   bars: [{ index: 0, size: 4096, registers: [{ name: 'COUNT', offset: 0, rule: 'ro' }] }],
 *   create({ registers }) {
 *     registers.onRead('COUNT', (kept) => {
 *       registers.set('COUNT', kept + 1);
 *       return kept;
 *     });
 *     return {};
 *   },
 * });
 * ```
 */
export type { RegisterRule } from '../device/register-table.js';
export { type CheckDeviceOptions, type CheckDriver, checkDevice } from './check/check-device.js';
export {
  type Area,
  type BarDefinition,
  type DeviceDefinition,
  type DeviceModel,
  defineDevice,
  type OptionDefinition,
  type OptionDefinitions,
  type OptionValues,
  type RegisterDefinition,
} from './definition.js';
export type {
  Device,
  DeviceBuffer,
  DeviceClock,
  DeviceHandlers,
  DeviceInterrupts,
  Dma,
  DmaPiece,
  Registers,
} from './device.js';
export { describeDevice } from './documentation.js';
export type { FaultOf, PointDefinition, PointDefinitions } from './points.js';
