/** The kit to write a device with. Which kinds there are: kinds.ts. */
export type { AllocateDma, DmaBuffer, FrameMemory } from '../mm/frame-memory.js';
export type { DriverMemory } from '../vfio/pci-function.js';
export { type BlockStore, CHUNK_BYTES, memoryStore } from './block-store.js';
export type { BlockFileOptions, DeviceHost, FrameCapture, NetworkPort } from './device-host.js';
export { DmaPort } from './dma-port.js';
export type { DeviceKind } from './kind.js';
export { DeviceOptions, OptionError, type OptionTable } from './options.js';
export type { BarDescription, CapabilityDescription, PciDescription } from './pci/description.js';
export { type EndpointContext, PciEndpoint } from './pci/endpoint.js';
export type { PciDevice } from './pci/pci-device.js';
export { PinCache } from './pin-cache.js';
