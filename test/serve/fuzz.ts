/**
 * A client that sends whatever comes: messages that are right but for a field or two, cut and
 * joined anyhow, and answers to DMA that need not be any. What the server may never do, whatever it
 * gets, is told as a sentence.
 */
import { readdirSync } from 'node:fs';
import { MFD_CLOEXEC } from '../../src/abi/linux.js';
import { Random } from '../../src/abi/random.js';
import { makeSocketPair } from '../../src/exec/run/descriptor-message.js';
import { MessageSocket } from '../../src/exec/vfio-user/message-socket.js';
import type { Counters } from '../../src/iommu/observer.js';
import {
  allocateNative,
  close,
  eventfd,
  ftruncate,
  memfdCreate,
  write,
} from '../../src/mm/process/libc.js';
import type { Waiting } from '../../src/serve/peer.js';
import type { ServedDevice } from '../../src/serve/served-device.js';
import { Session } from '../../src/serve/session.js';
import { writeVersion } from '../../src/vfio-user/capabilities.js';
import { writeHeader } from '../../src/vfio-user/header.js';
import { Command, MessageFlag, TYPE_MASK, TYPE_REPLY } from '../../src/vfio-user/protocol.js';
import { HEADER_BYTES } from '../../src/vfio-user/structs.js';

/** What the server's memory for replies is filled with: none of it may come out. */
const SECRET = 0xa5;
const SECRET_RUN = 8;
const MESSAGES = 60;
/** Looks of the server at its socket, more than any round needs. */
const LOOKS = 100_000;
const PAGE = 4096;
const values = [
  0,
  1,
  2,
  4,
  5,
  7,
  8,
  9,
  15,
  16,
  20,
  24,
  31,
  32,
  33,
  40,
  48,
  63,
  64,
  256,
  PAGE - 1,
  PAGE,
];
const larger = [
  2 * PAGE,
  16 * PAGE,
  0x20006,
  0x10008,
  0x20007,
  2 ** 20,
  2 ** 20 + 1,
  2 ** 31,
  2 ** 32 - 1,
];
const addresses = [0, PAGE, 0x10000, 0x18000, 0x20000];
/** edu's registers, and values that make it copy. */
const registers = [0x80, 0x88, 0x90, 0x98, 4, 8];

const scratch = allocateNative(2 ** 22);

interface Sent {
  readonly id: number;
  readonly command: number;
}

/** One client from its first word to its end. Returns what the server did wrong. */
export class Storm implements Waiting {
  readonly complaints: string[] = [];
  private readonly random: Random;
  private readonly session: Session;
  private readonly client: MessageSocket;
  private readonly serverBytes: Uint8Array;
  private readonly expected: Sent[] = [];
  /** Replies that crossed others come in another order. */
  private crossed = false;
  private isOver = false;
  private id = 0;
  private looks = 0;

  constructor(device: ServedDevice, counters: Counters, seed: number) {
    this.random = new Random(seed);
    const before = openFiles();
    const [server, client] = makeSocketPair();
    this.session = new Session(server, device, this);
    this.client = new MessageSocket(client);
    const { socket } = this.session as unknown as { socket: MessageSocket };
    this.serverBytes = socket.outgoing.bytes;
    this.agree();
    for (let count = 0; count < MESSAGES && !this.isOver; count++) this.message();
    if (!this.isOver) this.checkStep();
    this.session.close();
    this.client.close();
    if (openFiles() !== before) this.complain(`left ${openFiles() - before} descriptors open`);
    for (const name of ['mappedPages', 'pinnedPages', 'residentPages'] as const)
      if (counters[name] !== 0) this.complain(`left ${name} at ${counters[name]}`);
  }

  /** The server waits for its client, who answers, or does not. */
  readable(): boolean {
    if (this.look() || this.client.receive() !== 'message') return false;
    return this.take();
  }

  writable(): boolean {
    return !this.look() && this.drain();
  }

  private agree(): void {
    const body = writeVersion(2, { maxMessageDescriptors: 8, maxTransferBytes: 2 * PAGE });
    this.send(Command.VERSION, body, body.length, 0, []);
  }

  private message(): void {
    const { random } = this;
    const command = random.below(20) === 0 ? random.below(65536) : this.pick(commands);
    const body = this.body(command);
    const flags = random.below(12) === 0 ? this.pick([1, 0x10, 0x20, 0x11, 0xffffffc0]) : 0;
    const size = random.below(20) === 0 ? this.size() : HEADER_BYTES + body.length;
    const descriptors = random.below(3) === 0 ? this.descriptors() : [];
    this.serverBytes.fill(SECRET, 0, 2 * PAGE);
    this.send(command, body, size - HEADER_BYTES, flags, descriptors);
    for (const fd of descriptors) close(fd);
  }

  private body(command: number): Uint8Array {
    const { random } = this;
    switch (command) {
      case Command.DMA_MAP:
        return words([32, this.flagsOf(3), 0, 0, ...this.range()]);
      case Command.DMA_UNMAP: {
        const bitmap = [this.pick([PAGE, 8192, 1]), 0, this.pick([8, 16, 1024]), 0];
        return words([1100, this.flagsOf(1), ...this.range(), ...bitmap]);
      }
      case Command.REGION_READ:
        return words([this.pick(values), 0, this.pick([0, 0, 7, 8, 9]), this.pick(values)]);
      case Command.REGION_WRITE: {
        const isCommand = random.below(4) === 0;
        const head = isCommand ? [4, 0, 7, 2] : [this.pick(registers), 0, 0, 8];
        const data = isCommand ? [6] : [this.pick([...addresses, 0x40000, 1, 3, 8]), 0];
        return words([...head, ...data]).subarray(0, isCommand ? 18 : 24);
      }
      case Command.DEVICE_FEATURE: {
        const feature = this.pick([0x20006, 0x10008, 0x20007, 0x10001, 0x20002]);
        const [address, high, size, more] = this.range();
        return feature === 0x10008
          ? words([PAGE, feature, address!, high!, size!, more!, this.pick([PAGE, 8192, 3]), 0])
          : words([24, feature, PAGE, 0, 0, 0]);
      }
      default: {
        const some = Array.from({ length: random.below(8) }, () =>
          this.pick([...values, ...larger]),
        );
        return words([this.pick([16, 20, 32, 64, 0]), ...some]);
      }
    }
  }

  private size(): number {
    return this.random.below(8) === 0 ? 2 ** 20 + 33 : this.pick([0, 15, 16, 17, 200]);
  }

  private flagsOf(usual: number): number {
    return this.random.below(5) === 0 ? this.random.below(64) : usual;
  }

  private range(): number[] {
    return [
      this.pick(addresses),
      0,
      this.pick([PAGE, 8 * PAGE, 16 * PAGE, 5]),
      this.random.below(20) === 0 ? 1 : 0,
    ];
  }

  private descriptors(): number[] {
    return Array.from({ length: 1 + this.random.below(4) }, () => {
      if (this.random.below(2) === 0) return eventfd(0, 0);
      const fd = memfdCreate('fuzz', MFD_CLOEXEC);
      ftruncate(fd, this.pick([0, PAGE, 16 * PAGE]));
      return fd;
    });
  }

  /** Sends a message whose header may lie about its size; its body is as long as that says. */
  private send(
    command: number,
    body: Uint8Array,
    claimed: number,
    flags: number,
    descriptors: readonly number[],
  ): void {
    const id = this.id++ % 65536;
    const head = { id, command, flags, error: 0 };
    if ((flags & MessageFlag.NO_REPLY) === 0) this.expected.push({ id, command });
    const go = (): boolean => !this.look() && this.serve();
    if (claimed === body.length) {
      this.client.outgoing.bytes.set(body);
      this.client.send(head, body.length, descriptors, go);
    } else {
      const length = Math.max(claimed, 0);
      scratch.bytes.fill(0, 0, HEADER_BYTES + length);
      scratch.bytes.set(body.subarray(0, length), HEADER_BYTES);
      writeHeader(new DataView(scratch.bytes.buffer), head, claimed);
      for (let done = 0; done < HEADER_BYTES + length && !this.isOver; ) {
        const most = length > 4 * PAGE ? 16 * PAGE : PAGE;
        const part = Math.min(1 + this.random.below(most), HEADER_BYTES + length - done);
        done += Math.max(0, write(this.client.fd, scratch.address + done, part));
        this.serve();
      }
    }
    this.serve();
    this.drain();
  }

  private serve(): boolean {
    for (;;) {
      const done = this.isOver || this.look() ? -1 : this.session.serve();
      if (done < 0 || this.complaints.length > 0) this.isOver = true;
      this.drain();
      if (done <= 0) return done === 0;
    }
  }

  /** True where the server goes on and on. */
  private look(): boolean {
    if (++this.looks === LOOKS) this.complain('does not come to an end');
    return this.looks >= LOOKS;
  }

  private drain(): boolean {
    while (this.client.receive() === 'message') if (!this.take()) return true;
    return true;
  }

  /** Takes what came; false: it was a question that stays without an answer. */
  private take(): boolean {
    const { head } = this.client;
    if ((head.flags & TYPE_MASK) === TYPE_REPLY) {
      this.checkReply();
      return true;
    }
    const { id, command } = head;
    const { random } = this;
    const asked = this.client.body.slice(0, 16);
    const count = new DataView(asked.buffer).getUint32(8, true);
    if (random.below(4) === 0) {
      this.crossed = true;
      this.message();
    }
    const answer = random.below(12);
    if (answer === 0) return false;
    if (answer === 1) this.client.outgoing.bytes.fill(1, 0, 16);
    else this.client.outgoing.bytes.set(asked);
    const flags = TYPE_REPLY | (answer === 2 ? MessageFlag.ERROR : 0);
    const length = answer === 2 ? 0 : 16 + (command === Command.DMA_READ ? count : 0);
    const said =
      answer === 3 ? { id: id + 1, command, flags, error: 0 } : { id, command, flags, error: 5 };
    return this.client.send(said, answer === 4 ? 3 : length, [], () => false);
  }

  private checkReply(): void {
    const { body, head } = this.client;
    const at = this.expected.findIndex(
      ({ command, id }) => id === head.id && command === head.command,
    );
    if (at < 0) this.complain(`answered ${head.id} (command ${head.command}), which is not open`);
    else if (at > 0 && !this.crossed) this.complain('answered in another order');
    if (at >= 0) this.expected.splice(at, 1);
    for (let from = 0, run = 0; from < body.length; from++) {
      run = body[from] === SECRET ? run + 1 : 0;
      if (run === SECRET_RUN)
        return this.complain(`sent its own memory with command ${head.command}`);
    }
  }

  /** The stream is in step: a question that makes sense has its answer. */
  private checkStep(): void {
    this.send(Command.DEVICE_GET_INFO, words([16, 0, 0, 0]), 16, 0, []);
    if (!this.isOver && this.expected.length > 0)
      this.complain(`did not answer ${this.expected.length} messages`);
  }

  private complain(what: string): void {
    if (this.complaints.length < 5) this.complaints.push(what);
  }

  private pick(from: readonly number[]): number {
    return from[this.random.below(from.length)]!;
  }
}

const commands = [
  ...Array.from({ length: 18 }, (_, index) => index + 1),
  2,
  2,
  3,
  8,
  10,
  10,
  16,
  16,
];
const words = (numbers: readonly number[]): Uint8Array =>
  new Uint8Array(Uint32Array.from(numbers).buffer);
const openFiles = (): number => readdirSync('/proc/self/fd').length;
