/** A PCI function in sysfs, bound to vfio-pci (Documentation/ABI/testing/sysfs-bus-pci). */
import { readFileSync } from 'node:fs';
import { Errno } from '../../../abi/errno.js';
import { PciCapability, PciConfig, PciExpress, PciRegionIndex } from '../../../abi/pci.js';
import { findCapability, readConfig16, readConfig32 } from '../../../vfio/config-access.js';
import type { PciFunction } from '../../../vfio/pci-function.js';
import type { ShadowTree } from '../shadow.js';
import { addPower } from './power.js';
import { resources } from './resource.js';

export interface FunctionPlace {
  /** Its directory, below /sys/devices. */
  readonly path: string;
  /** Its group's directory. */
  readonly group: string;
  /** Its IOMMU's directory. */
  readonly iommu: string;
}

/**
 * The host bridge whose root bus a function is on. Each bus is one of its own, as on machines with
 * several root complexes: there is no bridge between that would have to be a device too.
 */
export function rootBusOf(address: string): string {
  return `/sys/devices/pci${address.slice(0, 'DDDD:BB'.length)}`;
}

export function addFunction(tree: ShadowTree, pci: PciFunction, place: FunctionPlace): void {
  const { path, group, iommu } = place;
  const hasPower = findCapability(pci, PciCapability.PM) !== 0;
  const pin = byteAt(pci, PciConfig.INTERRUPT_PIN);
  tree.directory(path);
  addIdentity(tree, pci, path);
  addBinaries(tree, pci, path);
  const writable: Readonly<Record<string, string>> = {
    broken_parity_status: '0',
    d3cold_allowed: '0',
    driver_override: 'vfio-pci',
    enable: '0',
    msi_bus: '1',
    numa_node: '-1',
  };
  for (const [name, value] of Object.entries(writable))
    tree.file(`${path}/${name}`, `${value}\n`, 0o644);
  tree.file(`${path}/ari_enabled`, '0\n');
  tree.file(`${path}/consistent_dma_mask_bits`, '32\n');
  tree.file(`${path}/dma_mask_bits`, '32\n');
  tree.file(`${path}/irq`, `${pin === 0 ? 0 : byteAt(pci, PciConfig.INTERRUPT_LINE)}\n`);
  for (const name of ['local_cpulist', 'local_cpus'])
    tree.file(`${path}/${name}`, () => cpusOfBusses(name));
  // vfio-pci lets the function sleep until it is opened.
  tree.file(`${path}/power_state`, hasPower ? 'D3hot\n' : 'D0\n');
  tree.file(`${path}/remove`, '', 0o220);
  tree.file(`${path}/rescan`, '', 0o200);
  if (pci.resettable) {
    tree.file(`${path}/reset`, '', 0o200);
    tree.file(`${path}/reset_method`, 'flr\n', 0o644);
  }
  addLinkSpeed(tree, pci, path);
  addPower(tree, path, 'suspended');
  tree.directory(`${path}/link`);
  tree.link(`${path}/subsystem`, '/sys/bus/pci');
  tree.link(`${path}/driver`, '/sys/bus/pci/drivers/vfio-pci');
  tree.link(`${path}/iommu`, iommu);
  tree.link(`${path}/iommu_group`, group);
}

function addIdentity(tree: ShadowTree, pci: PciFunction, path: string): void {
  const vendor = readConfig16(pci, PciConfig.VENDOR_ID);
  const device = readConfig16(pci, PciConfig.DEVICE_ID);
  const subsystemVendor = readConfig16(pci, PciConfig.SUBSYSTEM_VENDOR_ID);
  const subsystem = readConfig16(pci, PciConfig.SUBSYSTEM_ID);
  const classCode = readConfig32(pci, PciConfig.REVISION_ID) >>> 8;
  const ids = {
    class: lower(classCode, 6),
    device: lower(device, 4),
    revision: lower(byteAt(pci, PciConfig.REVISION_ID), 2),
    subsystem_device: lower(subsystem, 4),
    subsystem_vendor: lower(subsystemVendor, 4),
    vendor: lower(vendor, 4),
  };
  for (const [name, value] of Object.entries(ids)) tree.file(`${path}/${name}`, `${value}\n`);
  const alias =
    `pci:v${upper(vendor, 8)}d${upper(device, 8)}` +
    `sv${upper(subsystemVendor, 8)}sd${upper(subsystem, 8)}` +
    `bc${upper(classCode >> 16, 2)}sc${upper((classCode >> 8) & 0xff, 2)}` +
    `i${upper(classCode & 0xff, 2)}`;
  tree.file(`${path}/modalias`, `${alias}\n`);
  const uevent = [
    'DRIVER=vfio-pci',
    `PCI_CLASS=${upper(classCode, 4)}`,
    `PCI_ID=${upper(vendor, 4)}:${upper(device, 4)}`,
    `PCI_SUBSYS_ID=${upper(subsystemVendor, 4)}:${upper(subsystem, 4)}`,
    `PCI_SLOT_NAME=${pci.address}`,
    `MODALIAS=${alias}`,
  ];
  tree.file(`${path}/uevent`, `${uevent.join('\n')}\n`, 0o644);
}

/** Config space as it is when the file is opened, `resource`, and a file for each BAR. */
function addBinaries(tree: ShadowTree, pci: PciFunction, path: string): void {
  const { size } = pci.regions[PciRegionIndex.CONFIG]!;
  const config = (): Uint8Array => {
    const bytes = new Uint8Array(size);
    pci.readRegion(PciRegionIndex.CONFIG, 0, bytes);
    return bytes;
  };
  tree.binary(`${path}/config`, size, config, 0o644);
  const all = resources(pci);
  tree.file(`${path}/resource`, all.map(({ text }) => `${text}\n`).join(''));
  // What VFIO has requested cannot be mapped here, and there is nothing else to do with them.
  all.forEach(({ size: bytes, isPrefetchable }, index) => {
    if (index > PciRegionIndex.BAR5 || bytes === 0) return;
    tree.binary(`${path}/resource${index}`, bytes, Errno.EPERM, 0o600);
    if (isPrefetchable) tree.binary(`${path}/resource${index}_wc`, bytes, Errno.EPERM, 0o600);
  });
  const rom = pci.regions[PciRegionIndex.ROM]!.size;
  if (rom > 0) tree.binary(`${path}/rom`, rom, Errno.EPERM, 0o600);
}

const speeds = ['2.5', '5.0', '8.0', '16.0', '32.0', '64.0'];

function addLinkSpeed(tree: ShadowTree, pci: PciFunction, path: string): void {
  const express = findCapability(pci, PciCapability.EXPRESS);
  if (express === 0) return;
  for (const [which, register] of [
    ['max', PciExpress.LINK_CAPABILITIES],
    ['current', PciExpress.LINK_STATUS],
  ] as const) {
    const value = readConfig16(pci, express + register);
    const speed = speeds[(value & 0xf) - 1];
    const text = speed === undefined ? 'Unknown' : `${speed} GT/s PCIe`;
    tree.file(`${path}/${which}_link_speed`, `${text}\n`);
    tree.file(`${path}/${which}_link_width`, `${(value >> 4) & 0x3f}\n`);
  }
}

/** The processors near a bus without a node: all of the host's. */
function cpusOfBusses(name: string): string {
  const read = (file: string): string =>
    readFileSync(`/sys/devices/system/cpu/${file}`, 'latin1').trim();
  try {
    const online = read('online');
    return `${name === 'local_cpulist' ? online : cpuMask(online, read('possible'))}\n`;
  } catch {
    return '\n'; // A host that hides its processors.
  }
}

/** `0-2,4` as words of 32 bits in hexadecimal, as wide as the list of possible processors. */
export function cpuMask(list: string, possible: string): string {
  const count = Math.max(...cpusIn(possible)) + 1;
  const words: number[] = new Array(Math.ceil(count / 32)).fill(0);
  for (const cpu of cpusIn(list)) words[cpu >> 5] = (words[cpu >> 5]! | (1 << (cpu & 31))) >>> 0;
  const digits = Math.ceil((((count - 1) % 32) + 1) / 4);
  return words
    .reverse()
    .map((word, index) => word.toString(16).padStart(index === 0 ? digits : 8, '0'))
    .join(',');
}

function cpusIn(list: string): number[] {
  return list.split(',').flatMap((part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

function byteAt(pci: PciFunction, offset: number): number {
  return (readConfig16(pci, offset & ~1) >> (8 * (offset & 1))) & 0xff;
}

const lower = (value: number, digits: number): string =>
  `0x${value.toString(16).padStart(digits, '0')}`;
const upper = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, '0');
