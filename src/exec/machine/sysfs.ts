/**
 * Fills the shadow tree with the devices of a run, as sysfs shows devices that are bound to
 * vfio-pci.
 */
import { existsSync, readdirSync } from 'node:fs';
import type { IommuProperties } from '../../iommu/geometry.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import { containerNode, groupNode } from './device-node.js';
import { cannotFill, ShadowTree } from './shadow.js';

const CONFIG_REGION = 7;
const CONFIG_BYTES = 256;
const BARS = 6;

/** Directories that programs list, where the host's entries belong beside ours. */
const listed = [
  '/dev/vfio',
  '/sys/bus/pci/devices',
  '/sys/bus/pci/drivers',
  '/sys/bus/pci/drivers/vfio-pci',
  '/sys/devices/pci0000:00',
  '/sys/kernel/iommu_groups',
];

/** A group as the shadow shows it. */
export interface ShadowGroup {
  readonly number: number;
  readonly functions: readonly PciFunction[];
}

/** The first group number that the host does not use. */
export function firstFreeGroup(): number {
  const groups = '/sys/kernel/iommu_groups';
  const used = existsSync(groups) ? readdirSync(groups).map(Number) : [];
  return Math.max(0, ...used) + 1;
}

/** `announce` is told the tree's folder before it is made. Throws UserError. */
export function buildShadow(
  groups: readonly ShadowGroup[],
  geometry: IommuProperties | null,
  announce: (folder: string) => void,
): ShadowTree {
  const tree = new ShadowTree(announce);
  try {
    fill(tree, groups, geometry);
    return tree;
  } catch (error) {
    tree.remove();
    throw cannotFill(error);
  }
}

function fill(tree: ShadowTree, groups: readonly ShadowGroup[], geometry: IommuProperties | null): void {
  const reserved = (geometry?.reserved ?? [])
    .map(({ firstPage, pages, kind }) => {
      const start = firstPage * PAGE_SIZE;
      return `${hex(start, 16)} ${hex(start + pages * PAGE_SIZE - 1, 16)} ${kind}\n`;
    })
    .join('');
  tree.device('/dev/vfio/vfio', containerNode);
  tree.unbind('/sys/bus/pci/drivers/vfio-pci/unbind');
  tree.file('/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts', 'N\n');
  for (const group of groups) {
    tree.device(`/dev/vfio/${group.number}`, groupNode(group.number));
    const groupPath = `/sys/kernel/iommu_groups/${group.number}`;
    tree.file(`${groupPath}/type`, 'DMA\n');
    tree.file(`${groupPath}/reserved_regions`, reserved);
    for (const pci of group.functions) addFunction(tree, pci, groupPath);
  }
  tree.mergeHost(listed);
}

const hex = (value: number, digits: number): string =>
  `0x${value.toString(16).padStart(digits, '0')}`;

function addFunction(tree: ShadowTree, pci: PciFunction, groupPath: string): void {
  const path = `/sys/devices/pci0000:00/${pci.address}`;
  const config = new Uint8Array(CONFIG_BYTES);
  pci.readRegion(CONFIG_REGION, 0, config);
  const word = (offset: number): number => config[offset]! | (config[offset + 1]! << 8);
  const classCode = word(0x0a) * 256 + config[9]!;
  const ids = [word(0), word(2), word(0x2c), word(0x2e)];
  const upper = (value: number, digits: number): string =>
    value.toString(16).toUpperCase().padStart(digits, '0');

  tree.file(`${path}/config`, config);
  tree.file(`${path}/vendor`, `${hex(ids[0]!, 4)}\n`);
  tree.file(`${path}/device`, `${hex(ids[1]!, 4)}\n`);
  tree.file(`${path}/subsystem_vendor`, `${hex(ids[2]!, 4)}\n`);
  tree.file(`${path}/subsystem_device`, `${hex(ids[3]!, 4)}\n`);
  tree.file(`${path}/class`, `${hex(classCode, 6)}\n`);
  tree.file(`${path}/revision`, `${hex(config[8]!, 2)}\n`);
  tree.file(`${path}/irq`, '0\n');
  tree.file(`${path}/enable`, '0\n');
  tree.file(`${path}/numa_node`, '-1\n');
  tree.file(`${path}/driver_override`, 'vfio-pci\n');
  tree.file(`${path}/max_vfs`, '0\n');
  tree.file(`${path}/resource`, resources(pci));
  const alias =
    `pci:v${upper(ids[0]!, 8)}d${upper(ids[1]!, 8)}sv${upper(ids[2]!, 8)}sd${upper(ids[3]!, 8)}` +
    `bc${upper(config[11]!, 2)}sc${upper(config[10]!, 2)}i${upper(config[9]!, 2)}`;
  tree.file(`${path}/modalias`, `${alias}\n`);
  tree.file(
    `${path}/uevent`,
    `DRIVER=vfio-pci\nPCI_CLASS=${upper(classCode, 5)}\nPCI_ID=${upper(ids[0]!, 4)}:${upper(ids[1]!, 4)}\n` +
      `PCI_SUBSYS_ID=${upper(ids[2]!, 4)}:${upper(ids[3]!, 4)}\nPCI_SLOT_NAME=${pci.address}\nMODALIAS=${alias}\n`,
  );
  tree.link(`${path}/subsystem`, '/sys/bus/pci');
  tree.link(`${path}/driver`, '/sys/bus/pci/drivers/vfio-pci');
  tree.link(`${path}/iommu_group`, groupPath);
  tree.link(`/sys/bus/pci/devices/${pci.address}`, path);
  tree.link(`/sys/bus/pci/drivers/vfio-pci/${pci.address}`, path);
  tree.link(`${groupPath}/devices/${pci.address}`, path);
}

/**
 * The `resource` attribute: start, end and flags of BARs, ROM and the bridge's unused windows, a
 * line each.
 */
function resources(pci: PciFunction): string {
  const IORESOURCE_MEM = 0x200;
  let at = 0xfe000000;
  let text = '';
  for (let index = 0; index < 13; index++) {
    const size = index < BARS ? pci.regions[index]!.size : 0;
    const start = size === 0 ? 0 : Math.ceil(at / size) * size;
    const line = size === 0 ? [0, 0, 0] : [start, start + size - 1, IORESOURCE_MEM];
    if (size > 0) at = start + size;
    text += `${line.map((value) => hex(value, 16)).join(' ')}\n`;
  }
  return text;
}
