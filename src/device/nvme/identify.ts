import { TEMPERATURE_WARNING } from './features.js';
import { ABORTS, COPY_BLOCKS, COPY_RANGES, ERROR_ENTRIES, EVENT_REQUESTS, MDTS } from './limits.js';
import { FORMATS, type Namespace } from './namespace.js';
import { VERSION } from './registers.js';

/** Bytes of each data structure of the Identify command (NVM Express 1.4, 5.15.2). */
export const IDENTIFY_BYTES = 4096;

/** Kinds of structure (CNS). */
export const IdentifyKind = {
  NAMESPACE: 0x00,
  CONTROLLER: 0x01,
  ACTIVE_NAMESPACES: 0x02,
  NAMESPACE_DESCRIPTORS: 0x03,
  /** What only a command set has of a namespace, and of a controller. */
  COMMAND_SET_NAMESPACE: 0x05,
  COMMAND_SET_CONTROLLER: 0x06,
} as const;

export interface ControllerIdentity {
  readonly vendor: number;
  readonly subsystemVendor: number;
  /** 1 to 20 printable ASCII characters. */
  readonly serial: string;
  /** At most 40. */
  readonly model: string;
  /** At most 8. */
  readonly firmware: string;
}

const CRITICAL_TEMPERATURE = TEMPERATURE_WARNING + 30;
/**
 * Optional admin commands: format. Optional commands: compare, write uncorrectable, dataset
 * management, write zeroes, select field of Get Features, verify, copy.
 */
const OPTIONAL_ADMIN_COMMANDS = 0x2;
const OPTIONAL_COMMANDS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | 0x100;
/** Formats of Copy: 0. */
const COPY_FORMATS = 0x1;
/** SGLs of any alignment, with bit buckets; lengths must be those of the data. */
const SGL_SUPPORT = 0x1 | 0x10000;
/** A write cache that may lose data, and Flush for all namespaces at once. */
const VOLATILE_WRITE_CACHE = 0x7;
/**
 * Log pages: health of a namespace, commands effects, and offsets and long lengths in Get Log Page.
 */
const LOG_ATTRIBUTES = 0x1 | 0x2 | 0x4;
/** Firmware: one slot, read-only. */
const FIRMWARE_SLOTS = 0x3;
/** Namespace attributes. */
const WRITE_PROTECTED = 0x1;
/** A power state's maximum, in hundredths of a watt. */
const POWER_MAXIMUM = 2500;

export function identifyController(identity: ControllerIdentity): Uint8Array {
  const page = new Uint8Array(IDENTIFY_BYTES);
  const view = new DataView(page.buffer);
  view.setUint16(0, identity.vendor, true);
  view.setUint16(2, identity.subsystemVendor, true);
  putText(page, 4, 20, identity.serial);
  putText(page, 24, 40, identity.model);
  putText(page, 64, 8, identity.firmware);
  page[77] = MDTS;
  view.setUint32(80, VERSION, true);
  // Controller type: I/O controller.
  page[111] = 1;
  view.setUint16(256, OPTIONAL_ADMIN_COMMANDS, true);
  page[258] = ABORTS - 1;
  page[259] = EVENT_REQUESTS - 1;
  page[260] = FIRMWARE_SLOTS;
  page[261] = LOG_ATTRIBUTES;
  page[262] = ERROR_ENTRIES - 1;
  view.setUint16(266, TEMPERATURE_WARNING, true);
  view.setUint16(268, CRITICAL_TEMPERATURE, true);
  // Sizes of queue entries, minimum and maximum, as powers of two.
  page[512] = 0x66;
  page[513] = 0x44;
  // Namespaces.
  view.setUint32(516, 1, true);
  view.setUint16(520, OPTIONAL_COMMANDS, true);
  page[525] = VOLATILE_WRITE_CACHE;
  view.setUint16(534, COPY_FORMATS, true);
  view.setUint32(536, SGL_SUPPORT, true);
  const name = `nqn.2021-04.org.iopf:nvme:${identity.serial}`;
  for (let index = 0; index < name.length; index++) page[768 + index] = name.charCodeAt(index);
  view.setUint16(2048, POWER_MAXIMUM, true);
  return page;
}

export function identifyNamespace(identity: ControllerIdentity, namespace: Namespace): Uint8Array {
  const page = new Uint8Array(IDENTIFY_BYTES);
  const view = new DataView(page.buffer);
  // Size, capacity and use, in blocks: nothing is thin.
  for (const at of [0, 8, 16]) view.setBigUint64(at, BigInt(namespace.blocks), true);
  page[25] = FORMATS.length - 1;
  page[26] = namespace.format;
  // Deallocated blocks read as zeros; Write Zeroes may deallocate.
  page[33] = 0x1 | 0x8;
  // Copy: blocks of a range, of all ranges, and ranges.
  view.setUint16(74, COPY_BLOCKS, true);
  view.setUint32(76, COPY_BLOCKS, true);
  page[80] = COPY_RANGES - 1;
  if (namespace.store.readOnly) page[99] = WRITE_PROTECTED;
  putUniqueId(view, 104, identity);
  // Formats: log2 of a block's bytes in the third byte.
  for (const [format, bytes] of FORMATS.entries()) page[128 + 4 * format + 2] = Math.log2(bytes);
  return page;
}

/**
 * What the NVM command set alone has of a namespace, nothing, or of a controller: Verify reads no
 * more than a transfer does (VSL).
 */
export function commandSetSpecific(isController: boolean): Uint8Array {
  const page = new Uint8Array(IDENTIFY_BYTES);
  if (isController) page[0] = MDTS;
  return page;
}

/** Namespace ids above `after`, in order: there is namespace 1. */
export function activeNamespaces(after: number): Uint8Array {
  const page = new Uint8Array(IDENTIFY_BYTES);
  if (after < 1) page[0] = 1;
  return page;
}

/** A namespace's unique ids: an NGUID, made of the controller's serial number. */
export function namespaceDescriptors(identity: ControllerIdentity): Uint8Array {
  const page = new Uint8Array(IDENTIFY_BYTES);
  page[0] = 2;
  page[1] = 16;
  putUniqueId(new DataView(page.buffer), 4, identity);
  return page;
}

/** 16 bytes that the serial number decides: FNV-1a, seeded by the part's number. */
function putUniqueId(view: DataView, offset: number, identity: ControllerIdentity): void {
  const text = identity.serial.padEnd(20);
  for (let part = 0; part < 4; part++) {
    let hash = 0x811c9dc5 ^ part;
    for (let index = 0; index < text.length; index++) {
      hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
    }
    view.setUint32(offset + 4 * part, hash >>> 0);
  }
}

function putText(page: Uint8Array, offset: number, length: number, text: string): void {
  const padded = text.padEnd(length).slice(0, length);
  for (let index = 0; index < length; index++) page[offset + index] = padded.charCodeAt(index);
}
