/**
 * A vfio-user server without a process, for tests of the client: a function answers its messages.
 * Time stands still until the client waits for nothing.
 */
import type {
  Channel,
  MemoryFile,
  PeerEvent,
  PeerHost,
} from '../../../src/device/vfio-user/host.js';
import { allocatePlain } from '../../../src/mm/frame-memory.js';
import type { MessageHead } from '../../../src/vfio-user/header.js';
import type { MessageFault } from '../../../src/vfio-user/message-reader.js';
import { BODY_BYTES, TYPE_REPLY } from '../../../src/vfio-user/protocol.js';

export interface Message {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  readonly error: number;
  readonly body: Uint8Array;
  readonly descriptors: readonly number[];
  readonly fault: MessageFault;
}

/** A reply to a message; what is given takes the place of what a good one has. */
export const reply = (to: Message, rest: Partial<Message> = {}): Message => ({
  ...{ id: to.id, command: to.command, flags: TYPE_REPLY, error: 0, fault: 'none' },
  ...{ body: new Uint8Array(0), descriptors: [] },
  ...rest,
});

/** An error reply, with or without a body. */
export const refusal = (to: Message, error: number, body = new Uint8Array(0)): Message =>
  reply(to, { flags: TYPE_REPLY | 0x20, error, body });

/** What the server does with a message: null, it takes no more (and the channel is full). */
export type Handler = (message: Message, channel: FakeChannel) => readonly Message[] | null;

/** Of all channels: a message is over when the next one is looked at. */
const received = allocatePlain(BODY_BYTES);
const outgoing = allocatePlain(BODY_BYTES);

export class FakeChannel implements Channel {
  readonly received = received;
  readonly outgoing = outgoing;
  readonly descriptors: number[] = [];
  /** What is on its way to the client. */
  readonly queue: Message[] = [];
  /** The server has closed its end, or is dead. */
  isClosed = false;
  /** The client has closed its end. */
  isGone = false;
  private current: Message | null = null;

  /** `closed`: takes the descriptors that came and nobody has taken out. */
  constructor(
    private readonly handler: Handler,
    private readonly closed: number[],
  ) {}

  get head(): MessageHead & { readonly fault: MessageFault } {
    return this.current!;
  }

  get body(): Uint8Array {
    return this.received.bytes.subarray(0, this.current!.body.length);
  }

  receive(): 'message' | 'waiting' | 'closed' {
    const next = this.queue.shift();
    this.closed.push(...this.descriptors.splice(0));
    if (next === undefined) return this.isClosed ? 'closed' : 'waiting';
    this.current = next;
    this.received.bytes.set(next.body);
    this.descriptors.push(...next.descriptors);
    return 'message';
  }

  send(
    head: MessageHead,
    bodyBytes: number,
    descriptors: readonly number[],
    wait: () => boolean,
  ): boolean {
    if (this.isClosed) return false;
    const body = this.outgoing.bytes.slice(0, bodyBytes);
    const message: Message = { ...head, body, descriptors: [...descriptors], fault: 'none' };
    const answers = this.handler(message, this);
    if (answers === null) {
      while (wait());
      return false;
    }
    this.queue.push(...answers);
    return !this.isClosed;
  }

  close(): void {
    this.isGone = true;
    this.closed.push(...this.descriptors.splice(0));
  }
}

export class FakeHost implements PeerHost {
  readonly channels: FakeChannel[] = [];
  /** Eventfds by their number. */
  readonly events = new Map<number, () => void>();
  readonly closed: number[] = [];
  /** Files by number, in bytes; others are none. */
  readonly files = new Map<number, number>();
  /** What the program's memory is; null: no file. */
  memoryFile: MemoryFile | null = null;
  processMemory: MemoryFile | null = null;
  time = 0;
  /** Off: the program has ended. */
  isWanted = true;
  /** Called each time the client waits. */
  waited: (() => void) | null = null;
  private readonly watches = new Map<Channel, () => void>();
  private nextFd = 100;

  constructor(
    private readonly handler: Handler,
    private readonly twin: Handler = handler,
  ) {}

  connect(): FakeChannel {
    return this.add(this.handler);
  }

  channel(): FakeChannel {
    return this.add(this.twin);
  }

  nowMs(): number {
    return this.time;
  }

  wait(channels: readonly Channel[], _full: Channel | null, untilMs: number): boolean {
    this.waited?.();
    const isReady = channels.some(
      (channel) => (channel as FakeChannel).queue.length > 0 || (channel as FakeChannel).isClosed,
    );
    if (!isReady) this.time = Math.max(this.time, untilMs);
    return this.isWanted;
  }

  watch(channel: Channel, readable: () => void): () => void {
    this.watches.set(channel, readable);
    return () => {
      this.watches.delete(channel);
    };
  }

  /** Something has come while the client awaits nothing. */
  notice(): void {
    for (const readable of [...this.watches.values()]) readable();
  }

  makeEvent(signalled: () => void): PeerEvent {
    const fd = this.nextFd++;
    this.events.set(fd, signalled);
    return { fd, close: () => this.events.delete(fd) };
  }

  fileBytes(fd: number): number {
    return this.files.get(fd) ?? -1;
  }

  closeFile(fd: number): void {
    this.closed.push(fd);
  }

  fileOf(): MemoryFile | null {
    return this.memoryFile;
  }

  memoryOf(): MemoryFile | null {
    return this.processMemory;
  }

  private add(handler: Handler): FakeChannel {
    const channel = new FakeChannel(handler, this.closed);
    this.channels.push(channel);
    return channel;
  }
}
