/**
 * Scenarios and variants for `iopf check`, and the check itself for test suites: `iopf/check`.
 *
 * ```ts
 * import { explore, type Scenario } from 'iopf/check';
 * const mine: Scenario = {
 *   name: 'mine', about: 'a device writes what the host discards', rows: ['R3.1'],
 *   setup: (world) => world.programs[0]!.map(0, 1),
 *   actors: {
 *     device: (world) => world.devices[0]!.write(0),
 *     host: (world) => world.host.discard(0),
 *   },
 * };
 * const { exhaustive, orders, violation } = explore(mine);
 * console.log(`${orders} orders, every one: ${exhaustive}`, violation?.text ?? 'nothing broken');
 * ```
 *
 * A variant replaces a class of the engine by a subclass; what its methods take and return is the
 * engine's, and changes with it: docs/api.md shows each change.
 */
export { type Flow, FlowLock, step, type Wait } from '../../flow/flow.js';
export { DriverPinning } from '../../ioas/driver-pins.js';
export { IoSpace } from '../../ioas/io-space.js';
export { EnabledDevices } from '../../ioas/iopf/enabled-devices.js';
export { Iopf } from '../../ioas/iopf/iopf.js';
export { PageIn } from '../../ioas/iopf/page-in.js';
export { ResidentPages } from '../../ioas/iopf/resident.js';
export type { Mapping } from '../../ioas/mapping.js';
export { IommuDevice } from '../../iommu/device.js';
export { Domain } from '../../iommu/domain.js';
export { PageRequestQueue } from '../../iommu/page-request-queue.js';
export { PageRequests } from '../../iommu/page-requests.js';
export { READ, WRITE } from '../../mm/address-space.js';
export { iopfWith, type Variant, type VariantParts } from '../world/parts.js';
export type {
  MapOptions,
  ScenarioDevice,
  ScenarioDriver,
  ScenarioFirstStage,
  ScenarioGuest,
  ScenarioHost,
  ScenarioIommufd,
  ScenarioProgram,
  ScenarioWorld,
  Size,
} from '../world/scenario-world.js';
export type { DeviceSpec, WorldOptions } from '../world/world-options.js';
export { type Exploration, type ExploredStep, type ExploreOptions, explore } from './explore.js';
export { operation, type Scenario } from './scenario.js';
