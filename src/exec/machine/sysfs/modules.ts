/**
 * The modules of VFIO in /sys/module (Documentation/ABI/stable/sysfs-module), as where they are
 * loaded and not built in. What differs by build is left out: sizes, sections, notes, srcversion.
 */
import type { KernelProfile } from '../../../abi/kernel.js';
import type { VfioSpec } from '../machine-spec.js';
import type { ShadowTree } from '../shadow.js';

interface Module {
  readonly name: string;
  readonly version?: string;
  /** Modules that use it. */
  readonly holders?: readonly string[];
  /** Values by name, in octal the permission bits. */
  readonly parameters?: Readonly<Record<string, readonly [value: string, mode: number]>>;
}

const RW = 0o644;
const RO = 0o444;
const yesOrNo = (is: boolean): string => (is ? 'Y' : 'N');

const iommufd: Module = {
  name: 'iommufd',
  holders: ['vfio'],
  parameters: { allow_unsafe_interrupts: ['N', RW] },
};

export function addModules(tree: ShadowTree, vfio: VfioSpec, kernel: KernelProfile): void {
  const type1 = vfio.type1Module ? ['vfio_iommu_type1'] : [];
  const modules: Module[] = [
    {
      name: 'vfio',
      version: '0.3',
      holders: [...type1, 'vfio_pci', 'vfio_pci_core'],
      parameters: { enable_unsafe_noiommu_mode: ['N', RW] },
    },
    {
      name: 'vfio_pci',
      parameters: {
        disable_denylist: ['N', RO],
        disable_idle_d3: ['N', RW],
        disable_vga: ['N', RO],
        enable_sriov: ['N', RW],
        nointxmask: ['N', RW],
      },
    },
    { name: 'vfio_pci_core', holders: ['vfio_pci'] },
    ...(kernel.iommufdLast > 0 ? [iommufd] : []),
    ...(kernel.virqfdModule ? [{ name: 'vfio_virqfd', holders: ['vfio_pci_core'] }] : []),
  ];
  if (vfio.type1Module)
    modules.push({
      name: 'vfio_iommu_type1',
      version: '0.2',
      parameters: {
        allow_unsafe_interrupts: [yesOrNo(vfio.allowUnsafeInterrupts), RW],
        disable_hugepages: ['N', RW],
        dma_entry_limit: [`${vfio.dmaEntryLimit}`, RW],
      },
    });
  for (const module of modules) addModule(tree, module);
  tree.directory('/sys/module/vfio_pci/drivers');
  tree.link('/sys/module/vfio_pci/drivers/pci:vfio-pci', '/sys/bus/pci/drivers/vfio-pci');
}

function addModule(tree: ShadowTree, { name, version, holders = [], parameters }: Module): void {
  const path = `/sys/module/${name}`;
  tree.directory(path);
  tree.directory(`${path}/holders`);
  for (const holder of holders) tree.link(`${path}/holders/${holder}`, `/sys/module/${holder}`);
  tree.file(`${path}/initstate`, 'live\n');
  tree.file(`${path}/refcnt`, `${holders.length}\n`);
  tree.file(`${path}/taint`, '\n');
  tree.file(`${path}/uevent`, '', 0o200);
  if (version !== undefined) tree.file(`${path}/version`, `${version}\n`);
  if (parameters === undefined) return;
  tree.directory(`${path}/parameters`);
  for (const [parameter, [value, mode]] of Object.entries(parameters))
    tree.file(`${path}/parameters/${parameter}`, `${value}\n`, mode);
}
