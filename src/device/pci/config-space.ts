import {
  PCI_CAP_ID,
  PCI_CAP_NEXT,
  PCI_CONFIG_SIZE,
  PCIE_CONFIG_SIZE,
  PciAts,
  PciBar,
  PciCapability,
  PciCommand,
  PciConfig,
  PciExpress,
  PciExtended,
  PciMsi,
  PciMsix,
  PciPm,
  PciPri,
  PciStatus,
} from '../../abi/pci.js';
import type { CapabilityDescription, PciDescription } from './description.js';

/** Command bits that a function has; the others read as zero. */
const COMMAND_WRITABLE =
  PciCommand.IO |
  PciCommand.MEMORY |
  PciCommand.MASTER |
  PciCommand.PARITY |
  PciCommand.SERR |
  PciCommand.INTX_DISABLE;

/** Page requests that a function with PRI has outstanding. */
const PAGE_REQUESTS = 1;

type HeaderCapability = Exclude<CapabilityDescription, { readonly kind: 'ats' | 'pri' }>;

const capabilityIds = {
  power: PciCapability.PM,
  msi: PciCapability.MSI,
  msix: PciCapability.MSIX,
  vendor: PciCapability.VENDOR,
  express: PciCapability.EXPRESS,
} as const;

/**
 * A type 0 config space as vfio-pci shows it (vfio_pci_config.c): BARs, interrupt line and MSI's
 * message are the program's own copies, the MSI-X capability is read-only (SET_IRQS drives it), ids
 * never change, and the rest is the function's. Writes go through a mask; what a write means beyond
 * its bits is the endpoint's business.
 */
export class ConfigSpace {
  readonly size: number;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly writable: DataView;

  constructor(description: PciDescription) {
    const express = description.capabilities.some((capability) => capability.kind === 'express');
    this.size = express ? PCIE_CONFIG_SIZE : PCI_CONFIG_SIZE;
    this.bytes = new Uint8Array(this.size);
    this.view = new DataView(this.bytes.buffer);
    this.writable = new DataView(new ArrayBuffer(this.size));
    this.header(description, express);
    let link: number = PciConfig.CAPABILITY_LIST;
    let extended = 0;
    for (const capability of description.capabilities) {
      if (capability.kind === 'ats' || capability.kind === 'pri') {
        if (extended !== 0) this.setLong(extended, this.long(extended) | (capability.offset << 20));
        extended = capability.offset;
        this.extendedCapability(capability.kind, extended);
        continue;
      }
      this.bytes[link] = capability.offset;
      this.bytes[capability.offset + PCI_CAP_ID] = capabilityIds[capability.kind];
      link = capability.offset + PCI_CAP_NEXT;
      this.capability(capability);
    }
  }

  /** The 16 bits at `offset`. */
  word(offset: number): number {
    return this.view.getUint16(offset, true);
  }

  /** Sets the 16 bits at `offset`, whatever may be written there: the function's own doing. */
  setWord(offset: number, value: number): void {
    this.view.setUint16(offset, value, true);
  }

  /** The 32 bits at `offset`, unsigned. */
  long(offset: number): number {
    return this.view.getUint32(offset, true);
  }

  /** Sets the 32 bits at `offset`; as `setWord`. */
  setLong(offset: number, value: number): void {
    this.view.setUint32(offset, value, true);
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(offset: number, from: Uint8Array): void {
    for (let index = 0; index < from.length; index++) {
      const at = offset + index;
      const mask = this.writable.getUint8(at);
      this.bytes[at] = (this.bytes[at]! & ~mask) | (from[index]! & mask);
    }
  }

  private header(description: PciDescription, express: boolean): void {
    const view = this.view;
    const writable = this.writable;
    view.setUint16(PciConfig.VENDOR_ID, description.vendor, true);
    view.setUint16(PciConfig.DEVICE_ID, description.device, true);
    view.setUint16(
      PciConfig.STATUS,
      description.capabilities.length > 0 ? PciStatus.CAP_LIST : 0,
      true,
    );
    view.setUint8(PciConfig.REVISION_ID, description.revision);
    view.setUint8(PciConfig.CLASS_PROG, description.classCode & 0xff);
    view.setUint16(PciConfig.CLASS_DEVICE, description.classCode >> 8, true);
    view.setUint16(PciConfig.SUBSYSTEM_VENDOR_ID, description.subsystemVendor, true);
    view.setUint16(PciConfig.SUBSYSTEM_ID, description.subsystem, true);
    view.setUint8(PciConfig.INTERRUPT_PIN, description.pin ? 1 : 0);
    view.setUint8(PciConfig.INTERRUPT_LINE, description.line);
    writable.setUint16(PciConfig.COMMAND, COMMAND_WRITABLE, true);
    writable.setUint8(PciConfig.CACHE_LINE_SIZE, 0xff);
    // PCI Express hardwires the latency timer to zero (7.5.1.1.7).
    if (!express) writable.setUint8(PciConfig.LATENCY_TIMER, 0xff);
    writable.setUint8(PciConfig.INTERRUPT_LINE, 0xff);
    for (const bar of description.bars) {
      const at = PciConfig.BASE_ADDRESS_0 + 4 * bar.index;
      const type = bar.io ? PciBar.SPACE_IO : bar.wide ? PciBar.MEMORY_TYPE_64 : 0;
      view.setUint32(at, bar.address | type, true);
      writable.setUint32(at, -bar.size, true);
      if (bar.wide) writable.setUint32(at + 4, 0xffffffff, true);
    }
  }

  /** Read-only to programs, as vfio-pci has them: the IOMMU's driver has switched them on. */
  private extendedCapability(kind: 'ats' | 'pri', offset: number): void {
    this.setLong(offset, PciExtended[kind === 'ats' ? 'ATS' : 'PRI'] | PciExtended.VERSION_1);
    if (kind === 'ats') {
      this.setWord(offset + PciAts.CAPABILITY, PciAts.PAGE_ALIGNED);
      this.setWord(offset + PciAts.CONTROL, PciAts.ENABLE);
      return;
    }
    this.setWord(offset + PciPri.CONTROL, PciPri.ENABLE);
    this.setLong(offset + PciPri.MOST, PAGE_REQUESTS);
    this.setLong(offset + PciPri.ALLOCATED, PAGE_REQUESTS);
  }

  private capability(capability: HeaderCapability): void {
    const { offset } = capability;
    const view = this.view;
    const writable = this.writable;
    switch (capability.kind) {
      case 'power':
        view.setUint16(offset + PciPm.PMC, 3, true);
        view.setUint16(offset + PciPm.CTRL, PciPm.NO_SOFT_RESET, true);
        writable.setUint16(offset + PciPm.CTRL, PciPm.STATE_MASK, true);
        break;
      case 'msi': {
        const capable = Math.log2(capability.vectors) << 1;
        const maskable = capability.maskable ? PciMsi.MASKABLE : 0;
        view.setUint16(offset + PciMsi.FLAGS, PciMsi.ADDRESS_64 | maskable | capable, true);
        writable.setUint16(offset + PciMsi.FLAGS, PciMsi.QUEUE_SIZE, true);
        writable.setUint32(offset + PciMsi.ADDRESS_LO, 0xfffffffc, true);
        writable.setUint32(offset + PciMsi.ADDRESS_HI, 0xffffffff, true);
        writable.setUint16(offset + PciMsi.DATA_64, 0xffff, true);
        if (maskable)
          writable.setUint32(offset + PciMsi.MASK_64, 2 ** capability.vectors - 1, true);
        break;
      }
      case 'msix':
        view.setUint16(offset + PciMsix.FLAGS, capability.vectors - 1, true);
        view.setUint32(offset + PciMsix.TABLE, capability.table | capability.bar, true);
        view.setUint32(offset + PciMsix.PBA, capability.pending | capability.bar, true);
        break;
      case 'vendor':
        this.bytes.set(capability.body, offset + PCI_CAP_NEXT + 1);
        capability.writable?.forEach((mask, index) => {
          writable.setUint8(offset + PCI_CAP_NEXT + 1 + index, mask);
        });
        break;
      case 'express':
        view.setUint16(offset + PciExpress.FLAGS, EXPRESS_VERSION_2, true);
        view.setUint32(
          offset + PciExpress.DEVICE_CAPABILITIES,
          PciExpress.FUNCTION_LEVEL_RESET | ROLE_BASED_ERRORS,
          true,
        );
        view.setUint32(offset + PciExpress.LINK_CAPABILITIES, LINK_X1_2_5GT_L0S, true);
        view.setUint16(offset + PciExpress.LINK_STATUS, LINK_X1_2_5GT, true);
        view.setUint32(offset + PciExpress.DEVICE_CAPABILITIES_2, TLP_PREFIXES, true);
        writable.setUint16(offset + PciExpress.DEVICE_CONTROL, DEVICE_CONTROL_WRITABLE, true);
        break;
    }
  }
}

/** Fields of the PCI Express capability that nothing here acts on (7.5.3). */
const EXPRESS_VERSION_2 = 2;
const ROLE_BASED_ERRORS = 0x8000;
const LINK_X1_2_5GT_L0S = 0x0411;
const LINK_X1_2_5GT = 0x0011;
const TLP_PREFIXES = 0x300000;
/** Error reporting, relaxed ordering, no snoop, payload and read request size, FLR. */
const DEVICE_CONTROL_WRITABLE = 0xf8ff;
