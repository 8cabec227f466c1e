/**
 * Config space of a device in another process: the server has it; what the engine itself asks of it
 * all the time (decoding, bus mastering) is kept here.
 */
import {
  PCI_CAP_ID,
  PCI_CAP_NEXT,
  PCI_CONFIG_SIZE,
  PciBar,
  PciCapability,
  PciCommand,
  PciConfig,
  PciExpress,
  PciMsix,
  PciPm,
  PciRegionIndex,
  PciStatus,
} from '../../abi/pci.js';
import type { RegionPort } from './region-port.js';

const { CONFIG } = PciRegionIndex;

interface Register {
  readonly start: number;
  readonly bytes: number;
}

/**
 * Registers that servers take by where they begin, whatever the width of a write: each is written
 * whole.
 */
const whole: readonly Register[] = [
  { start: PciConfig.COMMAND, bytes: 2 },
  ...Array.from({ length: 6 }, (_, bar) => ({
    start: PciConfig.BASE_ADDRESS_0 + 4 * bar,
    bytes: 4,
  })),
  { start: PciConfig.ROM_ADDRESS, bytes: 4 },
];

export class RemoteConfig {
  /** Offsets of capabilities by id. */
  private readonly capabilities: ReadonlyMap<number, number>;
  private readonly view: DataView;
  private command = 0;
  private isAwake = true;

  /**
   * @param header the first 256 bytes of it
   * @param changed told when decoding or bus mastering may have changed
   * @param flr the function has reset itself
   */
  constructor(
    private readonly port: RegionPort,
    header: Uint8Array,
    private readonly changed: () => void,
    private readonly flr: () => void,
  ) {
    this.view = new DataView(header.buffer, header.byteOffset, header.length);
    this.capabilities = findCapabilities(this.view);
    this.command = this.view.getUint16(PciConfig.COMMAND, true);
  }

  /** It is a PCI Express function. */
  get isExpress(): boolean {
    return this.capabilities.has(PciCapability.EXPRESS);
  }

  /** The BAR with the MSI-X table, -1 where there is none. */
  get msixBar(): number {
    const at = this.capabilities.get(PciCapability.MSIX);
    if (at === undefined) return -1;
    return this.view.getUint32(at + PciMsix.TABLE, true) & PciMsix.BAR_INDEX;
  }

  isIo(bar: number): boolean {
    return (this.view.getUint8(PciConfig.BASE_ADDRESS_0 + 4 * bar) & PciBar.SPACE_IO) !== 0;
  }

  /** Accesses to memory BARs get to the device. */
  get decodesMemory(): boolean {
    return this.isAwake && (this.command & PciCommand.MEMORY) !== 0;
  }

  get isMaster(): boolean {
    return this.isAwake && (this.command & PciCommand.MASTER) !== 0;
  }

  read(offset: number, into: Uint8Array): void {
    this.port.read(CONFIG, offset, into);
  }

  /** What a server refuses is lost, as a write to what can only be read is. */
  write(offset: number, from: Uint8Array): void {
    for (let at = offset, end = offset + from.length; at < end; )
      at += this.writePart(at, from.subarray(at - offset));
    const { command } = this;
    const touches = (start: number, bytes: number): boolean =>
      offset < start + bytes && start < offset + from.length;
    if (this.resets(offset, from)) {
      this.restore(command);
      this.flr();
      return;
    }
    const power = this.capabilities.get(PciCapability.PM);
    if (touches(PciConfig.COMMAND, 2) || (power !== undefined && touches(power + PciPm.CTRL, 2)))
      this.look();
  }

  /** As vfio-pci has it when it opens a device: decoding on, bus mastering off. */
  enable(): void {
    this.look();
    const bits = this.command & ~PciCommand.MASTER;
    this.restore(bits | PciCommand.IO | PciCommand.MEMORY);
  }

  /** Bus mastering off. */
  quiet(): void {
    this.restore(this.command & ~PciCommand.MASTER);
  }

  /** The device was reset: the command register is as before. */
  afterReset(): void {
    this.restore(this.command);
  }

  private restore(command: number): void {
    this.look();
    if (this.command === command) return;
    this.port.write(CONFIG, PciConfig.COMMAND, Uint8Array.of(command & 0xff, command >> 8));
    this.look();
  }

  /** Asks the server what it has made of what was written. A dead one decodes as it did. */
  private look(): void {
    const word = new Uint8Array(2);
    this.port.read(CONFIG, PciConfig.COMMAND, word);
    const command = word[0]! | (word[1]! << 8);
    if (command === 0xffff) return;
    this.command = command;
    const power = this.capabilities.get(PciCapability.PM);
    if (power !== undefined) {
      this.port.read(CONFIG, power + PciPm.CTRL, word);
      this.isAwake = (word[0]! & PciPm.STATE_MASK) === 0;
    }
    this.changed();
  }

  /** Writes the first bytes at `at`, as many as go together; returns how many. */
  private writePart(at: number, from: Uint8Array): number {
    const register = whole.find(({ start, bytes }) => at >= start && at < start + bytes);
    if (register === undefined) {
      const next = whole.find(({ start }) => start > at)?.start ?? Number.POSITIVE_INFINITY;
      const count = Math.min(from.length, next - at);
      this.port.write(CONFIG, at, from.subarray(0, count));
      return count;
    }
    const { start, bytes } = register;
    const count = Math.min(from.length, start + bytes - at);
    let value = from.subarray(0, count);
    if (count < bytes) {
      value = new Uint8Array(bytes);
      this.port.read(CONFIG, start, value);
      value.set(from.subarray(0, count), at - start);
    }
    this.port.write(CONFIG, start, value);
    return count;
  }

  /** Whether a write asks for a function-level reset. */
  private resets(offset: number, from: Uint8Array): boolean {
    const express = this.capabilities.get(PciCapability.EXPRESS);
    if (express === undefined) return false;
    const high = express + PciExpress.DEVICE_CONTROL + 1 - offset;
    const bit = PciExpress.INITIATE_FUNCTION_LEVEL_RESET >> 8;
    return high >= 0 && high < from.length && (from[high]! & bit) !== 0;
  }
}

/** Walks the list in the first 256 bytes; a loop in it ends the walk. */
function findCapabilities(view: DataView): Map<number, number> {
  const found = new Map<number, number>();
  if ((view.getUint16(PciConfig.STATUS, true) & PciStatus.CAP_LIST) === 0) return found;
  const seen = new Set<number>();
  let at = view.getUint8(PciConfig.CAPABILITY_LIST) & 0xfc;
  while (at !== 0 && !seen.has(at)) {
    seen.add(at);
    const id = view.getUint8(at + PCI_CAP_ID);
    if (!found.has(id) && at <= PCI_CONFIG_SIZE - 16) found.set(id, at);
    at = view.getUint8(at + PCI_CAP_NEXT) & 0xfc;
  }
  return found;
}
