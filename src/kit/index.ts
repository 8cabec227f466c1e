/** The kit to write a device with: `iopf/device`. */
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
