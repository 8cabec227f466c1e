import type { DmaBuffer } from '../../mm/frame-memory.js';
import type { DeviceHost, FrameCapture, NetworkPort } from '../device-host.js';
import type { Attachment } from '../network.js';
import type { PciEndpoint } from '../pci/endpoint.js';
import type { PciDevice } from '../pci/pci-device.js';
import { RegisterFile } from '../register-table.js';
import { Cause, Ctrl, Rctl, Status } from './bits.js';
import { IgbInterrupts } from './interrupts.js';
import { BATCH, BATCHES_PER_TURN, FRAME_MOST, HEADROOM } from './limits.js';
import { Nvm } from './nvm.js';
import { pad } from './offloads.js';
import { Phy } from './phy.js';
import { Receiver } from './receiver.js';
import { igbRegisters, keptByReset, Reg } from './registers.js';
import { Statistics } from './statistics.js';
import { Transmitter, type Wire } from './transmitter.js';

export const Bar = { REGISTERS: 0, FLASH: 1, IO: 2, MSIX: 3 } as const;

/** BAR 2: the register that an access of IODATA goes to (3.3.1.2). */
const IOADDR = 0;
const IODATA = 4;
const SPEED_MASK = 3;
/** SWSM: software has the semaphore; a read that finds it free takes it (4.6.12). */
const SEMAPHORE = 1;
const WORD = 4;
/** Turns of the transmitter in a write of a tail: the largest ring that drivers use. */
const TURNS_PER_WRITE = 4096 / (BATCH * BATCHES_PER_TURN);
/** Room for a frame that arrives. */
const SLOT_BYTES = 0x4100;

/** Intel's 82576, one port of it. */
export class IgbDevice implements PciDevice, Wire {
  readonly registers = new RegisterFile(igbRegisters);
  private readonly nvm: Nvm;
  private readonly phy: Phy;
  private readonly interrupts: IgbInterrupts;
  private readonly statistics: Statistics;
  private readonly transmitter: Transmitter;
  private readonly receiver: Receiver;
  private readonly arrivals: DmaBuffer;
  private readonly network: NetworkPort | null;
  private readonly capture: FrameCapture | null;
  private ioAddress = 0;

  /** `mac`: six bytes. */
  constructor(
    private readonly endpoint: PciEndpoint,
    { allocate, nowUs }: DeviceHost,
    mac: Uint8Array,
    { network, capture, link }: Attachment,
  ) {
    this.network = network;
    this.capture = capture;
    const { registers } = this;
    const { dma } = endpoint;
    this.statistics = new Statistics(registers);
    const { statistics } = this;
    this.nvm = new Nvm(registers, mac);
    this.interrupts = new IgbInterrupts(registers, endpoint.interrupts, nowUs);
    this.phy = new Phy(registers, () => this.interrupts.raise(Cause.LSC));
    link?.watch(() => this.phy.cut(link.isDown));
    this.receiver = new Receiver(registers, this.interrupts, statistics, dma, allocate);
    this.transmitter = new Transmitter(registers, this.interrupts, statistics, dma, this, allocate);
    this.arrivals = allocate(BATCH * SLOT_BYTES);
    registers.onWrite(['CTRL'], (value) => this.control(value));
    registers.onRead(['STATUS'], (kept) => this.status(kept));
    registers.onWrite(['STATUS'], (value) => {
      const kept = registers.get(Reg.STATUS);
      registers.set(Reg.STATUS, kept & (value | ~Status.PHY_RESET_ASSERTED));
    });
    registers.onRead(['SWSM'], (kept) => {
      registers.set(Reg.SWSM, kept | SEMAPHORE);
      return kept;
    });
  }

  reset(): void {
    this.registers.reset();
    this.ioAddress = 0;
    this.resetParts();
  }

  read(bar: number, offset: number, size: number): number {
    if (bar === Bar.REGISTERS) return this.registers.read(offset);
    if (bar === Bar.IO && offset === IOADDR) return this.ioAddress;
    if (bar === Bar.IO && offset === IODATA) return this.registers.read(this.ioAddress);
    return bar === Bar.MSIX ? this.endpoint.loadBar(bar, offset, size) : 0;
  }

  write(bar: number, offset: number, size: number, value: number): void {
    if (bar === Bar.REGISTERS) this.writeRegister(offset, value);
    else if (bar === Bar.IO && offset === IOADDR) this.ioAddress = value - (value % WORD);
    else if (bar === Bar.IO && offset === IODATA) this.writeRegister(this.ioAddress, value);
    else if (bar === Bar.MSIX) this.endpoint.storeBar(bar, offset, size, value);
  }

  /**
   * A ring's worth of descriptors has been sent when the write of its tail is over: a driver that
   * waits for so long and no longer finds them done however late it is.
   */
  private writeRegister(offset: number, value: number): void {
    this.registers.write(offset, value);
    const at = igbRegisters.at(offset);
    if (at < 0 || igbRegisters.row(at).name !== 'TDT') return;
    for (let turn = 0; turn < TURNS_PER_WRITE && this.transmitter.poll(); turn++);
  }

  poll(): boolean {
    const hasSent = this.transmitter.poll();
    const hasCome = this.arrive();
    return this.interrupts.poll() || hasSent || hasCome;
  }

  /** A frame that is sent: out to the network, or back. Without a link it is lost. */
  take(buffer: DmaBuffer, offset: number, length: number): void {
    if (!this.phy.linkUp) return;
    this.capture?.(buffer.bytes, offset, length, true);
    if (this.network === null || this.isLoopedBack) this.receiver.take(buffer, offset, length);
    else this.network.send(buffer, offset, length);
  }

  flush(): void {
    this.receiver.flush();
  }

  private get isLoopedBack(): boolean {
    const mode = this.registers.get(Reg.RCTL) & Rctl.LOOPBACK_MASK;
    return mode === Rctl.LOOPBACK_MAC || this.phy.loopback;
  }

  /** Frames wait at the network while there is no buffer for one. */
  private arrive(): boolean {
    const { network, receiver, arrivals } = this;
    if (network === null || !this.phy.linkUp) return false;
    let count = 0;
    for (; count < BATCH && receiver.ready; count++) {
      const start = count * SLOT_BYTES + HEADROOM;
      const length = network.receive(arrivals, start, FRAME_MOST);
      if (length === 0) break;
      this.capture?.(arrivals.bytes, start, length, false);
      receiver.take(arrivals, start, pad(arrivals.bytes, start, length));
    }
    if (count === 0) return false;
    receiver.flush();
    return true;
  }

  private control(value: number): void {
    if ((value & Ctrl.RESET) === 0) return;
    this.registers.reset((name) => keptByReset.has(name));
    this.resetParts();
    this.endpoint.interrupts.pin(false);
  }

  private resetParts(): void {
    this.interrupts.reset();
    this.statistics.reset();
    this.phy.reset();
    this.nvm.load();
    this.transmitter.reset();
    this.receiver.reset();
  }

  private status(kept: number): number {
    const control = this.registers.get(Reg.CTRL);
    const forced = ((control >>> Ctrl.SPEED_SHIFT) & SPEED_MASK) << Status.SPEED_SHIFT;
    const speed = (control & Ctrl.FORCE_SPEED) !== 0 ? forced : Status.SPEED_1000;
    const idle = (control & Ctrl.MASTER_DISABLE) !== 0 ? Status.MASTER_ENABLED : 0;
    return (kept & ~idle) | speed | (this.phy.linkUp ? Status.LINK_UP : 0);
  }
}
