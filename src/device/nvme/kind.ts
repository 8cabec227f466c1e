import { PAGE_SIZE } from '../../mm/address-space.js';
import { type BlockStore, memoryStore } from '../block-store.js';
import type { DeviceKind } from '../kind.js';
import { DeviceOptions, mmapOption, OptionError } from '../options.js';
import type { PciDescription } from '../pci/description.js';
import { type EndpointContext, PciEndpoint } from '../pci/endpoint.js';
import { NvmeController } from './controller.js';
import { CMB_BAR, ControllerMemory } from './controller-memory.js';
import { MSIX_VECTORS } from './limits.js';
import { FORMATS, Namespace } from './namespace.js';
import { Register } from './registers.js';

const options = {
  size: 'size of the disk: bytes, or with K, M, G or T; 64M unless given, with file= the size that the file has',
  file: 'the disk is this file; made or grown to size= where that is given. Without it the disk is in memory',
  block:
    'bytes of a block: 512 (the default) or 4096; Format NVM can change it for the rest of the run',
  readonly: 'on: the disk can only be read, and several runs can have the same file',
  cmb: 'size of a controller memory buffer in BAR 2: a power of two from 4K to 1G; none unless given',
  ...mmapOption,
  serial: 'serial number, 1 to 20 printable ASCII characters; made of the address unless given',
};

const BUFFER_LIMIT = 2 ** 30;
const DEFAULT_SIZE = 64 * 2 ** 20;
/** Blocks are counted exactly up to here. */
const SIZE_LIMIT = 16 * 2 ** 40;
const VENDOR = 0x1b36;
const SUBSYSTEM_VENDOR = 0x1af4;

/** As QEMU's nvme device shows itself behind a root port. */
const description: PciDescription = {
  vendor: VENDOR,
  device: 0x0010,
  subsystemVendor: SUBSYSTEM_VENDOR,
  subsystem: 0x1100,
  revision: 2,
  classCode: 0x010802,
  pin: true,
  line: 0x0a,
  bars: [
    {
      index: 0,
      size: Register.SIZE,
      address: 0xfdc00000,
      wide: true,
      mappable: true,
      trapped: [{ offset: 0, size: Register.DOORBELLS }],
      polled: true,
    },
  ],
  capabilities: [
    {
      kind: 'msix',
      offset: 0x40,
      vectors: MSIX_VECTORS,
      bar: 0,
      table: Register.MSIX_TABLE,
      pending: Register.MSIX_PENDING,
    },
    { kind: 'express', offset: 0x80 },
    { kind: 'power', offset: 0x60 },
  ],
};

/** With a controller memory buffer of this many bytes. */
function withBuffer(bytes: number): PciDescription {
  const bar = { index: CMB_BAR, size: bytes, address: 0xc0000000, wide: true, mappable: true };
  return { ...description, bars: [...description.bars, bar] };
}

function openStore(
  parsed: DeviceOptions,
  blockBytes: number,
  { host }: EndpointContext,
): BlockStore {
  const readOnly = parsed.choice('readonly', ['on', 'off'], 'off') === 'on';
  const path = parsed.text('file');
  const given = parsed.text('size') === undefined ? null : parsed.size('size', DEFAULT_SIZE);
  if (given !== null && (given < blockBytes || given > SIZE_LIMIT || given % blockBytes !== 0)) {
    parsed.refuse('size', `a multiple of ${blockBytes} bytes up to 16T`);
  }
  if (path === undefined) return memoryStore(given ?? DEFAULT_SIZE, host.allocate, readOnly);
  if (path === '') parsed.refuse('file', 'the path of a file');
  if (!host.openBlockFile)
    throw new OptionError('device nvme: file= cannot be used here: this run has no files');
  const store = host.openBlockFile(path, { bytes: given, readOnly });
  if (store.bytes < blockBytes) {
    throw new OptionError(
      `device nvme: ${path} is smaller than a block of ${blockBytes} bytes; give size=`,
    );
  }
  return store;
}

/** Bytes of the controller memory buffer; 0: there is none. */
function bufferBytes(parsed: DeviceOptions, { host }: EndpointContext): number {
  if (parsed.text('cmb') === undefined) return 0;
  const bytes = parsed.size('cmb', 0);
  if (bytes < PAGE_SIZE || bytes > BUFFER_LIMIT || !Number.isInteger(Math.log2(bytes)))
    parsed.refuse('cmb', 'a power of two from 4K to 1G');
  if (!host.frameOf)
    throw new OptionError('device nvme: cmb= cannot be used here: this run has no device memory');
  return bytes;
}

/** An NVM Express controller with one disk, for `--device nvme@BDF,size=64M`. */
export const nvme: DeviceKind = {
  name: 'nvme',
  summary: 'NVM Express 1.4 controller with one disk, in memory or on a file',
  options,
  create(given, context) {
    const parsed = new DeviceOptions('nvme', options, given);
    const blockBytes = Number(parsed.choice('block', FORMATS.map(String), '512'));
    const serial = parsed.text('serial') ?? `iopf-${context.address}`;
    if (!/^[\x20-\x7e]{1,20}$/.test(serial))
      parsed.refuse('serial', '1 to 20 printable ASCII characters');
    const namespace = new Namespace(openStore(parsed, blockBytes, context), blockBytes);
    const identity = {
      vendor: VENDOR,
      subsystemVendor: SUBSYSTEM_VENDOR,
      serial,
      model: 'iopf NVMe controller',
      firmware: '1.0',
    };
    const { allocate, frameOf } = context.host;
    const buffer = bufferBytes(parsed, context);
    return new PciEndpoint(
      'nvme',
      { ...(buffer === 0 ? description : withBuffer(buffer)), sparse: parsed.isSparse },
      context,
      (endpoint) => {
        const memory = new ControllerMemory(
          endpoint.dma,
          buffer,
          buffer === 0 ? 0 : frameOf!(endpoint.barMemory(CMB_BAR)),
        );
        const faults = context.host.faults?.commands ?? null;
        return new NvmeController(endpoint, identity, namespace, memory, allocate, faults);
      },
    );
  },
};
