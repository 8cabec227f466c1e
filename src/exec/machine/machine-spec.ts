/** The machine of a run as `--device` options describe it: devices by kind and address. */
import { formatPciAddress, notPciAddress, parsePciAddress } from '../../abi/pci-address.js';
import { UserError } from '../../input/user-error.js';
import { defaultGeometry, type IommuProperties } from '../../iommu/geometry.js';

/** A device as the user asked for it. */
export interface DeviceSpec {
  readonly kind: string;
  /** `0000:02:00.0` */
  readonly address: string;
  readonly options: Readonly<Record<string, string>>;
  /** Whether it can take I/O page faults. */
  readonly canFault: boolean;
  /** Where the user asked for it, as errors name it. */
  readonly where: string;
}

export interface GroupSpec {
  /** False: a host driver has something in the group, which therefore cannot be used. */
  readonly viable: boolean;
  /** The group's number, or null for the next one that is free. */
  readonly number: number | null;
  readonly devices: readonly DeviceSpec[];
}

/** How the modules of VFIO are loaded. */
export interface VfioSpec {
  /** Mappings that a container may hold (vfio_iommu_type1.dma_entry_limit). */
  readonly dmaEntryLimit: number;
  /** vfio_iommu_type1.allow_unsafe_interrupts. */
  readonly allowUnsafeInterrupts: boolean;
  /** Whether vfio_iommu_type1 is there. */
  readonly type1Module: boolean;
  /** What /dev/vfio/vfio is; `iommufd` as where CONFIG_IOMMUFD_VFIO_CONTAINER is on. */
  readonly container: 'type1' | 'iommufd';
  /** Whether devices have files of their own, as where CONFIG_VFIO_DEVICE_CDEV is on. */
  readonly cdev: boolean;
  /** Whether /dev/iommu has the interface of iommufd's own tests (CONFIG_IOMMUFD_TEST). */
  readonly iommufdTest: boolean;
}

export const defaultVfio: VfioSpec = {
  dmaEntryLimit: 65535,
  allowUnsafeInterrupts: false,
  type1Module: true,
  container: 'type1',
  cdev: true,
  iommufdTest: false,
};

export interface MachineSpec {
  /** Null: there is no IOMMU, and so no group. */
  readonly geometry: IommuProperties | null;
  readonly vfio: VfioSpec;
  readonly groups: readonly GroupSpec[];
}

/**
 * The machine of a run without a machine file: VT-d's geometry, and each device in a group of its
 * own.
 */
export function machineOfDevices(devices: readonly DeviceSpec[]): MachineSpec {
  return {
    geometry: defaultGeometry,
    vfio: defaultVfio,
    groups: devices.map((device) => ({ number: null, viable: true, devices: [device] })),
  };
}

/** The address of a device that has none. */
const NO_PLACE = '0000:00:00.0';

/** Parses `KIND@BDF[,key=value…]`. Throws UserError. */
export function parseDevice(text: string): DeviceSpec {
  return parseSpec(text, `--device ${text}`);
}

/** Parses `KIND[,key=value…]` of a device that has no place. Throws UserError. */
export function parsePlaceless(text: string, where: string): DeviceSpec {
  const comma = text.indexOf(',');
  const end = comma < 0 ? text.length : comma;
  return parseSpec(`${text.slice(0, end)}@${NO_PLACE}${text.slice(end)}`, where);
}

function parseSpec(text: string, where: string): DeviceSpec {
  const [head = '', ...pairs] = text.split(',');
  // A package's name may begin with one.
  const at = head.lastIndexOf('@');
  const example = 'for example nvme@0000:02:00.0,size=64M';
  if (at <= 0) throw new UserError(`${where}: expected KIND@BDF[,key=value…], ${example}`);
  const options: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals <= 0) throw new UserError(`${where}: "${pair}" is not key=value, ${example}`);
    const key = pair.slice(0, equals);
    if (key in options) throw new UserError(`${where}: "${key}" is given twice`);
    options[key] = pair.slice(equals + 1);
  }
  const address = parsePciAddress(head.slice(at + 1));
  if (address === null) throw new UserError(`${where}: ${notPciAddress(head.slice(at + 1))}`);
  const canFault = options['fault'] ?? 'on';
  if (canFault !== 'on' && canFault !== 'off')
    throw new UserError(`${where}: fault=${canFault} must be on or off`);
  delete options['fault'];
  return {
    kind: head.slice(0, at),
    address: formatPciAddress(address),
    options,
    canFault: canFault === 'on',
    where,
  };
}
