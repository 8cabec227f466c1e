/**
 * A container or an IOAS in this process, over simulated memory or an embedder's own: to learn how
 * I/O page faults go, and to embed the engine: `iopf/engine`.
 *
 * ```ts
 * import { createContainer } from 'iopf/engine';
 * const container = createContainer({ onEvent: (event) => console.log(event) });
 * const { device, program } = container;
 * program.mmap(0x10000000, 0x10000);
 * container.map({ iova: 0x100000, vaddr: 0x10000000, size: 0x10000 });
 * device.write(0x100000, Buffer.from('hello')); // a page request, which brings the page in
 * console.log(Buffer.from(program.read(0x10000000, 5)).toString());
 * program.discard(0x10000000, 0x10000); // an invalidation: the device finds nothing
 * device.read(0x100000, 5); // the next page request
 * console.log(container.counters().faults); // 2
 * container.close();
 * ```
 *
 * Linux's errno comes as an `EngineError`. With memory of your own, `checkAddressSpace` says
 * whether it keeps to what the engine asks of it.
 */
export {
  type AddressSpace,
  type MappedWalk,
  type MmuNotifier,
  READ,
  WRITE,
} from '../mm/address-space.js';
export {
  type CheckAddressSpaceOptions,
  checkAddressSpace,
} from './check/check-address-space.js';
export type { SpaceUnderTest } from './check/space-bench.js';
export { createContainer } from './container.js';
export type { Dma, Frames } from './dma.js';
export type {
  EmbeddedOptions,
  Engine,
  EngineCounters,
  EngineOptions,
  MapRequest,
  SimulatedEngine,
} from './engine.js';
export { EngineError } from './engine-error.js';
export type { EngineEvent } from './events.js';
export { createIoas } from './ioas.js';
export type { Program, ProgramOptions } from './program.js';
