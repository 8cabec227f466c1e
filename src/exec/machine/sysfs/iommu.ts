/** The IOMMU in /sys/class/iommu: a VT-d unit of the machine's geometry. */
import { type IommuProperties, PAGE_1G, PAGE_2M } from '../../../iommu/geometry.js';
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
    cap: capabilities(geometry),
    domains_supported: `${DOMAINS}`,
    domains_used: '1',
    ecap: extendedCapabilities(geometry),
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

/** CAP_REG (VT-d specification 11.4.2), in hexadecimal without leading zeros. */
function capabilities({ addressWidth, pageSizes }: IommuProperties): string {
  const DOMAINS_64K = 6;
  const LEVELS_3 = 0x200;
  const LEVELS_4 = 0x400;
  const FAULT_RECORDS_AT = 0x22;
  const PAGE_SELECTIVE = 0x80;
  const DRAINS_AND_MASK = 0xd2; // read and write draining; up to 2^18 pages in an invalidation
  const levels = addressWidth > 39 ? LEVELS_3 | LEVELS_4 : LEVELS_3;
  const low = DOMAINS_64K | levels | ((addressWidth - 1) << 16) | (FAULT_RECORDS_AT * 2 ** 24);
  const large = ((pageSizes & PAGE_2M) !== 0 ? 4 : 0) | ((pageSizes & PAGE_1G) !== 0 ? 8 : 0);
  const high = DRAINS_AND_MASK * 2 ** 16 + (PAGE_SELECTIVE | large);
  return high.toString(16) + (low >>> 0).toString(16).padStart(8, '0');
}

/** ECAP_REG (11.4.3). */
function extendedCapabilities({ snoopControl, interruptRemapping }: IommuProperties): string {
  const COHERENT_AND_QUEUED = 0x3;
  const REMAPPING_AND_X2APIC = 0x18;
  const PASS_THROUGH = 0x40;
  const SNOOP_CONTROL = 0x80;
  const IOTLB_AT_AND_HANDLES = 0xf00f00;
  const bits =
    COHERENT_AND_QUEUED |
    PASS_THROUGH |
    IOTLB_AT_AND_HANDLES |
    (interruptRemapping ? REMAPPING_AND_X2APIC : 0) |
    (snoopControl ? SNOOP_CONTROL : 0);
  return bits.toString(16);
}
