/**
 * The PCI functions of the recorded machine: edu is this project's own, the others are made of
 * their recorded bytes.
 */
import { deviceKinds, type RecordedModel, recordedFunction } from '../device/kinds.js';
import { openModel } from '../exec/machine/model-file.js';
import { packageFile } from '../input/package-file.js';
import { IommuDevice } from '../iommu/device.js';
import { allocatePlain } from '../mm/frame-memory.js';
import type { SimulatedMemory } from '../mm/simulated-memory.js';
import type { PciFunction } from '../vfio/pci-function.js';

/** The file of a recorded device. */
export function deviceFile(name: string): string {
  return packageFile(`models/devices/${name}.yaml`);
}

const models = new Map<string, RecordedModel>();

/**
 * A device of models/devices; `header`: config space from 0 on, where a machine's
 * firmware had put its BARs elsewhere.
 */
export function recorded(
  name: string,
  address: string,
  header: Uint8Array = new Uint8Array(),
): PciFunction {
  const model = models.get(name) ?? openModel(deviceFile(name));
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
