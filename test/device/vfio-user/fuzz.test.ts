/**
 * A server that is slow, lies and sends garbage, by chance, and a model of what may come of it.
 * Canaries: defects put into the client, each of which must be found.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PciCommand } from '../../../src/abi/pci.js';
import { Random } from '../../../src/abi/random.js';
import { OptionError } from '../../../src/device/options.js';
import { Client } from '../../../src/device/vfio-user/client.js';
import { RemoteFunction } from '../../../src/device/vfio-user/function.js';
import { vfioUser } from '../../../src/device/vfio-user/kind.js';
import { Negotiation } from '../../../src/device/vfio-user/negotiation.js';
import { RegionPort } from '../../../src/device/vfio-user/region-port.js';
import { RemoteConfig } from '../../../src/device/vfio-user/remote-config.js';
import type { PciFunction } from '../../../src/vfio/pci-function.js';
import { Command, MessageFlag } from '../../../src/vfio-user/protocol.js';
import { hex, IOVA_BASE_PAGE, Program } from '../program.js';
import { BAR_FD, FakeDevice, u32, words } from './fake-device.js';
import type { Message } from './fake-server.js';

const TIMEOUT_MS = 1000;
const PAGES = 8;
const ADDRESS = IOVA_BASE_PAGE * 4096;
const OPERATIONS = 30;
const RUNS = 150;
/** The descriptors that the server has in its messages, on top of the BAR's. */
const FIRST_FD = 1000;

class Fuzz {
  readonly server = new FakeDevice();
  readonly program = new Program({ pages: PAGES });
  readonly lines: string[] = [];
  readonly random: Random;
  /** What memory must be. */
  private readonly memory = new Uint8Array(PAGES * 4096);
  /** Commands of the server's that want an answer: 0, or an errno is due. */
  private readonly due = new Map<number, 'good' | 'bad'>();
  private readonly given: number[] = [];
  /** The client may give the server up from now on. */
  private mayDie = false;
  private isMaster = false;
  /** The command register changes: the server behaves, so that both sides have the same of it. */
  private isCalm = false;
  /** The reply to the last read, if it is a good one. */
  private data: Uint8Array | null = null;
  private nextId = 0;
  private device: PciFunction | null = null;

  constructor(
    seed: number,
    private readonly badness: number,
  ) {
    this.random = new Random(seed);
    this.server.twin = this.random.below(2) === 0;
    this.server.override = (message) => this.answer(message);
    this.server.twinAnswers = (message) => {
      this.answered(message);
      return [];
    };
  }

  run(): void {
    const { host } = this.program;
    const context = {
      ...this.program.surroundings,
      host: { ...host, peers: this.server.host, note: (line: string) => this.lines.push(line) },
    };
    const options = { socket: 's', timeout: `${TIMEOUT_MS}ms` };
    try {
      this.device = this.timed(() => vfioUser.create(options, context), 40);
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      expect(this.mayDie, `a good server is refused: ${error.message}`).toBe(true);
      return;
    }
    this.checkRegions(this.device);
    this.calmly(() => this.device!.open(this.program.sink));
    for (let left = OPERATIONS; left > 0; left--) this.operate(this.device);
    this.calmly(() => this.device!.release());
    this.check();
  }

  private calmly(work: () => void): void {
    this.isCalm = true;
    this.timed(work, 0);
    this.isCalm = false;
  }

  private operate(device: PciFunction): void {
    const { random, program, server } = this;
    const offset = 4 * random.below(64);
    switch (random.below(7)) {
      case 0:
      case 1: {
        const into = new Uint8Array([1, 2, 4, 8][random.below(4)]!);
        this.data = null;
        this.timed(() => device.readRegion(0, offset, into), 1);
        const wanted = this.data ?? new Uint8Array(into.length).fill(0xff);
        expect(hex(into), 'a read finds what no good reply had').toBe(hex(wanted));
        break;
      }
      case 2:
        this.timed(() => device.writeRegion(0, offset, Uint8Array.of(1, 2, 3, 4)), 1);
        break;
      case 3: {
        const on = random.below(4) > 0;
        const bits = PciCommand.MEMORY | (on ? PciCommand.MASTER : 0);
        this.calmly(() => device.writeRegion(7, 4, Uint8Array.of(bits, 0)));
        if (!this.isDead) this.isMaster = on;
        break;
      }
      case 4:
        this.timed(() => device.interruptsEnabled(2, random.below(4)), 2);
        break;
      case 5:
        this.ask();
        server.host.notice();
        break;
      default:
        for (const signal of [...server.host.events.values()]) signal();
        program.sink.take();
    }
    if (this.isDead) {
      expect(this.mayDie, `given up without a reason: ${this.lines}`).toBe(true);
      expect(server.host.events.size).toBeLessThanOrEqual(5);
    }
    this.compare();
  }

  private get isDead(): boolean {
    return this.server.host.channels[0]!.isGone;
  }

  /** The server's answer, which may be none, or another. */
  private answer(message: Message): readonly Message[] | null | undefined {
    if ((message.flags & 1) !== 0) {
      this.answered(message);
      return [];
    }
    const { random } = this;
    // Most servers get over the many questions at the beginning.
    const badness = this.device === null ? this.badness / 10 : this.badness;
    if (this.isCalm || random.next() >= badness) {
      const good = this.good(message);
      if (message.command === Command.REGION_READ) this.data = good.body.slice(16);
      return [...this.askedBefore(), good];
    }
    return this.bad(message);
  }

  private good(message: Message): Message {
    const { server } = this;
    server.override = null;
    const [good] = server.answer(message)!;
    server.override = (next) => this.answer(next);
    server.requests.pop();
    this.given.push(...good!.descriptors);
    return good!;
  }

  /** What the server asks before it replies. */
  private askedBefore(): Message[] {
    const mayAsk = this.device !== null && !this.isCalm;
    return mayAsk && this.random.below(4) === 0 ? this.asked() : [];
  }

  private bad(message: Message): readonly Message[] | null {
    const { random, server } = this;
    const ok = { ...message, flags: 1, descriptors: [], error: 0 };
    const length = random.below(80);
    const junk = Uint8Array.from({ length }, () => random.below(256));
    // An error is no lie, whatever comes with it; but some things must be known.
    const kind = random.below(10);
    if (this.device === null && message.command !== Command.DEVICE_GET_IRQ_INFO) this.mayDie = true;
    if (kind === 0)
      return [{ ...ok, flags: 1 | MessageFlag.ERROR, error: random.below(5000), body: junk }];
    this.mayDie = true;
    switch (kind) {
      case 1:
        return [{ ...this.good(message), id: (message.id + 1 + random.below(9)) & 0xffff }];
      case 2:
        return [{ ...ok, command: message.command + 1, body: junk }];
      case 3:
        return [{ ...ok, flags: 2 + random.below(14), body: junk }];
      case 4:
        return [{ ...ok, fault: 'size above the limit', body: new Uint8Array(0) }];
      case 5:
        server.host.channels[0]!.isClosed = true;
        return [];
      case 6:
        return [];
      case 7:
        return null;
      case 8: {
        const descriptors = [0, 1, 2].slice(random.below(3)).map(() => this.newFd());
        if (message.command === Command.REGION_READ && length === 16 + u32(message.body, 12))
          this.data = junk.slice(16);
        return [...this.askedBefore(), { ...ok, body: junk, descriptors }];
      }
      default: {
        // The right length, and numbers that cannot be.
        const body = words(64, [64, 15, u32(message.body, 8), 32, 0, random.below(2), 0, 0]);
        if (message.command === Command.REGION_READ && u32(message.body, 12) === 48)
          this.data = body.slice(16);
        return [{ ...ok, body, descriptors: [this.newFd()] }];
      }
    }
  }

  private newFd(): number {
    const fd = FIRST_FD + this.given.length;
    this.given.push(fd);
    return fd;
  }

  /** The server asks for memory. */
  private asked(): Message[] {
    const { random } = this;
    const id = this.nextId++;
    const address = ADDRESS - 64 + random.below(PAGES * 4096 + 128);
    const count = random.below(100);
    const isWrite = random.below(2) === 0;
    const data = Uint8Array.from({ length: isWrite ? count : 0 }, () => random.below(256));
    const isCut = random.below(8) === 0 && isWrite && count > 0;
    const body = Uint8Array.from([
      ...words(16, [address, 0, count, 0]),
      ...data.subarray(isCut ? 1 : 0),
    ]);
    const isQuiet = random.below(8) === 0;
    const inside = address >= ADDRESS && address + count <= ADDRESS + PAGES * 4096;
    const isGood = !isCut && (count === 0 || (this.isMaster && inside));
    if (!isQuiet) this.due.set(id, isGood ? 'good' : 'bad');
    // A part may be written of what is not mapped as a whole.
    if (isWrite && this.isMaster && !isCut)
      for (let at = 0; at < count; at++)
        if (address + at >= ADDRESS && address + at < ADDRESS + PAGES * 4096)
          this.memory[address + at - ADDRESS] = data[at]!;
    const command = isWrite ? Command.DMA_WRITE : Command.DMA_READ;
    const flags = isQuiet ? MessageFlag.NO_REPLY : 0;
    return [{ id, command, flags, error: 0, body, descriptors: [], fault: 'none' }];
  }

  private ask(): void {
    if (this.isDead) return;
    const { channels } = this.server.host;
    channels[this.random.below(channels.length)]!.queue.push(...this.asked());
  }

  private answered({ body, command, flags, id }: Message): void {
    const due = this.due.get(id);
    expect(due, 'an answer that nobody wants').toBeDefined();
    this.due.delete(id);
    const isError = (flags & MessageFlag.ERROR) !== 0;
    expect(isError, `${due} access of memory`).toBe(due === 'bad');
    if (isError) return;
    expect(body.length).toBe(command === Command.DMA_WRITE ? 16 : 16 + u32(body, 8));
  }

  private compare(): void {
    const { bytes } = this.program.memory;
    expect(Buffer.compare(bytes, this.memory), 'memory is not what it should be').toBe(0);
  }

  private checkRegions({ regions }: PciFunction): void {
    for (const { files = [], size } of regions)
      for (const { fd, fileOffset, offset, size: bytes } of files) {
        expect(offset + bytes).toBeLessThanOrEqual(Math.ceil(size / 4096) * 4096);
        const file = fd === BAR_FD ? 0x2000 : Number.POSITIVE_INFINITY;
        expect(fileOffset + bytes).toBeLessThanOrEqual(file);
      }
  }

  /** Nothing takes longer than so many requests may. */
  private timed<T>(work: () => T, requests: number): T {
    const { host } = this.server;
    const began = host.time;
    const isDead = host.channels[0]?.isGone === true;
    try {
      return work();
    } finally {
      expect(host.time - began, 'it waits for too long').toBeLessThanOrEqual(
        isDead ? 0 : requests * TIMEOUT_MS,
      );
    }
  }

  private check(): void {
    const { host } = this.server;
    if (!this.isDead) expect([...this.due.values()], 'nobody was answered').toEqual([]);
    const dead = this.lines.filter((line) => line.includes('is dead'));
    expect(dead).toHaveLength(this.isDead ? 1 : 0);
    expect(host.events.size, 'eventfds are left').toBe(0);
    const used = new Set(
      this.device!.regions.flatMap(({ files = [] }) => files.map(({ fd }) => fd)),
    );
    if (host.channels[1] !== undefined) used.add(50);
    const closed = new Set(host.closed);
    // What came last is closed with the next message.
    const last = new Set(host.channels.flatMap(({ descriptors }) => descriptors));
    const open = this.given.filter((fd) => !closed.has(fd) && !used.has(fd) && !last.has(fd));
    expect(open, 'descriptors are left').toEqual([]);
  }
}

function fuzz(runs = RUNS): void {
  for (let seed = 1; seed <= runs; seed++) {
    const badness = [0, 0.01, 0.1][seed % 3]!;
    try {
      new Fuzz(seed, badness).run();
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** Puts a defect into a private method, which is called with what it replaces. */
// biome-ignore lint/suspicious/noExplicitAny: defects reach what is private
function defect(type: any, name: string, other: (was: any, ...rest: any[]) => unknown): void {
  const was = type.prototype[name];
  vi.spyOn(type.prototype, name).mockImplementation(function (this: unknown, ...rest: unknown[]) {
    return other(was.bind(this), ...rest);
  });
}

describe('a vfio-user server that is no good, by chance', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('spoils nothing but itself', () => fuzz());

  const defects: [string, RegExp, () => void][] = [
    [
      'any reply is taken',
      /good reply|without a reason|refused/,
      () => defect(Client, 'isReply', () => true),
    ],
    [
      'errors of replies are not looked at',
      /reason|refused/,
      () => defect(Client, 'resultOf', () => 0),
    ],
    [
      'a length is not compared',
      /not what it should be|access of memory/,
      () =>
        defect(Client, 'copyAccess', (was, body) => {
          const count = was(body);
          return count > body.length - 16 && body.length > 16 ? body.length - 16 : count;
        }),
    ],
    [
      'a refused access is not answered',
      /nobody was answered/,
      () =>
        defect(Client, 'send', (was, channel, head, ...rest) =>
          (head.flags & MessageFlag.ERROR) !== 0 ? true : was(channel, head, ...rest),
        ),
    ],
    [
      'DMA without bus mastering',
      /access of memory|should be/,
      () => vi.spyOn(RemoteConfig.prototype, 'isMaster', 'get').mockReturnValue(true),
    ],
    [
      'descriptors are forgotten',
      /descriptors are left/,
      () =>
        defect(Client, 'takeDescriptors', (was) => {
          was();
          return [];
        }),
    ],
    [
      'a short reply is read',
      /good reply|reason/,
      () =>
        defect(RegionPort, 'read', (was, index, offset, into) => {
          was(index, offset, into);
          if (into.every((byte: number) => byte === 0xff)) into[0] = 0;
        }),
    ],
    [
      'a dead server is asked again',
      /seed/,
      () => vi.spyOn(Client.prototype, 'isDead', 'get').mockReturnValue(false),
    ],
    ['it does not die', /seed/, () => defect(Client, 'die', () => {})],
    [
      'eventfds stay when it is closed',
      /eventfds are left/,
      () => defect(RemoteFunction, 'release', () => {}),
    ],
    [
      'what the server says of itself is not checked',
      /seed/,
      () => defect(Negotiation, 'replyOf', () => new DataView(new ArrayBuffer(64))),
    ],
  ];
  it.each(defects)('canary: %s', (_what, message, plant) => {
    plant();
    expect(() => fuzz()).toThrow(message);
  });
});
