import type { AllocateDma } from '../../mm/frame-memory.js';
import type { PciDevice } from '../pci/device.js';
import type { PciEndpoint } from '../pci/endpoint.js';
import { AdminCommands } from './admin-commands.js';
import { Batch, commandAt } from './batch.js';
import { Sqe } from './command.js';
import { EventInformation, EventType } from './events.js';
import type { ControllerIdentity } from './identify.js';
import { IoCommands } from './io-commands.js';
import { BATCH_COMMANDS } from './limits.js';
import { LogPage } from './log-pages.js';
import type { Namespace } from './namespace.js';
import { commandsWaiting, completionRoom, type SubmissionQueue } from './queue.js';
import { QueueTable } from './queue-table.js';
import { ControllerConfiguration, ControllerStatus, Register, Registers } from './registers.js';
import { NO_COMPLETION } from './status.js';

/** Batches of one queue before the others get their turn. */
const BATCHES_PER_TURN = 4;

/**
 * An NVM Express 1.4 controller with one namespace.
 *
 * There is no clock: what `poll` finds (a doorbell, a change of CC) is done when it returns, so the only commands ever in
 * flight are asynchronous event requests and those that wait for room in their completion queue or for bus mastering.
 */
export class NvmeController implements PciDevice {
  readonly #endpoint: PciEndpoint;
  readonly #registers: Registers;
  readonly #queues: QueueTable;
  readonly #batch: Batch;
  readonly #admin: AdminCommands;
  readonly #io: IoCommands;
  #ready = false;

  constructor(
    endpoint: PciEndpoint,
    identity: ControllerIdentity,
    namespace: Namespace,
    allocate: AllocateDma,
  ) {
    this.#endpoint = endpoint;
    this.#registers = new Registers(endpoint.barMemory(0));
    this.#queues = new QueueTable(this.#registers);
    this.#batch = new Batch(endpoint.dma, allocate);
    this.#admin = new AdminCommands(identity, namespace, this.#queues, this.#batch, allocate);
    const { features, statistics } = this.#admin;
    this.#io = new IoCommands(namespace, this.#batch, endpoint.dma, features, statistics, allocate);
  }

  reset(): void {
    this.#stop();
    this.#registers.reset();
  }

  read(_bar: number, offset: number, size: number): number {
    this.poll();
    const aligned = offset & ~3;
    if (aligned >= Register.END && aligned < Register.DOORBELLS) return 0;
    if (aligned >= Register.MSIX_TABLE) return 0;
    return size === 4 ? this.#registers.read(offset) : this.#registers.read(aligned) >>> ((offset & 3) * 8);
  }

  write(_bar: number, offset: number, size: number, value: number): void {
    if (size !== 4) return;
    if (offset < Register.DOORBELLS) this.#registers.write(offset, value | 0);
    else if (offset < Register.MSIX_TABLE) this.#doorbell((offset - Register.DOORBELLS) / 4, value);
    this.poll();
  }

  poll(): boolean {
    let found = false;
    if (this.#registers.touched) {
      this.#configure();
      found = true;
    }
    if (!this.#ready || !this.#endpoint.dma.enabled) return found;
    const queues = this.#queues;
    // The admin queue comes first and may change the list behind itself.
    for (let index = 0; index < queues.active.length; index++) {
      const queue = queues.active[index]!;
      const tail = this.#registers.submissionTail(queue.id);
      if (tail !== queue.tail) this.#takeTail(queue, tail);
      if (queue.head === queue.tail) continue;
      if (this.#turn(queue)) found = true;
      if (!this.#ready) return true;
    }
    if (this.#admin.events.ready && this.#sendEvents()) found = true;
    if (this.#endpoint.interrupts.pinAsserted) this.#updatePin();
    return found;
  }

  /** A doorbell written by a call, where its register can be checked. */
  #doorbell(index: number, value: number): void {
    const id = index >> 1;
    const exists = (index & 1) === 0 ? this.#queues.submission(id) : this.#queues.completion(id);
    if (!exists) {
      this.#reportError(EventInformation.INVALID_DOORBELL_REGISTER);
    } else if (value >= exists.entries) {
      this.#reportError(EventInformation.INVALID_DOORBELL_VALUE);
    } else if ((index & 1) === 0) {
      this.#registers.setSubmissionTail(id, value);
    } else {
      this.#registers.setCompletionHead(id, value);
    }
  }

  #takeTail(queue: SubmissionQueue, tail: number): void {
    if (tail >= 0 && tail < queue.entries) {
      queue.tail = tail;
      return;
    }
    this.#registers.setSubmissionTail(queue.id, queue.tail);
    this.#reportError(EventInformation.INVALID_DOORBELL_VALUE);
  }

  #reportError(information: number): void {
    this.#admin.events.report(EventType.ERROR, information, LogPage.ERROR);
  }

  /** CC, INTMS or INTMC was written. */
  #configure(): void {
    const registers = this.#registers;
    registers.takeInterruptMask();
    const before = registers.takeConfiguration();
    const { configuration } = registers;
    const { ENABLE, SHUTDOWN } = ControllerConfiguration;
    if ((configuration & ENABLE) === 0 && (before & ENABLE) !== 0) {
      this.#stop();
      registers.status = 0;
    }
    if ((configuration & ENABLE) !== 0 && (before & ENABLE) === 0) this.#start();
    const notified = (configuration & SHUTDOWN) !== 0;
    const status = registers.status & ~ControllerStatus.SHUTDOWN;
    // Everything that was completed is with the store, so a shutdown is over at once.
    registers.status = notified ? status | ControllerStatus.SHUTDOWN_COMPLETE : status;
    this.#updatePin();
  }

  #start(): void {
    const registers = this.#registers;
    registers.showConstants();
    const unsupported = (registers.configuration & ControllerConfiguration.UNSUPPORTED) !== 0;
    if (unsupported || registers.adminSqEntries < 2 || registers.adminCqEntries < 2) {
      this.#die();
      return;
    }
    registers.clearDoorbells();
    this.#queues.createAdmin(
      registers.queuePage(Register.ASQ),
      registers.adminSqEntries,
      registers.queuePage(Register.ACQ),
      registers.adminCqEntries,
    );
    registers.status = ControllerStatus.READY;
    this.#ready = true;
  }

  /** Controller reset: queues, features and event requests are gone; registers of the admin queue stay. */
  #stop(): void {
    this.#ready = false;
    this.#queues.clear();
    this.#admin.reset();
    this.#endpoint.interrupts.pin(false);
  }

  /** Fatal status: nothing goes on until the host resets the controller. */
  #die(): void {
    this.#ready = false;
    this.#registers.status |= ControllerStatus.FATAL;
  }

  /** Lets a queue do what waits in it. True: it did something. */
  #turn(queue: SubmissionQueue): boolean {
    let found = false;
    for (let batches = 0; batches < BATCHES_PER_TURN && this.#ready; batches++) {
      const waiting = commandsWaiting(queue);
      if (waiting === 0) break;
      const { completions } = queue;
      let room = completionRoom(completions);
      if (room < BATCH_COMMANDS) {
        if (!this.#queues.takeHead(completions)) this.#reportError(EventInformation.INVALID_DOORBELL_VALUE);
        room = completionRoom(completions);
      }
      if (room === 0) break;
      found = true;
      if (queue.id === 0) this.#adminCommand(queue);
      else this.#ioBatch(queue, Math.min(waiting, room, BATCH_COMMANDS));
    }
    return found;
  }

  #adminCommand(queue: SubmissionQueue): void {
    const batch = this.#batch;
    if (!batch.fetch(queue, 1)) {
      this.#die();
      return;
    }
    const identifier = batch.commands[Sqe.HEAD]! >>> 16;
    queue.head = queue.head + 1 === queue.entries ? 0 : queue.head + 1;
    const status = this.#admin.execute(0);
    if (status !== NO_COMPLETION) {
      batch.complete(queue, queue.head, identifier, status, this.#admin.result);
    }
    if (batch.completed > 0) this.#send(queue);
  }

  #ioBatch(queue: SubmissionQueue, count: number): void {
    const batch = this.#batch;
    const io = this.#io;
    if (!batch.fetch(queue, count)) {
      this.#die();
      return;
    }
    const { lists } = batch;
    for (let slot = 0; slot < count; slot++) io.prefetch(commandAt(slot), slot, lists);
    batch.fetchLists();
    let slot = 0;
    // What does not fit stays in the queue and is fetched again.
    while (slot < count && batch.room) {
      const at = commandAt(slot);
      const head = queue.head + 1 === queue.entries ? 0 : queue.head + 1;
      queue.head = head;
      const status = io.execute(at, slot);
      batch.complete(queue, head, batch.commands[at + Sqe.HEAD]! >>> 16, status, 0);
      slot++;
    }
    batch.receive();
    io.settle();
    this.#send(queue);
  }

  #send(queue: SubmissionQueue): void {
    const batch = this.#batch;
    if (!batch.send(queue)) {
      this.#die();
      return;
    }
    if (batch.errors > 0) this.#logErrors(queue);
    const { completions } = queue;
    if (completions.interrupts) this.#interrupt(completions.vector);
  }

  #interrupt(vector: number): void {
    const { interrupts } = this.#endpoint;
    if (interrupts.messages) {
      interrupts.message(vector);
    } else {
      this.#updatePin();
    }
  }

  /** The pin is asserted while the host has completions to take, unless vector 0 is masked. */
  #updatePin(): void {
    const masked = (this.#registers.interruptMask & 1) !== 0;
    this.#endpoint.interrupts.pin(this.#ready && !masked && this.#queues.unseen);
  }

  #sendEvents(): boolean {
    const { events } = this.#admin;
    const queue = this.#queues.submission(0)!;
    this.#queues.takeHead(queue.completions);
    if (completionRoom(queue.completions) < 1) return false;
    this.#batch.begin();
    this.#batch.complete(queue, queue.head, events.takeRequest(), 0, events.takeEvent());
    this.#send(queue);
    return true;
  }

  /** The error information log gets every command of the batch that failed. */
  #logErrors(queue: SubmissionQueue): void {
    const { commands, completed } = this.#batch;
    for (let index = 0; index < completed; index++) {
      const completion = this.#batch.completion(index);
      const status = completion[3]! >>> 16;
      if (status >>> 1 === 0) continue;
      const at = commandAt(index);
      this.#admin.logs.addError({
        submissionQueue: queue.id,
        command: completion[3]! & 0xffff,
        status,
        firstBlock: queue.id === 0 ? 0 : commands[at + Sqe.DW11]! * 2 ** 32 + commands[at + Sqe.DW10]!,
        namespace: commands[at + Sqe.NAMESPACE]!,
      });
    }
  }
}
