/**
 * Fills the shadow tree with the devices of a run, as sysfs shows devices that are bound to
 * vfio-pci and that nobody has opened.
 */
import type { KernelProfile } from '../../../abi/kernel.js';
import type { IommuProperties } from '../../../iommu/geometry.js';
import { PAGE_SIZE } from '../../../mm/address-space.js';
import type { PciFunction } from '../../../vfio/pci-function.js';
import { containerNode, type DeviceNode, groupNode, iommufdNode } from '../device-node.js';
import type { VfioSpec } from '../machine-spec.js';
import { ShadowTree } from '../shadow.js';
import { addFunction, rootBusOf } from './function.js';
import { addIommu } from './iommu.js';
import { addModules } from './modules.js';
import { addPower } from './power.js';
import { addVfioDevice } from './vfio-device.js';

/** Directories that programs list, where the host's entries belong beside the shadow's. */
const merged = [
  '/dev/vfio',
  '/sys/bus/pci/devices',
  '/sys/bus/pci/drivers',
  '/sys/bus/pci/drivers/vfio-pci',
  '/sys/class',
  '/sys/class/iommu',
  '/sys/class/misc',
  '/sys/class/vfio',
  '/sys/class/vfio-dev',
  '/sys/dev/char',
  '/sys/devices',
  '/sys/devices/virtual',
  '/sys/devices/virtual/iommu',
  '/sys/devices/virtual/misc',
  '/sys/devices/virtual/vfio',
  '/sys/kernel/iommu_groups',
  '/sys/module',
];

/** A group as the shadow shows it. */
export interface ShadowGroup {
  readonly number: number;
  readonly functions: readonly PciFunction[];
}

export interface ShadowOptions {
  readonly groups: readonly ShadowGroup[];
  /** The number of the first function's vfio device. */
  readonly firstDevice: number;
  /** Null: there is no IOMMU, and so no group. */
  readonly geometry: IommuProperties | null;
  readonly vfio: VfioSpec;
  readonly kernel: KernelProfile;
  /** Told of the tree's folder before it is made. */
  readonly announceFolder: (path: string) => void;
}

/** Throws UserError. */
export function buildShadow(options: ShadowOptions): ShadowTree {
  const { groups, geometry, vfio, kernel } = options;
  const tree = new ShadowTree(options.announceFolder);
  for (const path of merged) tree.merged(path);
  const driver = '/sys/bus/pci/drivers/vfio-pci';
  for (const name of ['bind', 'new_id', 'remove_id', 'uevent'])
    tree.file(`${driver}/${name}`, '', 0o200);
  tree.unbind(`${driver}/unbind`);
  tree.link(`${driver}/module`, '/sys/module/vfio_pci');
  addModules(tree, vfio, kernel);
  addNode(tree, '/dev/vfio/vfio', containerNode, 'misc');
  if (kernel.iommufdLast > 0) addNode(tree, '/dev/iommu', iommufdNode, 'misc');
  if (geometry === null) return tree;
  const iommu = addIommu(tree, geometry);
  let vfioDevice = options.firstDevice;
  for (const { number, functions } of groups) {
    addNode(tree, `/dev/vfio/${number}`, groupNode(number), 'vfio');
    const group = `/sys/kernel/iommu_groups/${number}`;
    tree.directory(group);
    tree.directory(`${group}/devices`);
    tree.file(`${group}/reserved_regions`, reservedRegions(geometry));
    tree.file(`${group}/type`, 'DMA\n', 0o644);
    for (const pci of functions) {
      const bus = rootBusOf(pci.address);
      tree.merged(bus);
      tree.file(`${bus}/uevent`, '', 0o644);
      const path = `${bus}/${pci.address}`;
      addFunction(tree, pci, { path, group, iommu });
      const hasNode = kernel.iommufdLast > 0 && vfio.cdev;
      addVfioDevice(tree, { path, address: pci.address, number: vfioDevice++, hasNode });
      for (const folder of ['/sys/bus/pci/devices', driver, `${group}/devices`, `${iommu}/devices`])
        tree.link(`${folder}/${pci.address}`, path);
    }
  }
  return tree;
}

/** The device node and what its class shows of it (kernel: device_create with a devt). */
function addNode(tree: ShadowTree, node: string, device: DeviceNode, className: string): void {
  const { major, minor } = device;
  tree.device(node, device);
  const name = node.slice(node.lastIndexOf('/') + 1);
  const path = `/sys/devices/virtual/${className}/${name}`;
  const isMisc = className === 'misc';
  const mode = isMisc ? `DEVMODE=0${device.mode.toString(8)}\n` : '';
  tree.directory(path);
  tree.file(`${path}/dev`, `${major}:${minor}\n`);
  tree.file(
    `${path}/uevent`,
    `MAJOR=${major}\nMINOR=${minor}\nDEVNAME=${node.slice('/dev/'.length)}\n${mode}`,
    0o644,
  );
  addPower(tree, path, 'unsupported');
  tree.link(`${path}/subsystem`, `/sys/class/${className}`);
  tree.link(`/sys/class/${className}/${name}`, path);
  tree.link(`/sys/dev/char/${major}:${minor}`, path);
}

/** Documentation/ABI/testing/sysfs-kernel-iommu_groups: first and last address, and the kind. */
function reservedRegions({ reserved }: IommuProperties): string {
  const address = (page: number, offset: number): string =>
    `0x${(page * PAGE_SIZE + offset).toString(16).padStart(16, '0')}`;
  return reserved
    .map(
      ({ firstPage, pages, kind }) =>
        `${address(firstPage, 0)} ${address(firstPage + pages, -1)} ${kind}\n`,
    )
    .join('');
}
