import { stringify } from 'yaml';
import { deviceFile } from '../fixtures.js';
import { hasIommu, recordedGeometry } from '../geometry.js';
import { usesTestInterface, type VectorCase, type VectorFile } from '../vectors.js';

/** The recording's machine for `iopf exec --machine`. */
export function machineFile(file: VectorFile, vectorCase: VectorCase): string {
  const { setup } = vectorCase;
  const { vars = {} } = file.machine;
  const parameters = setup.moduleParams ?? {};
  const limit = setup.dmaEntryLimit ?? parameters['dma_entry_limit'];
  const geometry = recordedGeometry(file);
  const device = (kind: string, name: string, options: Record<string, string> = {}) => ({
    kind,
    address: vars[name]!,
    options,
  });
  // The recorded edu devices reach every address.
  const edu = (name: string) => device('edu', name, { dma_mask: `${2 ** 53 - 1}` });
  const recorded = (name: string, model: string) =>
    device('recorded', name, { file: deviceFile(model) });
  const groups: Record<string, () => unknown[]> = {
    g0: () => [edu('d0')],
    g1: () => [edu('d1')],
    g2: () => [edu('d2a'), edu('d2b')],
    g3: () => [recorded('d3', 'pci-testdev')],
    g4: () => [edu('d4')],
    g5: () => [recorded('d5', 'e1000e')],
    g6: () => [recorded('d6', 'nvme')],
  };
  const vfio = {
    ...(limit === undefined ? {} : { dmaEntryLimit: Number(limit) }),
    allowUnsafeInterrupts: parameters['allow_unsafe_interrupts'] === '1',
    type1Module: !file.boot.startsWith('notype1'),
    container: file.boot.startsWith('container') ? 'iommufd' : 'type1',
    // Of the other recordings the kernels had no files of devices.
    cdev: vars['v0'] !== undefined,
    iommufdTest: usesTestInterface(vectorCase),
  };
  if (!hasIommu(file)) return stringify({ iommu: 'none', vfio });
  return stringify({
    iommu: {
      addressWidth: geometry.addressWidth,
      snoopControl: geometry.snoopControl,
      interruptRemapping: geometry.interruptRemapping,
      reserved: geometry.reserved.map(({ firstPage, pages, kind }) => ({
        start: firstPage * 4096,
        size: pages * 4096,
        kind,
      })),
    },
    vfio,
    groups: Object.entries(groups)
      .filter(([name]) => vars[name] !== undefined)
      .map(([name, make]) => ({ number: Number(vars[name]), devices: make() })),
  });
}
