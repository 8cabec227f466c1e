/** What a vfio-user server says of itself and its device, checked before anything relies on it. */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { errnoName, VfioError } from '../../abi/errno.js';
import {
  PCI_CONFIG_SIZE,
  PCIE_CONFIG_SIZE,
  PciInterruptIndex,
  PciRegionIndex,
} from '../../abi/pci.js';
import { DeviceFlag } from '../../abi/vfio.js';
import { DeviceInfo, IrqInfo } from '../../abi/vfio-structs.js';
import { readVersion, writeVersion } from '../../vfio-user/capabilities.js';
import {
  Command,
  commandName,
  TRANSFER_BYTES,
  VERSION_MAJOR,
  VERSION_MINOR,
} from '../../vfio-user/protocol.js';
import { RegionAccess } from '../../vfio-user/structs.js';
import { OptionError } from '../options.js';
import type { Client } from './client.js';
import type { PeerHost } from './host.js';
import { type RemoteRegion, readRegion } from './region.js';

/** Descriptors that are taken with one message. */
const DESCRIPTORS_TAKEN = 64;
/** Of struct vfio_device_info before capabilities: what the protocol has. */
const INFO_BYTES = DeviceInfo.end.num_irqs;
/** Vectors of each interrupt index that PCI has at most. */
const vectorsMost = [1, 32, 2048, 1, 1];

export interface RemoteInterrupt {
  readonly count: number;
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number;
}

export interface RemoteDevice {
  readonly resettable: boolean;
  /** Nine, by index. */
  readonly regions: readonly RemoteRegion[];
  /** Five, by index. */
  readonly interrupts: readonly RemoteInterrupt[];
  /** The first 256 bytes of config space. */
  readonly config: Uint8Array;
}

/** Asks the server of a client what there is. Everything it throws is an OptionError. */
export class Negotiation {
  private readonly body = new ArgumentBuffer(INFO_BYTES);

  constructor(
    private readonly client: Client,
    private readonly host: PeerHost,
    private readonly path: string,
  ) {}

  run(): RemoteDevice {
    this.version();
    const { body } = this;
    body.bytes.fill(0);
    body.setU32(DeviceInfo.at.argsz, INFO_BYTES);
    const info = this.ask(Command.DEVICE_GET_INFO, body.prefix(INFO_BYTES), INFO_BYTES);
    const flags = info.getUint32(DeviceInfo.at.flags, true);
    if ((flags & DeviceFlag.VFIO_DEVICE_FLAGS_PCI) === 0) this.refuse('has no PCI device');
    const regions = info.getUint32(DeviceInfo.at.num_regions, true);
    const interrupts = info.getUint32(DeviceInfo.at.num_irqs, true);
    if (regions <= PciRegionIndex.CONFIG)
      this.refuse(
        `says it has ${regions} regions; a PCI device has its config space in the eighth`,
      );
    return {
      resettable: (flags & DeviceFlag.VFIO_DEVICE_FLAGS_RESET) !== 0,
      regions: Array.from({ length: PciRegionIndex.COUNT }, (_, index) =>
        this.region(index, regions),
      ),
      interrupts: Array.from({ length: PciInterruptIndex.COUNT }, (_, index) =>
        index < interrupts ? this.interrupt(index) : { count: 0, flags: 0 },
      ),
      config: this.config(),
    };
  }

  /** Throws an OptionError; `reason` goes on where the server was named. */
  readonly refuse = (reason: string): never => {
    throw new OptionError(`device vfio-user: the server at ${this.path} ${reason}`);
  };

  private version(): void {
    const { client, host } = this;
    const request = writeVersion(VERSION_MINOR, {
      maxMessageDescriptors: DESCRIPTORS_TAKEN,
      maxTransferBytes: TRANSFER_BYTES,
      twinSocket: true,
    });
    const error = client.request(Command.VERSION, request);
    if (error !== 0) this.failed(Command.VERSION, error);
    const { major, minor, capabilities } = this.peerVersion();
    if (major !== VERSION_MAJOR)
      this.refuse(
        `speaks version ${major}.${minor} of the protocol, and this is ${VERSION_MAJOR}.x`,
      );
    client.capabilities = capabilities;
    const descriptors = client.takeDescriptors();
    const twin = capabilities.twinSocket ? descriptors[capabilities.twinIndex] : undefined;
    for (const fd of descriptors) if (fd !== twin) host.closeFile(fd);
    if (twin !== undefined) client.addTwin(host.channel(twin));
  }

  private peerVersion(): ReturnType<typeof readVersion> {
    try {
      return readVersion(this.client.reply);
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      return this.refuse('answers VERSION with what cannot be read');
    }
  }

  private region(index: number, regions: number): RemoteRegion {
    const { client, host, refuse } = this;
    // A server need not have those that are not there.
    const none = { size: 0, flags: 0, offset: 0, fd: -1, areas: [] };
    const region = index < regions ? (readRegion(client, host, index, refuse) ?? none) : none;
    const isConfig = index === PciRegionIndex.CONFIG;
    if (isConfig && region.size !== PCI_CONFIG_SIZE && region.size !== PCIE_CONFIG_SIZE)
      this.refuse(
        `says its config space has ${region.size} bytes; it has ${PCI_CONFIG_SIZE} or ${PCIE_CONFIG_SIZE}`,
      );
    return region;
  }

  private config(): Uint8Array {
    const { body } = this;
    const { at, size } = RegionAccess;
    body.bytes.fill(0);
    body.setU32(at.region, PciRegionIndex.CONFIG);
    body.setU32(at.count, PCI_CONFIG_SIZE);
    this.ask(Command.REGION_READ, body.prefix(size), size + PCI_CONFIG_SIZE);
    return this.client.reply.slice(size, size + PCI_CONFIG_SIZE);
  }

  private interrupt(index: number): RemoteInterrupt {
    const { body } = this;
    body.bytes.fill(0);
    body.setU32(IrqInfo.at.argsz, IrqInfo.size);
    body.setU32(IrqInfo.at.index, index);
    const { client } = this;
    if (client.request(Command.DEVICE_GET_IRQ_INFO, body.prefix(IrqInfo.size)) !== 0) {
      if (client.isDead) this.failed(Command.DEVICE_GET_IRQ_INFO, 0);
      return { count: 0, flags: 0 };
    }
    const info = this.replyOf(Command.DEVICE_GET_IRQ_INFO, IrqInfo.size);
    const count = info.getUint32(IrqInfo.at.count, true);
    const most = vectorsMost[index]!;
    if (count > most)
      this.refuse(`says interrupt index ${index} has ${count} vectors; there can be ${most}`);
    return { count, flags: info.getUint32(IrqInfo.at.flags, true) };
  }

  private ask(command: number, body: Uint8Array, least: number): DataView {
    const error = this.client.request(command, body);
    if (error !== 0) this.failed(command, error);
    return this.replyOf(command, least);
  }

  private replyOf(command: number, least: number): DataView {
    const { reply } = this.client;
    if (reply.length < least)
      this.refuse(`answers ${commandName(command)} with ${reply.length} bytes of ${least}`);
    return new DataView(reply.buffer, reply.byteOffset, reply.length);
  }

  private failed(command: number, error: number): never {
    return this.refuse(
      this.client.death ?? `answers ${commandName(command)} with ${errnoName(error)}`,
    );
  }
}
