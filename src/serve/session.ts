/**
 * One client of a served device, from its VERSION to its end.
 *
 * Terms: the *twin* is the second socket that a client may ask for: what the server asks goes
 * there.
 */
import { Errno, fail, VfioError } from '../abi/errno.js';
import { makeSocketPair } from '../exec/run/descriptor-message.js';
import {
  allocateMessage,
  type MessageBuffer,
  MessageSocket,
} from '../exec/vfio-user/message-socket.js';
import { close } from '../mm/process/libc.js';
import { type Capabilities, readVersion, writeVersion } from '../vfio-user/capabilities.js';
import {
  Command,
  commandName,
  MessageFlag,
  TRANSFER_BYTES,
  TYPE_COMMAND,
  TYPE_MASK,
  TYPE_REPLY,
  VERSION_MAJOR,
  VERSION_MINOR,
} from '../vfio-user/protocol.js';
import { deviceFeature } from './feature.js';
import { getInfo, getIrqInfo, getRegionInfo, getRegionIoFds } from './information.js';
import { ASKED_BYTES, Peer, type Waiting } from './peer.js';
import { beginWrite, readRegion, writeMultiple, writeRegion } from './region-access.js';
import type { Reply, Request } from './request.js';
import type { AttachedDevice, ServedDevice } from './served-device.js';
import { setIrqs } from './set-irqs.js';

/** QEMU takes no server that announces more than 16; libvfio-user announces as many. */
const DESCRIPTORS = 8;

/** What a client is told; its own limits count for what is sent to it. */
const capabilities: Partial<Capabilities> = {
  maxMessageDescriptors: DESCRIPTORS,
  maxTransferBytes: TRANSFER_BYTES,
  pageSizes: 4096,
};
/** Requests that are kept while the client is asked for something, and their bytes. */
const ASIDE_MOST = 1024;
const ASIDE_BYTES_MOST = 16 * TRANSFER_BYTES;
/** Replies to what comes while the client is asked: another may be in the making. */
const between = allocateMessage();
/** What may be carried out while a device is in the middle of its DMA. */
const harmless: ReadonlySet<number> = new Set([
  Command.DMA_MAP,
  Command.DMA_UNMAP,
  Command.DEVICE_GET_INFO,
  Command.DEVICE_GET_REGION_INFO,
  Command.DEVICE_GET_REGION_IO_FDS,
  Command.DEVICE_GET_IRQ_INFO,
  Command.DEVICE_SET_IRQS,
  Command.REGION_READ,
]);
/** Requests that are carried out before others of the server's loop have their turn. */
const ROUND = 64;

export class Session {
  readonly fd: number;
  /** Messages that came. */
  requests = 0;
  /** Why the client was given up, for the user; null: it was not, or left by itself. */
  complaint: string | null = null;
  private readonly socket: MessageSocket;
  private twin: MessageSocket | null = null;
  private peer: Peer | null = null;
  private attached: AttachedDevice | null = null;
  private readonly aside: Request[] = [];
  private asideBytes = 0;
  private readonly reply: Reply;
  /** What is carried out at the moment, as long as it has no answer. */
  private unanswered: Request | null = null;

  /** Owns the descriptor of a connection. */
  constructor(
    fd: number,
    private readonly device: ServedDevice,
    private readonly waiting: Waiting,
  ) {
    this.fd = fd;
    this.socket = new MessageSocket(fd);
    this.reply = replyIn(this.socket.outgoing.bytes);
  }

  /** The device as this client has it; null: there is no agreement on a version yet. */
  get current(): AttachedDevice | null {
    return this.attached;
  }

  get asked(): number {
    return this.peer?.messages ?? 0;
  }

  /** Carries out what has come. Returns how many requests; -1: this is the end. */
  serve(): number {
    for (let done = 0; done < ROUND; done++) {
      const kept = this.aside.shift();
      if (kept === undefined) {
        const state = this.socket.receive();
        if (state === 'waiting') return this.isOver ? -1 : done;
        if (state === 'closed') return -1;
      } else this.asideBytes -= kept.body.length;
      if (!this.carryOut(kept ?? this.take()) || this.isOver) return -1;
    }
    return ROUND;
  }

  /** The device did something by itself, and its client did not answer. */
  get isOver(): boolean {
    const { broken = null } = this.peer ?? {};
    const waiting = this.aside.map(({ command }) => commandName(command));
    const beside = waiting.length === 0 ? '' : `, and waits for ${waiting.join(', ')} itself`;
    if (broken !== null) this.complaint ??= `${broken}${beside}`;
    return broken !== null;
  }

  close(): void {
    // What the device does while it is released reaches nobody.
    if (this.peer !== null) this.peer.broken ??= 'is gone';
    this.attached?.release();
    this.attached = null;
    for (const { descriptors } of this.aside) for (const fd of descriptors) close(fd);
    this.twin?.close();
    this.socket.close();
  }

  /** The message that is there. */
  private take(): Request {
    const { body, descriptors, head } = this.socket;
    this.requests++;
    return {
      id: head.id,
      command: head.command,
      flags: head.flags,
      fault: head.fault,
      body: body.slice(),
      descriptors: descriptors.splice(0),
    };
  }

  /**
   * A client's vCPU that waits for a reply may keep the client from answering (QEMU's lock), so the
   * client must not wait while it is asked: a write is answered before the device has carried it
   * out.
   */
  private answerFirst(): void {
    const { unanswered } = this;
    if (this.twin !== null || unanswered?.command !== Command.REGION_WRITE) return;
    this.unanswered = null;
    this.send(unanswered, 0, this.reply);
  }

  /**
   * A request that came while the client is asked. For the same reason most are carried out now,
   * and a write is answered now; writes and all else have their turn afterwards.
   */
  private putAside(): boolean {
    const { attached } = this;
    if (this.twin !== null || attached === null || this.aside.length >= ASIDE_MOST) return false;
    let request = this.take();
    const isWrite = request.command === Command.REGION_WRITE;
    if (isWrite || harmless.has(request.command)) {
      const reply = replyIn(between.body.bytes);
      const error = errnoOf(() => {
        checkHeader(request);
        if (isWrite) beginWrite(request, reply, attached.pciFunction);
        else this.held(() => perform(request, reply, attached));
      });
      if (isAnswered(request) && !this.send(request, error, reply, between)) return false;
      if (!isWrite || error !== 0) {
        for (const fd of request.descriptors) close(fd);
        return true;
      }
      request = { ...request, flags: request.flags | MessageFlag.NO_REPLY };
    }
    this.aside.push(request);
    this.asideBytes += request.body.length;
    return this.asideBytes <= ASIDE_BYTES_MOST;
  }

  /** Meanwhile the device does not look at its mapped registers. */
  private held(perform: () => void): void {
    const { pause } = this.device;
    const before = pause.isOn;
    pause.isOn = true;
    try {
      perform();
    } finally {
      pause.isOn = before;
    }
  }

  /** False: the connection is over. */
  private carryOut(request: Request): boolean {
    const { attached, reply } = this;
    reply.length = 0;
    reply.descriptors.length = 0;
    this.unanswered = isAnswered(request) ? request : null;
    try {
      if (attached === null) {
        const error = errnoOf(() => this.agree(request, reply));
        return this.answerVersion(request, error);
      }
      const error = errnoOf(() => this.perform(request, attached));
      return this.unanswered === null || this.send(request, error, reply);
    } finally {
      this.unanswered = null;
      attached?.dma.settle();
      for (const fd of request.descriptors) close(fd);
    }
  }

  /** Who is asked by messages on this socket must not be asked while it waits for a reply. */
  private perform(request: Request, attached: AttachedDevice): void {
    const isAsked = this.twin === null && this.asked > 0;
    if (isAsked && request.command !== Command.REGION_WRITE)
      this.held(() => perform(request, this.reply, attached));
    else perform(request, this.reply, attached);
  }

  private answerVersion(request: Request, error: number): boolean {
    const isTold = error !== Errno.EFAULT && (request.flags & TYPE_MASK) === TYPE_COMMAND;
    return isTold && this.send(request, error, this.reply) && error === 0;
  }

  private send(
    { id, command }: Request,
    error: number,
    reply: Reply,
    from?: MessageBuffer,
  ): boolean {
    const { socket, waiting } = this;
    const failed = error !== 0;
    const head = { id, command, flags: TYPE_REPLY | (failed ? MessageFlag.ERROR : 0), error };
    const length = failed ? 0 : reply.length;
    const descriptors = failed ? [] : reply.descriptors;
    const wait = (): boolean => waiting.writable(socket.fd);
    if (socket.send(head, length, descriptors, wait, from)) return true;
    this.complaint ??= 'does not take its replies';
    return false;
  }

  /**
   * VERSION. EINVAL: another command first, another major, a text that cannot be read; EFAULT,
   * which is not answered: descriptors, or a size above the limit.
   */
  private agree(request: Request, reply: Reply): void {
    if (request.descriptors.length > 0 || request.fault === 'size above the limit') fail('EFAULT');
    checkHeader(request);
    if (request.command !== Command.VERSION) fail('EINVAL');
    const client = readVersion(request.body);
    if (client.major !== VERSION_MAJOR) fail('EINVAL');
    const { maxMessageDescriptors, maxTransferBytes, twinSocket } = client.capabilities;
    const hasTwin = twinSocket && maxMessageDescriptors > 0;
    if (hasTwin) {
      const [ours, theirs] = makeSocketPair();
      this.twin = new MessageSocket(ours);
      reply.descriptors.push(theirs);
      request.descriptors.push(theirs);
    }
    const peer = new Peer({
      socket: this.twin ?? this.socket,
      transferBytes: Math.min(Math.max(maxTransferBytes, 1), ASKED_BYTES),
      waiting: this.waiting,
      begin: () => this.answerFirst(),
      putAside: () => this.putAside(),
    });
    this.peer = peer;
    this.attached = this.device.attach(peer);
    const body = writeVersion(Math.min(client.minor, VERSION_MINOR), {
      ...capabilities,
      ...(hasTwin ? { twinSocket: true, twinIndex: 0 } : {}),
    });
    reply.bytes.set(body);
    reply.length = body.length;
  }
}

function replyIn(bytes: Uint8Array): Reply {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { bytes, view, length: 0, descriptors: [] };
}

const isAnswered = ({ flags }: Request): boolean => (flags & MessageFlag.NO_REPLY) === 0;

/** What a request failed with, or 0. */
function errnoOf(perform: () => void): number {
  try {
    perform();
    return 0;
  } catch (error) {
    if (!(error instanceof VfioError)) throw error;
    return error.errno;
  }
}

/** EINVAL: no command, a size that cannot be, or no body where there must be one. */
function checkHeader({ body, command, fault, flags }: Request): void {
  if ((flags & TYPE_MASK) !== TYPE_COMMAND || fault !== 'none') fail('EINVAL');
  if (body.length === 0 && command !== Command.DEVICE_RESET) fail('EINVAL');
}

function perform(request: Request, reply: Reply, attached: AttachedDevice): void {
  checkHeader(request);
  const { dma, interrupts, logging, memoryFd, pciFunction } = attached;
  switch (request.command) {
    case Command.DMA_MAP:
      return dma.map(request);
    case Command.DMA_UNMAP:
      return dma.unmap(request, reply);
    case Command.DEVICE_GET_INFO:
      return getInfo(request, reply);
    case Command.DEVICE_GET_REGION_INFO:
      return getRegionInfo(request, reply, pciFunction, memoryFd);
    case Command.DEVICE_GET_REGION_IO_FDS:
      return getRegionIoFds(request, reply, pciFunction);
    case Command.DEVICE_GET_IRQ_INFO:
      return getIrqInfo(request, reply, pciFunction);
    case Command.DEVICE_SET_IRQS:
      return setIrqs(request, pciFunction, interrupts);
    case Command.REGION_READ:
      return readRegion(request, reply, pciFunction);
    case Command.REGION_WRITE:
      return writeRegion(request, reply, pciFunction);
    case Command.REGION_WRITE_MULTI:
      return writeMultiple(request, reply, pciFunction);
    case Command.DEVICE_RESET:
      pciFunction.reset();
      pciFunction.iommu.reset();
      return;
    case Command.DEVICE_FEATURE:
      return deviceFeature(request, reply, logging);
    default:
      return fail('EINVAL');
  }
}
