/**
 * The PCI functions of the recorded machine: edu is this project's own, the others are made of
 * their recorded bytes.
 */
import { join } from 'node:path';
import { deviceKinds, type RecordedModel, recordedFunction } from '../../src/device/kinds.js';
import { openModel } from '../../src/exec/machine/model-file.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { allocatePlain } from '../../src/mm/frame-memory.js';
import type { SimulatedMemory } from '../../src/mm/simulated-memory.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';

/** Where the recorded devices lie, seen from the project's root. */
export const DEVICES = 'test/conformance/devices';

const models = new Map<string, RecordedModel>();

/**
 * A device of test/conformance/devices; `header`: config space from 0 on, where a machine's
 * firmware had put its BARs elsewhere.
 */
export function recorded(
  name: string,
  address: string,
  header: Uint8Array = new Uint8Array(),
): PciFunction {
  const model = models.get(name) ?? openModel(join(DEVICES, `${name}.yaml`));
  models.set(name, model);
  const config = model.config.slice();
  config.set(header);
  return recordedFunction({ ...model, config }, address, new IommuDevice({ address }));
}

/** One of this project's own devices. */
export function ownDevice(kind: string, address: string, frames: SimulatedMemory): PciFunction {
  const host = {
    frames,
    allocate: allocatePlain,
    regionMemory: (_index: number, bytes: number) => allocatePlain(bytes),
  };
  // The recorded edu devices reach every address.
  const options: Record<string, string> =
    kind === 'nvme' ? { size: '1M' } : { dma_mask: `${2 ** 53 - 1}` };
  return deviceKinds
    .get(kind)!
    .create(options, { address, iommu: new IommuDevice({ address }), host });
}
