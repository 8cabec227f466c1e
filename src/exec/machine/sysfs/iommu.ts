/** The IOMMU in /sys/class/iommu: a VT-d unit of the machine's geometry. */
import type { IommuProperties } from '../../../iommu/geometry.js';
import { capabilityRegister, extendedCapabilityRegister } from '../../../iommu/vtd.js';
import type { ShadowTree } from '../shadow.js';
import { firstFree } from './host-numbers.js';
import { addPower } from './power.js';

/** Where the first unit's registers are on most machines. */
const REGISTERS = 'fed90000';
const DOMAINS = 65536;

/** Returns where it is. Attributes: Documentation/ABI/testing/sysfs-class-iommu-intel-iommu. */
export function addIommu(tree: ShadowTree, geometry: IommuProperties): string {
  const name = `dmar${firstFree('/sys/class/iommu/dmar')}`;
  const path = `/sys/devices/virtual/iommu/${name}`;
  tree.directory(path);
  tree.directory(`${path}/devices`);
  tree.directory(`${path}/intel-iommu`);
  const attributes = {
    address: REGISTERS,
    cap: capabilityRegister(geometry).toString(16),
    domains_supported: `${DOMAINS}`,
    domains_used: '1',
    ecap: extendedCapabilityRegister(geometry).toString(16),
    version: '1:0',
  };
  for (const [attribute, value] of Object.entries(attributes))
    tree.file(`${path}/intel-iommu/${attribute}`, `${value}\n`);
  tree.file(`${path}/uevent`, '', 0o644);
  addPower(tree, path, 'unsupported');
  tree.link(`${path}/subsystem`, '/sys/class/iommu');
  tree.link(`/sys/class/iommu/${name}`, path);
  return path;
}
