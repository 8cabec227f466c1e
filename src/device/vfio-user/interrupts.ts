/**
 * Interrupts of a device in another process, by eventfds that it is given (DEVICE_SET_IRQS).
 *
 * The program's own eventfds stay here, so that what is between a device and them (INTx's mask,
 * vectors that nobody asked for, faults on purpose) is as with any device.
 */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { PciInterruptIndex } from '../../abi/pci.js';
import { IrqInfoFlag, IrqSetFlag } from '../../abi/vfio.js';
import { IrqSet } from '../../abi/vfio-structs.js';
import type { InterruptSink } from '../../vfio/pci-function.js';
import { Command } from '../../vfio-user/protocol.js';
import type { Client } from './client.js';
import type { PeerEvent, PeerHost } from './host.js';
import type { RemoteInterrupt } from './negotiation.js';

const { INTX, MSI, MSIX, ERR, REQ, COUNT } = PciInterruptIndex;
const {
  VFIO_IRQ_SET_DATA_NONE: NONE,
  VFIO_IRQ_SET_DATA_EVENTFD: EVENTFD,
  VFIO_IRQ_SET_ACTION_MASK: MASK,
  VFIO_IRQ_SET_ACTION_UNMASK: UNMASK,
  VFIO_IRQ_SET_ACTION_TRIGGER: TRIGGER,
} = IrqSetFlag;

/** The server hears of masks. */
const MASKED_THERE = IrqInfoFlag.VFIO_IRQ_INFO_MASKABLE | IrqInfoFlag.VFIO_IRQ_INFO_AUTOMASKED;

const request = new ArgumentBuffer(IrqSet.size);

export class RemoteInterrupts {
  private sink: InterruptSink | null = null;
  private readonly events: PeerEvent[][] = Array.from({ length: COUNT }, () => []);
  /** INTx has fired, or the program masked it; what fires meanwhile comes afterwards, once. */
  private isMasked = false;
  private isPending = false;

  constructor(
    private readonly client: Client,
    private readonly host: PeerHost,
    private readonly infos: readonly RemoteInterrupt[],
  ) {}

  /** The device is opened. */
  connect(sink: InterruptSink): void {
    this.sink = sink;
    for (const index of [ERR, REQ]) if (this.infos[index]!.count > 0) this.arm(index, 1);
  }

  /** It is closed: nothing comes any more. */
  disconnect(): void {
    this.sink = null;
    for (let index = 0; index < COUNT; index++) this.arm(index, 0);
  }

  /** So many vectors of an index are on from now on. */
  arm(index: number, vectors: number): void {
    const events = this.events[index]!;
    if (vectors === 0) {
      if (events.length === 0) return;
      this.send(index, NONE | TRIGGER, 0, []);
      for (const event of events.splice(0)) event.close();
      return;
    }
    if (index === INTX) this.isMasked = this.isPending = false;
    const added: number[] = [];
    for (let vector = events.length; vector < vectors; vector++) {
      const event = this.host.makeEvent(() => this.fired(index, vector));
      events.push(event);
      added.push(event.fd);
    }
    const { maxMessageDescriptors } = this.client.capabilities;
    const most = Math.max(1, maxMessageDescriptors);
    const first = vectors - added.length;
    for (let at = 0; at < added.length; at += most)
      this.send(index, EVENTFD | TRIGGER, first + at, added.slice(at, at + most));
  }

  /** The program masked INTx, or unmasked it. */
  masked(masked: boolean): void {
    this.isMasked = masked;
    if ((this.infos[INTX]!.flags & MASKED_THERE) !== 0)
      this.send(INTX, NONE | (masked ? MASK : UNMASK), 0, [], 1);
    if (masked || !this.isPending) return;
    this.isPending = false;
    this.fireIntx();
  }

  private fired(index: number, vector: number): void {
    const { sink } = this;
    if (index === MSIX) sink?.msix(vector);
    else if (index === MSI) sink?.msi(vector);
    else if (index !== INTX) sink?.notify?.(index);
    else if (this.isMasked) this.isPending = true;
    else this.fireIntx();
  }

  /** The server's signal is an edge: the level that it stands for is not known here. */
  private fireIntx(): void {
    this.isMasked = true;
    this.sink?.intx(true);
    this.sink?.intx(false);
  }

  /** A server that refuses leaves the vectors silent. */
  private send(
    index: number,
    flags: number,
    start: number,
    descriptors: readonly number[],
    count = descriptors.length,
  ): void {
    const { at } = IrqSet;
    request.setU32(at.argsz, IrqSet.size);
    request.setU32(at.flags, flags);
    request.setU32(at.index, index);
    request.setU32(at.start, start);
    request.setU32(at.count, count);
    this.client.request(Command.DEVICE_SET_IRQS, request.bytes, descriptors);
  }
}
