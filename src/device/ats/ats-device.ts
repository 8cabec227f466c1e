import { PAGE_SIZE } from '../../mm/address-space.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { PciEndpoint } from '../pci/endpoint.js';
import type { PciDevice } from '../pci/pci-device.js';

/** Registers, offsets in bytes of BAR 0. */
export const AtsRegister = {
  /** 64 bits: where the transfer goes, in IOVA bytes. */
  ADDRESS: 0x0,
  COMMAND: 0x8,
  /** First byte behind the last register. */
  END: 0xc,
} as const;

/** COMMAND. RUN is clear when the transfer is over. */
export const AtsCommand = { RUN: 0x1, FROM_MEMORY: 0x2 } as const;

/**
 * A device that does nothing but move one page between memory and a buffer of its own. Where a page
 * is missing it asks for it and tries again, for as long as it is told SUCCESS; what is written to
 * its registers meanwhile is lost.
 */
export class AtsDevice implements PciDevice {
  readonly stalls = true;
  private readonly words = new Uint32Array(AtsRegister.END / 4);
  private readonly buffer: DmaBuffer;
  private done = 0;

  constructor(
    private readonly endpoint: PciEndpoint,
    allocate: AllocateDma,
  ) {
    this.buffer = allocate(PAGE_SIZE);
  }

  reset(): void {
    this.words.fill(0);
    this.buffer.bytes.fill(0);
  }

  read(_bar: number, offset: number, size: number): number {
    return size === 4 && offset < AtsRegister.END ? this.words[offset / 4]! : 0;
  }

  write(_bar: number, offset: number, size: number, value: number): void {
    if (size !== 4 || offset >= AtsRegister.END || this.isRunning) return;
    this.words[offset / 4] = value;
    if (!this.isRunning) return;
    this.done = 0;
    this.transfer();
  }

  takesWide(_bar: number, offset: number): boolean {
    return offset === AtsRegister.ADDRESS;
  }

  /** Goes on with a transfer whose page request was answered. */
  poll(): boolean {
    if (!this.isRunning || !this.endpoint.dma.ready) return false;
    this.transfer();
    return true;
  }

  private get isRunning(): boolean {
    return (this.command & AtsCommand.RUN) !== 0;
  }

  private get command(): number {
    return this.words[AtsRegister.COMMAND / 4]!;
  }

  /** What is refused of a read is zeros, of a write it is lost. */
  private transfer(): void {
    const { dma } = this.endpoint;
    const { buffer, done, words } = this;
    const address = words[1]! * 2 ** 32 + words[0]! + done;
    const left = PAGE_SIZE - done;
    if ((this.command & AtsCommand.FROM_MEMORY) === 0) dma.writeRange(address, left, buffer, done);
    else {
      buffer.bytes.fill(0, done);
      dma.readRange(address, left, buffer, done);
    }
    if (dma.stalled) this.done += dma.stalledAt;
    else words[AtsRegister.COMMAND / 4] = this.command & ~AtsCommand.RUN;
  }
}
