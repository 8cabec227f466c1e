import { READ } from '../../mm/address-space.js';
import type { AllocateDma } from '../../mm/frame-memory.js';
import type { CommandFaults } from '../faults.js';
import type { PciEndpoint } from '../pci/endpoint.js';
import type { PciDevice } from '../pci/pci-device.js';
import { AdminCommands } from './admin-commands.js';
import { Arbiter } from './arbiter.js';
import { Batch } from './batch.js';
import { CommandPages } from './command-pages.js';
import type { ControllerMemory } from './controller-memory.js';
import { EventInformation } from './events.js';
import { faultyCommands } from './faulty-commands.js';
import type { ControllerIdentity } from './identify.js';
import { IoCommands } from './io-commands.js';
import type { Namespace } from './namespace.js';
import { QueueTable } from './queue-table.js';
import { ControllerConfiguration, ControllerStatus, Register, Registers } from './registers.js';

/**
 * An NVM Express 1.4 controller with one namespace.
 *
 * There is no clock: what `poll` finds (a doorbell, a change of CC) is done when it returns, so the
 * only commands ever in flight are asynchronous event requests and those that wait for their
 * queue's turn, for room in their completion queue or for bus mastering.
 */
export class NvmeController implements PciDevice {
  private readonly registers: Registers;
  private readonly queues: QueueTable;
  private readonly admin: AdminCommands;
  private readonly arbiter: Arbiter;
  private ready = false;
  readonly stalls = true;

  constructor(
    private readonly endpoint: PciEndpoint,
    identity: ControllerIdentity,
    private readonly namespace: Namespace,
    buffer: ControllerMemory,
    allocate: AllocateDma,
    faults: CommandFaults | null = null,
  ) {
    const registers = new Registers(endpoint.barMemory(0), buffer);
    const queues = new QueueTable(registers, endpoint.dma);
    const batch = new Batch(endpoint.dma, allocate);
    // What is moved at once belongs to the command that is completed next.
    endpoint.dma.asker = () =>
      endpoint.dma.enabled ? batch.asking(batch.tag, READ) : 'entries of submission queue 0';
    const admin = new AdminCommands(identity, namespace, queues, batch, allocate);
    const { features, statistics } = admin;
    const io = new IoCommands(namespace, batch, endpoint.dma, features, statistics, allocate);
    this.registers = registers;
    this.queues = queues;
    this.admin = admin;
    const pages = new CommandPages(endpoint.dma.askAhead(), batch, admin, io);
    const parts =
      faults === null ? { admin, io, late: null } : faultyCommands(faults, batch, admin, io);
    this.arbiter = new Arbiter(
      endpoint,
      registers,
      queues,
      batch,
      parts.admin,
      parts.io,
      pages,
      parts.late,
    );
  }

  reset(): void {
    this.stop();
    this.registers.reset();
  }

  read(_bar: number, offset: number, size: number): number {
    const aligned = offset & ~3;
    if (aligned >= Register.END && aligned < Register.DOORBELLS) return 0;
    if (aligned >= Register.MSIX_TABLE) return 0;
    return size === 4
      ? this.registers.read(offset)
      : this.registers.read(aligned) >>> ((offset & 3) * 8);
  }

  write(_bar: number, offset: number, size: number, value: number): void {
    if (size !== 4) return;
    if (offset < Register.DOORBELLS) this.registers.write(offset, value | 0);
    else if (offset < Register.MSIX_TABLE) this.doorbell((offset - Register.DOORBELLS) / 4, value);
    this.poll();
  }

  poll(): boolean {
    let found = false;
    if (this.registers.touched) {
      this.configure();
      found = true;
    }
    if (!this.ready) return found;
    const arbiter = this.arbiter;
    if (this.endpoint.dma.enabled) {
      if (arbiter.run()) found = true;
      else if (this.queues.takeStray()) {
        arbiter.reportError(EventInformation.INVALID_DOORBELL_REGISTER);
        found = true;
      }
      if (arbiter.broken) this.die();
    } else arbiter.holdBack();
    if (arbiter.pinDue || this.endpoint.interrupts.pinAsserted) this.updatePin();
    return found;
  }

  /** A doorbell written by a call, where its register can be checked. */
  private doorbell(index: number, value: number): void {
    const id = index >> 1;
    const queue = this.queues.ofDoorbell(index);
    if (!queue) {
      this.arbiter.reportError(EventInformation.INVALID_DOORBELL_REGISTER);
    } else if (value >= queue.entries) {
      this.arbiter.reportError(EventInformation.INVALID_DOORBELL_VALUE);
    } else if ((index & 1) === 0) {
      this.registers.setSubmissionTail(id, value);
    } else {
      this.registers.setCompletionHead(id, value);
    }
  }

  /** CC, INTMS, INTMC or CMBMSC was written. */
  private configure(): void {
    const registers = this.registers;
    const before = registers.takeConfiguration();
    registers.takeBufferControl();
    registers.takeInterruptMask();
    const { configuration } = registers;
    const { ENABLE, SHUTDOWN } = ControllerConfiguration;
    if ((configuration & ENABLE) === 0 && (before & ENABLE) !== 0) {
      this.stop();
      registers.status = 0;
    }
    if ((configuration & ENABLE) !== 0 && (before & ENABLE) === 0) this.start();
    if ((configuration & SHUTDOWN) === 0) registers.status &= ~ControllerStatus.SHUTDOWN;
    else if ((before & SHUTDOWN) === 0) this.shutDown();
    this.updatePin();
  }

  /**
   * Shutdown notification: over when the write cache is durable; where that fails it never is, and
   * the host's timeout tells.
   */
  private shutDown(): void {
    const { SHUTDOWN, SHUTDOWN_OCCURRING, SHUTDOWN_COMPLETE } = ControllerStatus;
    const done = this.namespace.store.flush() ? SHUTDOWN_COMPLETE : SHUTDOWN_OCCURRING;
    this.registers.status = (this.registers.status & ~SHUTDOWN) | done;
  }

  private start(): void {
    const registers = this.registers;
    registers.showConstants();
    const unsupported = (registers.configuration & ControllerConfiguration.UNSUPPORTED) !== 0;
    if (unsupported || registers.adminSqEntries < 2 || registers.adminCqEntries < 2) {
      this.die();
      return;
    }
    registers.clearDoorbells();
    this.queues.createAdmin(
      registers.queuePage(Register.ASQ),
      registers.adminSqEntries,
      registers.queuePage(Register.ACQ),
      registers.adminCqEntries,
    );
    registers.status = ControllerStatus.READY;
    this.ready = true;
  }

  /**
   * Controller reset: queues, features and event requests are gone; registers of the admin queue
   * stay.
   */
  private stop(): void {
    this.ready = false;
    this.queues.clear();
    this.admin.reset();
    this.arbiter.reset();
    this.endpoint.dma.ahead?.reset();
    this.endpoint.interrupts.pin(false);
  }

  /** Fatal status: nothing goes on until the host resets the controller. */
  private die(): void {
    this.ready = false;
    this.registers.status |= ControllerStatus.FATAL;
  }

  /** The pin is asserted while the host has completions to take, unless vector 0 is masked. */
  private updatePin(): void {
    const masked = (this.registers.interruptMask & 1) !== 0;
    this.endpoint.interrupts.pin(this.ready && !masked && this.queues.unseen);
  }
}
