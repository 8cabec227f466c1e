import { PAGE_SIZE } from '../../mm/address-space.js';
import type { AllocateDma, DmaBuffer } from '../../mm/frame-memory.js';
import type { Batch } from './batch.js';
import { AdminOpcode, ALL_NAMESPACES, SQE_FUSED, SQE_SGL, Sqe } from './command.js';
import { EventInformation, Events, EventType } from './events.js';
import { FeatureId, Features } from './features.js';
import {
  activeNamespaces,
  type ControllerIdentity,
  commandSetSpecific,
  IDENTIFY_BYTES,
  IdentifyKind,
  identifyController,
  identifyNamespace,
  namespaceDescriptors,
} from './identify.js';
import { TRANSFER_BYTES } from './limits.js';
import { LogPage, LogPages, Statistics, WARNING_TEMPERATURE } from './log-pages.js';
import { FORMATS, type Namespace } from './namespace.js';
import { completionRoom } from './queue.js';
import type { QueueTable } from './queue-table.js';
import { NO_COMPLETION, Status } from './status.js';

/** Of Get Log Page's DW10: leave the event masked. */
const RETAIN_EVENT = 0x8000;
/** Of Format NVM's DW10: format, metadata and protection (there is none), kind of erase. */
const FORMAT_INDEX = 0xf;
const FORMAT_METADATA = 0x1f0;
const NO_ERASE = 0;
const ERASE_DATA = 1;
const NVM_COMMAND_SET = 0;

/**
 * The admin command set (NVM Express 1.4, 5). One command at a time; its answer's data goes out
 * with its completion.
 */
export class AdminCommands {
  readonly features = new Features();
  readonly statistics = new Statistics();
  readonly events = new Events();
  readonly logs: LogPages;
  /** Result word of the command executed last. */
  result = 0;
  private readonly answer: DmaBuffer;

  constructor(
    private readonly identity: ControllerIdentity,
    private readonly namespace: Namespace,
    private readonly queues: QueueTable,
    private readonly batch: Batch,
    allocate: AllocateDma,
  ) {
    this.answer = allocate(IDENTIFY_BYTES);
    this.logs = new LogPages(this.statistics, this.features, identity.firmware);
  }

  /** A controller reset: what the host had set is gone; what was counted stays. */
  reset(): void {
    this.features.reset();
    this.events.reset();
  }

  /**
   * Does the command at word `at`. Returns its status, or NO_COMPLETION; `result` is its result.
   */
  execute(at: number): number {
    const { commands } = this.batch;
    const head = commands[at + Sqe.HEAD]!;
    const dw10 = commands[at + Sqe.DW10]!;
    const dw11 = commands[at + Sqe.DW11]!;
    this.result = 0;
    if ((head & (SQE_FUSED | SQE_SGL)) !== 0) return Status.INVALID_FIELD;
    switch (head & 0xff) {
      case AdminOpcode.IDENTIFY:
        return this.identify(at, dw10 & 0xff, dw11 >>> 24);
      case AdminOpcode.CREATE_CQ:
        return this.queues.createCompletion(
          dw10,
          dw11,
          this.queuePage(at),
          this.features.completionQueues,
        );
      case AdminOpcode.CREATE_SQ:
        return this.queues.createSubmission(
          dw10,
          dw11,
          this.queuePage(at),
          this.features.submissionQueues,
        );
      case AdminOpcode.DELETE_CQ:
        return this.queues.deleteCompletion(dw10 & 0xffff);
      case AdminOpcode.DELETE_SQ:
        return this.queues.deleteSubmission(dw10 & 0xffff);
      case AdminOpcode.GET_FEATURES:
        return this.feature(this.features.get(dw10, dw11));
      case AdminOpcode.SET_FEATURES:
        return this.setFeatures(dw10, dw11);
      case AdminOpcode.FORMAT_NVM:
        return this.format(commands[at + Sqe.NAMESPACE]!, dw10);
      case AdminOpcode.GET_LOG_PAGE:
        return this.getLogPage(at, dw10, dw11);
      case AdminOpcode.ABORT:
        return this.abort(dw10);
      case AdminOpcode.ASYNC_EVENT_REQUEST:
        return this.events.request(head >>> 16) ? NO_COMPLETION : Status.ASYNC_EVENT_LIMIT;
      default:
        return Status.INVALID_OPCODE;
    }
  }

  /** Bytes that the command at word `at` writes to memory, at most. */
  dataLength(at: number): number {
    const { commands } = this.batch;
    switch (commands[at + Sqe.HEAD]! & 0xff) {
      case AdminOpcode.IDENTIFY:
        return IDENTIFY_BYTES;
      case AdminOpcode.GET_LOG_PAGE:
        return Math.min(logBytes(commands[at + Sqe.DW10]!, commands[at + Sqe.DW11]!), PAGE_SIZE);
      default:
        return 0;
    }
  }

  /** IOVA page of a queue that is created; -1 where PRP1 does not begin a page. */
  private queuePage(at: number): number {
    const low = this.batch.commands[at + Sqe.PRP1]!;
    if ((low & 0xfff) !== 0) return -1;
    return this.batch.commands[at + Sqe.PRP1 + 1]! * 2 ** 20 + (low >>> 12);
  }

  private identify(at: number, kind: number, commandSet: number): number {
    const namespace = this.batch.commands[at + Sqe.NAMESPACE]!;
    switch (kind) {
      case IdentifyKind.CONTROLLER:
        return this.send(at, identifyController(this.identity), 0, IDENTIFY_BYTES);
      case IdentifyKind.NAMESPACE:
        if (namespace !== 1) return Status.INVALID_NAMESPACE;
        return this.send(at, identifyNamespace(this.identity, this.namespace), 0, IDENTIFY_BYTES);
      case IdentifyKind.ACTIVE_NAMESPACES:
        if (namespace >= ALL_NAMESPACES - 1) return Status.INVALID_NAMESPACE;
        return this.send(at, activeNamespaces(namespace), 0, IDENTIFY_BYTES);
      case IdentifyKind.NAMESPACE_DESCRIPTORS:
        if (namespace !== 1) return Status.INVALID_NAMESPACE;
        return this.send(at, namespaceDescriptors(this.identity), 0, IDENTIFY_BYTES);
      case IdentifyKind.COMMAND_SET_NAMESPACE:
      case IdentifyKind.COMMAND_SET_CONTROLLER:
        if (commandSet !== NVM_COMMAND_SET) return Status.INVALID_FIELD;
        if (kind === IdentifyKind.COMMAND_SET_NAMESPACE && namespace !== 1)
          return Status.INVALID_NAMESPACE;
        return this.send(
          at,
          commandSetSpecific(kind === IdentifyKind.COMMAND_SET_CONTROLLER),
          0,
          IDENTIFY_BYTES,
        );
      default:
        return Status.INVALID_FIELD;
    }
  }

  private getLogPage(at: number, dw10: number, dw11: number): number {
    const { commands } = this.batch;
    const id = dw10 & 0xff;
    const length = logBytes(dw10, dw11);
    const offset = commands[at + Sqe.DW13]! * 2 ** 32 + commands[at + Sqe.DW12]!;
    const namespace = commands[at + Sqe.NAMESPACE]!;
    const page = this.logs.page(id);
    if (page === null) return Status.INVALID_LOG_PAGE;
    // Of the one namespace, health says what it says of the controller.
    if (id === LogPage.HEALTH && namespace > 1 && namespace !== ALL_NAMESPACES)
      return Status.INVALID_NAMESPACE;
    if (length > TRANSFER_BYTES) return Status.INVALID_FIELD;
    if (offset % 4 !== 0 || offset > page.length) return Status.INVALID_FIELD;
    if ((dw10 & RETAIN_EVENT) === 0) {
      if (id === LogPage.ERROR) this.events.unmask(EventType.ERROR);
      if (id === LogPage.HEALTH) this.events.unmask(EventType.HEALTH);
    }
    return this.send(at, page, offset, Math.min(length, page.length - offset));
  }

  private feature(status: number): number {
    if (status === Status.SUCCESS) this.result = this.features.result;
    return status;
  }

  private setFeatures(dw10: number, dw11: number): number {
    const cacheGoes = (dw10 & 0xff) === FeatureId.VOLATILE_WRITE_CACHE && (dw11 & 1) === 0;
    if (cacheGoes && this.features.writeCache && !this.namespace.store.flush())
      return Status.WRITE_FAULT;
    const status = this.feature(this.features.set(dw10, dw11, this.queues.ioQueuesExist));
    if (
      this.features.temperatureCritical &&
      (this.features.healthEvents & WARNING_TEMPERATURE) !== 0
    ) {
      this.events.report(EventType.HEALTH, EventInformation.TEMPERATURE_THRESHOLD, LogPage.HEALTH);
    }
    return status;
  }

  /** Format NVM: with an erase or without, all blocks read as zeros afterwards. */
  private format(namespace: number, dw10: number): number {
    if (namespace !== 1 && namespace !== ALL_NAMESPACES) return Status.INVALID_NAMESPACE;
    const format = dw10 & FORMAT_INDEX;
    const erase = (dw10 >>> 9) & 7;
    if (erase !== NO_ERASE && erase !== ERASE_DATA) return Status.INVALID_FIELD;
    const { store } = this.namespace;
    if (
      format >= FORMATS.length ||
      (dw10 & FORMAT_METADATA) !== 0 ||
      store.bytes < FORMATS[format]!
    ) {
      return Status.INVALID_FORMAT;
    }
    if (store.readOnly) return Status.WRITE_PROTECTED;
    return this.namespace.reformat(format) ? Status.SUCCESS : Status.WRITE_FAULT;
  }

  /**
   * Result bit 0: the command was not aborted. Only event requests are ever in flight; one is taken
   * back and completed where there is room for its completion beside the Abort's own.
   */
  private abort(dw10: number): number {
    const identifier = dw10 >>> 16;
    const admin = this.queues.submission(0)!;
    const room = completionRoom(admin.completions) >= 2;
    const found = room && (dw10 & 0xffff) === 0 && this.events.abort(identifier);
    if (found) this.batch.complete(admin, admin.head, identifier, Status.ABORT_REQUESTED, 0);
    this.result = found ? 0 : 1;
    return Status.SUCCESS;
  }

  /** Answers with [offset, offset + length) of a structure, at most a page of it. */
  private send(at: number, data: Uint8Array, offset: number, length: number): number {
    if (length === 0) return Status.SUCCESS;
    const { commands, data: pointer, outgoing, tag } = this.batch;
    const status = pointer.resolve(commands, at, length, 0, false);
    if (status !== Status.SUCCESS) return status;
    this.answer.bytes.set(data.subarray(offset, offset + length));
    pointer.append(outgoing, 0, length, this.answer, 0, tag);
    return Status.SUCCESS;
  }
}

/** Bytes of a log page that Get Log Page asks for. */
function logBytes(dw10: number, dw11: number): number {
  return ((dw11 & 0xffff) * 2 ** 16 + (dw10 >>> 16) + 1) * 4;
}
