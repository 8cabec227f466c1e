/** Devices: the kinds that exist, and the kit to write another. */
import { edu } from './edu/kind.js';
import type { DeviceKind } from './kind.js';
import { nvme } from './nvme/kind.js';
import { recorded } from './recorded/kind.js';
import { virtioNet } from './virtio-net/kind.js';

export type { DriverMemory } from '../vfio/pci-function.js';
export { type BlockStore, CHUNK_BYTES, memoryStore } from './block-store.js';
export type { BlockFileOptions, DeviceHost, NetworkPort } from './device-host.js';
export { DmaPort } from './dma-port.js';
export type { DeviceKind } from './kind.js';
export { DeviceOptions, OptionError, type OptionTable } from './options.js';
export type { BarDescription, CapabilityDescription, PciDescription } from './pci/description.js';
export { type EndpointContext, PciEndpoint } from './pci/endpoint.js';
export type { PciDevice } from './pci/pci-device.js';
export { PinCache } from './pin-cache.js';
export { type RecordedModel, recordedFunction } from './recorded/function.js';

/** Every kind by its name. */
export const deviceKinds: ReadonlyMap<string, DeviceKind> = new Map(
  [edu, nvme, recorded, virtioNet].map((kind) => [kind.name, kind]),
);
