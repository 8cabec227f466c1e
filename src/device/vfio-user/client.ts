/**
 * The client's side of a connection: requests and their replies, and what the server asks of the
 * program's memory.
 *
 * A request is synchronous: while its reply is awaited, what the server asks is served. A server
 * that breaks the protocol, is gone, or takes too long is *dead* for ever: requests fail at once.
 */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { Bug } from '../../abi/bug.js';
import { Errno } from '../../abi/errno.js';
import type { DmaBuffer } from '../../mm/frame-memory.js';
import { type Capabilities, defaultCapabilities } from '../../vfio-user/capabilities.js';
import type { MessageHead } from '../../vfio-user/header.js';
import {
  ACCESS_BYTES,
  Command,
  commandName,
  MessageFlag,
  TRANSFER_BYTES,
  TYPE_COMMAND,
  TYPE_MASK,
  TYPE_REPLY,
} from '../../vfio-user/protocol.js';
import { DmaAccess } from '../../vfio-user/structs.js';
import type { Channel, PeerHost } from './host.js';

/** The program's memory, as far as the server may have it. Both return 0 or an errno. */
export interface ServedMemory {
  /** Copies `length` bytes from `address` to the buffer. */
  read(address: number, length: number, buffer: DmaBuffer, offset: number): number;
  write(address: number, length: number, buffer: DmaBuffer, offset: number): number;
}

/** What a request to a dead server returns. */
const DEAD = Errno.ENODEV;
/** Messages of the server that are served in one go while nothing is awaited. */
const SERVED_MOST = 64;

export class Client {
  /** Why the server is dead, as the rest of a sentence; null: it lives. */
  death: string | null = null;
  /** What the server can take. */
  capabilities: Capabilities = defaultCapabilities;
  /** Told once, when the server dies. */
  died: (() => void) | null = null;
  /** Null: nothing is served yet (ENODEV). */
  memory: ServedMemory | null = null;
  private readonly channels: Channel[];
  private readonly stops: (() => void)[] = [];
  private readonly access = new ArgumentBuffer(ACCESS_BYTES);
  private nextId = 0;
  /** When what is under way must be over, and the channel that it has no room in. */
  private untilMs = 0;
  private full: Channel;
  private isServing = false;

  /** `timeoutMs`: how long the server may take to answer. */
  constructor(
    private readonly host: PeerHost,
    private readonly main: Channel,
    private readonly timeoutMs: number,
  ) {
    this.channels = [main];
    this.full = main;
  }

  get isDead(): boolean {
    return this.death !== null;
  }

  /** The server's commands come there, too. */
  addTwin(channel: Channel): void {
    this.channels.push(channel);
  }

  /** From now on what the server asks is served also while nothing is awaited. */
  watch(): void {
    for (const channel of this.channels)
      this.stops.push(this.host.watch(channel, () => this.serve()));
  }

  /**
   * Sends a command and waits for its reply. Returns 0, and the reply is in `reply` until the next
   * request; or an errno: of the server's, ENODEV where it is dead.
   */
  request(command: number, body: Uint8Array, descriptors: readonly number[] = []): number {
    // Without a second socket, a server that waits for memory may take the request for it.
    if (this.channels.length === 1) this.serve();
    if (this.isDead) return DEAD;
    if (this.isServing) throw new Bug('a request within an answer', { command });
    const { host, main, timeoutMs } = this;
    this.untilMs = host.nowMs() + timeoutMs;
    const id = this.nextId;
    this.nextId = (id + 1) % 0x10000;
    main.outgoing.bytes.set(body);
    const head = { id, command, flags: TYPE_COMMAND, error: 0 };
    if (!this.send(main, head, body.length, descriptors)) return DEAD;
    for (;;) {
      if (this.take(id, command)) return this.resultOf(main);
      if (this.isDead) return DEAD;
      if (host.nowMs() >= this.untilMs) {
        this.die(`has not answered ${commandName(command)} for ${timeoutMs / 1000} s`);
        return DEAD;
      }
      if (!host.wait(this.channels, null, this.untilMs)) {
        this.die(`had not answered ${commandName(command)} when the program ended`);
        return DEAD;
      }
    }
  }

  /** The body of the last reply. */
  get reply(): Uint8Array {
    return this.main.body;
  }

  /** The descriptors that came with the last reply, which are the caller's from now on. */
  takeDescriptors(): number[] {
    return this.main.descriptors.splice(0);
  }

  /** The server is of no use: `reason` is the rest of a sentence that begins with it. */
  die(reason: string): void {
    if (this.isDead) return;
    this.death = reason;
    for (const stop of this.stops) stop();
    for (const channel of this.channels) channel.close();
    this.died?.();
  }

  /** Serves what has come while nothing is awaited. */
  private serve(): void {
    if (this.isDead || this.isServing) return;
    this.untilMs = this.host.nowMs() + this.timeoutMs;
    this.take(-1, 0, SERVED_MOST);
  }

  /**
   * Takes messages until the reply to `id` is there (true), or none is left. Every other reply is
   * one that nobody asked for.
   */
  private take(id: number, command: number, most = Number.POSITIVE_INFINITY): boolean {
    this.isServing = true;
    try {
      let taken = 0;
      for (const channel of this.channels)
        while (taken++ < most) {
          const state = channel.receive();
          if (state === 'waiting') break;
          if (state === 'closed') {
            this.die('has closed the connection');
            return false;
          }
          const { fault, flags } = channel.head;
          if (fault !== 'none') this.die(`sent garbage: a message with a ${fault}`);
          else if (channel === this.main && this.isError(id, command)) return true;
          else if ((flags & TYPE_MASK) === TYPE_COMMAND) this.answer(channel);
          else if (channel === this.main && this.isReply(id, command)) return true;
          if (this.isDead) return false;
          if (this.host.nowMs() >= this.untilMs && id >= 0) return false;
        }
      return false;
    } finally {
      this.isServing = false;
    }
  }

  /** A refusal that says of itself that it is a command (quirks.ts, error-type). */
  private isError(id: number, command: number): boolean {
    const { head } = this.main;
    const type = head.flags & (TYPE_MASK | MessageFlag.ERROR);
    return (
      type === (TYPE_COMMAND | MessageFlag.ERROR) && head.id === id && head.command === command
    );
  }

  private isReply(id: number, command: number): boolean {
    const { head } = this.main;
    if ((head.flags & TYPE_MASK) !== TYPE_REPLY) {
      this.die(`sent garbage: a message of type ${head.flags & TYPE_MASK}`);
    } else if (id < 0 || head.id !== id || head.command !== command) {
      const asked = id < 0 ? 'nothing was asked' : `${commandName(command)} ${id} was asked`;
      this.die(`sent garbage: a reply to ${commandName(head.command)} ${head.id}, where ${asked}`);
    } else return true;
    return false;
  }

  private resultOf({ head }: Channel): number {
    return (head.flags & MessageFlag.ERROR) === 0 ? 0 : head.error || Errno.EIO;
  }

  /** Answers a command of the server's. */
  private answer(channel: Channel): void {
    const { body, head } = channel;
    const { command } = head;
    let error: number = Errno.EINVAL;
    let bytes = 0;
    if (command === Command.DMA_READ || command === Command.DMA_WRITE) {
      const count = this.copyAccess(body);
      if (count >= 0 && command === Command.DMA_READ) {
        error = this.move(count, channel.outgoing, true);
        bytes = ACCESS_BYTES + count;
      } else if (count >= 0 && body.length === ACCESS_BYTES + count) {
        error = this.move(count, channel.received, false);
        bytes = ACCESS_BYTES;
      }
    }
    if ((head.flags & MessageFlag.NO_REPLY) !== 0) return;
    channel.outgoing.bytes.set(this.access.bytes);
    const flags = TYPE_REPLY | (error === 0 ? 0 : MessageFlag.ERROR);
    const reply = { id: head.id, command, flags, error };
    this.send(channel, reply, error === 0 ? bytes : 0, []);
  }

  /** Keeps what a DMA command begins with; returns its count, -1 where that cannot be. */
  private copyAccess(body: Uint8Array): number {
    if (body.length < ACCESS_BYTES) return -1;
    this.access.bytes.set(body.subarray(0, ACCESS_BYTES));
    const count = this.access.u64(DmaAccess.at.count);
    return count <= TRANSFER_BYTES ? count : -1;
  }

  private move(count: number, buffer: DmaBuffer, isRead: boolean): number {
    const { access, memory } = this;
    const address = access.u64(DmaAccess.at.address);
    if (memory === null) return Errno.ENODEV;
    if (address + count > Number.MAX_SAFE_INTEGER) return Errno.EFAULT;
    const move = isRead ? memory.read : memory.write;
    return move(address, count, buffer, ACCESS_BYTES);
  }

  private send(
    channel: Channel,
    head: MessageHead,
    bodyBytes: number,
    descriptors: readonly number[],
  ): boolean {
    this.full = channel;
    if (channel.send(head, bodyBytes, descriptors, this.waitForRoom)) return true;
    const isLate = this.host.nowMs() >= this.untilMs;
    this.die(isLate ? `has taken nothing for ${this.timeoutMs / 1000} s` : 'is gone');
    return false;
  }

  private readonly waitForRoom = (): boolean => {
    const { host, full, untilMs } = this;
    return host.wait([], full, untilMs) && host.nowMs() < untilMs;
  };
}
