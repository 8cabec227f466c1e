import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../../src/abi/errno.js';
import { PciCommand } from '../../../src/abi/pci.js';
import { vfioUser } from '../../../src/device/vfio-user/kind.js';
import type { Mapping } from '../../../src/ioas/mapping.js';
import type { AddressSpace, MmuNotifier } from '../../../src/mm/address-space.js';
import type { PciFunction } from '../../../src/vfio/pci-function.js';
import { Command, MessageFlag } from '../../../src/vfio-user/protocol.js';
import { command, hex, IOVA_BASE_PAGE, Program, read, read32, write32 } from '../program.js';
import { BAR_FD, FakeDevice, u32, u64, words } from './fake-device.js';
import { type Message, refusal, reply } from './fake-server.js';

const CONFIG = 7;
const [INTX, MSIX, ERR] = [0, 2, 3];

let server: FakeDevice;
let program: Program;
let lines: string[];

beforeEach(() => {
  server = new FakeDevice();
  program = new Program({ pages: 64 });
  lines = [];
});

function make(options: Record<string, string> = {}): PciFunction {
  const host = { ...program.host, peers: server.host, note: (line: string) => lines.push(line) };
  return vfioUser.create({ socket: 's', ...options }, { ...program.surroundings, host });
}

function opened(options: Record<string, string> = {}): PciFunction {
  const device = make(options);
  device.open(program.sink);
  command(device, PciCommand.MEMORY | PciCommand.MASTER);
  server.requests.length = 0;
  return device;
}

describe('a device behind a vfio-user socket', () => {
  it('has the regions, interrupts and reset of the server', () => {
    const device = make();
    expect(device.regions.map(({ size }) => size)).toEqual([0x3000, 0, 0, 0, 0, 0, 0, 256, 0]);
    expect(device.interruptCounts).toEqual([1, 0, 3, 1, 1]);
    expect(device.resettable).toBe(true);
    expect(device.regions[0]).toMatchObject({
      mappable: true,
      trapped: [
        { offset: 0, size: 0x1000 },
        { offset: 0x2000, size: 0x1000 },
      ],
      files: [{ offset: 0x1000, size: 0x1000, fd: BAR_FD, fileOffset: 0x1000 }],
    });
  });

  it('is opened as vfio-pci opens it: reset, decoding on, bus mastering off', () => {
    server.config[4] = 0x04;
    const device = make();
    server.requests.length = 0;
    device.open(program.sink);
    expect(server.of(Command.DEVICE_RESET)).toHaveLength(1);
    expect(hex(read(device, CONFIG, 4, 2))).toBe('0300');
    expect(device.decodes!(0)).toBe(true);
    command(device, 0);
    expect(device.decodes!(0)).toBe(false);
  });

  it('reads and writes by round trips, an access that is refused as ones', () => {
    const device = opened();
    write32(device, 0, 8, 0x1234_5678);
    expect(read32(device, 0, 8)).toBe(0x1234_5678);
    server.override = (message) => [refusal(message, Errno.EIO, message.body.slice(0, 16))];
    expect(read32(device, 0, 8)).toBe(0xffff_ffff);
    write32(device, 0, 8, 1);
    read32(device, 0, 8);
    server.override = null;
    expect(read32(device, 0, 8)).toBe(0x1234_5678);
    expect(lines).toEqual([
      '0000:02:00.0: the vfio-user server at s refuses a read at 0x8 of region 0 (EIO); told of once',
      '0000:02:00.0: the vfio-user server at s refuses a write at 0x8 of region 0 (EIO); told of once',
    ]);
  });

  it('takes a refusal that says that it is a command, and has no number', () => {
    const device = opened();
    server.override = (message) => [{ ...refusal(message, 0), flags: MessageFlag.ERROR }];
    expect(read32(device, 0, 8)).toBe(0xffff_ffff);
    server.override = null;
    expect(read32(device, 0, 8)).toBe(0);
    expect(lines).toEqual([
      '0000:02:00.0: the vfio-user server at s refuses a read at 0x8 of region 0 (EIO); told of once',
    ]);
  });

  it('writes registers of config space whole, whatever the width of the access', () => {
    const device = opened();
    device.writeRegion(CONFIG, 4, Uint8Array.of(0x06));
    device.writeRegion(CONFIG, 5, Uint8Array.of(0x01));
    expect(hex(server.config.subarray(4, 6))).toBe('0601');
    device.writeRegion(CONFIG, 0x12, Uint8Array.of(0xaa, 0xbb));
    expect(hex(server.config.subarray(0x10, 0x14))).toBe('0000aabb');
    server.requests.length = 0;
    device.writeRegion(CONFIG, 4, Uint8Array.of(7, 0, 0xff, 0xff));
    const writes = server.of(Command.REGION_WRITE).map(({ body }) => hex(body.subarray(16)));
    expect(writes).toEqual(['0700', 'ffff']);
    expect(lines).toEqual([]);
  });

  it('has its command register back after a reset', () => {
    const device = opened();
    server.override = (message) => {
      if (message.command === Command.DEVICE_RESET) server.config[4] = 0;
      return undefined;
    };
    device.reset();
    expect(server.config[4]).toBe(PciCommand.MEMORY | PciCommand.MASTER);
  });
});

describe('what the server asks of memory', () => {
  const access = (
    command: number,
    address: number,
    count: number,
    data: number[] = [],
  ): Message => ({
    ...{ id: 9, command, flags: 0, error: 0, descriptors: [], fault: 'none' },
    body: Uint8Array.from([...words(16, [address, 0, count, 0]), ...data]),
  });
  /** The client's answers to what the server asks while it is asked. */
  const answersTo = (device: PciFunction, asked: readonly Message[]): Message[] => {
    const answers: Message[] = [];
    server.override = (message) => {
      if (message.flags === 0) {
        server.override = (answer) => {
          if (answer.flags === 0) return undefined;
          answers.push(answer);
          return [];
        };
        return [...asked, ...own(message)];
      }
      return undefined;
    };
    read(device, 0, 0, 4);
    return answers;
  };
  const own = (message: Message): Message[] => {
    const body = Uint8Array.from([...message.body, 0, 0, 0, 0]);
    return [reply(message, { body })];
  };

  it('is read and written through the IOMMU while a reply is awaited', () => {
    const device = opened();
    program.memory.bytes.set([1, 2, 3, 4], 16);
    const [read, write] = answersTo(device, [
      access(Command.DMA_READ, program.iova(16), 4),
      access(Command.DMA_WRITE, program.iova(32), 3, [7, 8, 9]),
    ]);
    expect([read!.id, read!.command, read!.flags, hex(read!.body.subarray(16))]).toEqual([
      ...[9, Command.DMA_READ, 1],
      '01020304',
    ]);
    expect([write!.flags, write!.body.length]).toEqual([1, 16]);
    expect(hex(program.memory.bytes.subarray(32, 35))).toBe('070809');
  });

  it('is refused where nothing is mapped, with bus mastering off, and where lengths lie', () => {
    const device = opened();
    const asked = [
      access(Command.DMA_READ, 0, 4),
      access(Command.DMA_WRITE, program.iova(0), 4, [1]),
      access(Command.DMA_READ, program.iova(0), 2 ** 20 + 1),
      { ...access(Command.DMA_READ, 0, 0), body: new Uint8Array(3) },
      access(Command.DEVICE_RESET, 0, 0),
    ];
    const { EFAULT, EINVAL, ENODEV } = Errno;
    const errors = (): number[] => answersTo(device, asked).map(({ error }) => error);
    expect(errors()).toEqual([EFAULT, EINVAL, EINVAL, EINVAL, EINVAL]);
    server.override = null;
    command(device, PciCommand.MEMORY);
    expect(errors()[0]).toBe(ENODEV);
  });

  it('gets no answer where it wants none', () => {
    const device = opened();
    const quiet = { ...access(Command.DMA_WRITE, program.iova(0), 1, [5]), flags: 0x10 };
    expect(answersTo(device, [quiet])).toEqual([]);
    expect(program.memory.bytes[0]).toBe(5);
  });

  it('comes by the second socket where the server has one, also when nothing is awaited', () => {
    server.twin = true;
    opened();
    const answers: Message[] = [];
    server.twinAnswers = (message) => {
      answers.push(message);
      return [];
    };
    const [, twin] = server.host.channels;
    twin!.queue.push(access(Command.DMA_WRITE, program.iova(0), 1, [6]));
    server.host.notice();
    expect(program.memory.bytes[0]).toBe(6);
    expect(answers.map(({ flags }) => flags)).toEqual([1]);
  });
});

describe('interrupts', () => {
  const signal = (fd: number): void => server.host.events.get(fd)!();

  it('come by eventfds, as many with a message as the server takes', () => {
    const device = opened();
    device.interruptsEnabled(MSIX, 3);
    const sets = server.of(Command.DEVICE_SET_IRQS);
    expect(
      sets.map(({ body }) => [u32(body, 4), u32(body, 8), u32(body, 12), u32(body, 16)]),
    ).toEqual([
      [0x24, MSIX, 0, 2],
      [0x24, MSIX, 2, 1],
    ]);
    const fds = sets.flatMap(({ descriptors }) => descriptors);
    signal(fds[2]!);
    expect(program.sink.take()).toEqual(['msix 2']);
    device.interruptsEnabled(MSIX, 0);
    const off = server.of(Command.DEVICE_SET_IRQS).at(-1)!.body;
    expect([u32(off, 4), u32(off, 8), u32(off, 16)]).toEqual([0x21, MSIX, 0]);
    expect(fds.some((fd) => server.host.events.has(fd))).toBe(false);
  });

  it('INTx that fires while it is masked comes once, when it is unmasked', () => {
    const device = opened();
    device.interruptsEnabled(INTX, 1);
    const [fd] = server.of(Command.DEVICE_SET_IRQS)[0]!.descriptors;
    signal(fd!);
    expect(program.sink.take()).toEqual(['intx 1', 'intx 0']);
    signal(fd!);
    signal(fd!);
    expect(program.sink.take()).toEqual([]);
    device.intxMasked!(false);
    expect(program.sink.take()).toEqual(['intx 1', 'intx 0']);
    expect(server.of(Command.DEVICE_SET_IRQS)).toHaveLength(1);
  });

  it('the server hears of masks where it says that it masks', () => {
    server.intxFlags = 7;
    const device = opened();
    device.interruptsEnabled(INTX, 1);
    device.intxMasked!(true);
    device.intxMasked!(false);
    const flags = server.of(Command.DEVICE_SET_IRQS).map(({ body }) => u32(body, 4));
    expect(flags).toEqual([0x24, 0x09, 0x11]);
  });
});

describe('mappings', () => {
  let notifier: MmuNotifier | null = null;
  const mapping = (pinned: boolean): Mapping =>
    ({
      ...{ iovaPage: IOVA_BASE_PAGE, pages: 4, permission: 3, vaddrPage: 0x50, pinned },
      mm: {
        subscribe: (given: MmuNotifier) => {
          notifier = given;
          return () => {
            notifier = null;
          };
        },
      } as unknown as AddressSpace,
    }) as unknown as Mapping;
  const maps = (): unknown[] =>
    server
      .of(Command.DMA_MAP)
      .map(({ body, descriptors }) => [
        ...[u32(body, 4), u64(body, 8), u64(body, 16), u64(body, 24)],
        ...descriptors,
      ]);
  afterEach(() => {
    notifier = null;
  });

  it('of a shared file are given by descriptor', () => {
    server.host.memoryFile = { fd: 60, offset: 0x7000, place: 'a' };
    const device = opened();
    const made = mapping(false);
    device.mappings!.mapped(made);
    expect(maps()).toEqual([[3, 0x7000, program.iova(0), 0x4000, 60]]);
    expect(server.host.closed).toContain(60);
    device.mappings!.unmapping(made);
    const { body } = server.of(Command.DMA_UNMAP)[0]!;
    expect([u32(body, 0), u32(body, 4), u64(body, 8), u64(body, 16)]).toEqual([
      ...[24, 0, program.iova(0)],
      0x4000,
    ]);
    expect(notifier).toBeNull();
  });

  it('are sent anew when the process has put other memory there', () => {
    server.host.memoryFile = { fd: 60, offset: 0x7000, place: 'a' };
    const device = opened();
    device.mappings!.mapped(mapping(false));
    notifier!.invalidate(0x53, 8);
    device.poll();
    expect(server.of(Command.DMA_UNMAP)).toHaveLength(0);
    server.host.memoryFile = null;
    notifier!.invalidate(0x53, 8);
    device.poll();
    expect(server.of(Command.DMA_UNMAP)).toHaveLength(1);
    expect(maps().at(-1)).toEqual([3, 0, program.iova(0), 0x4000]);
  });

  it('that are pinned are given as the memory of their process, where the server takes that', () => {
    server.host.processMemory = { fd: 61, offset: 0, place: 'memory' };
    const device = opened();
    device.mappings!.mapped(mapping(false));
    device.mappings!.mapped(mapping(true));
    server.override = (message) =>
      (u32(message.body, 4) & 8) === 0 ? undefined : [refusal(message, Errno.EINVAL)];
    device.mappings!.mapped(mapping(true));
    device.mappings!.mapped(mapping(true));
    const plain = [3, 0, program.iova(0), 0x4000];
    const io = [11, 0x50000, program.iova(0), 0x4000, 61];
    expect(maps()).toEqual([plain, io, io, plain, plain]);
  });

  it.each([Errno.EEXIST, Errno.EINVAL])(
    'a refused one (%i) is told of once, and not undone',
    (error) => {
      const device = opened({ dma: 'messages' });
      server.override = (message) => [refusal(message, error)];
      const made = mapping(false);
      device.mappings!.mapped(made);
      device.mappings!.mapped(mapping(false));
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(/refuses the mapping at IOVA 0x100000/);
      server.override = null;
      device.mappings!.unmapping(made);
      expect(server.of(Command.DMA_UNMAP)).toHaveLength(0);
    },
  );
});

describe('a server that is no good', () => {
  const dead = (device: PciFunction, reason: RegExp): void => {
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(reason);
    expect(program.sink.events).toContain(`notify ${ERR}`);
    server.override = null;
    const count = server.requests.length;
    expect(hex(read(device, 0, 0, 4))).toBe('ffffffff');
    expect(hex(read(device, CONFIG, 0, 4))).toBe('ffffffff');
    expect(device.decodes!(0)).toBe(true);
    write32(device, 0, 0, 1);
    device.reset();
    device.interruptsEnabled(MSIX, 3);
    device.interruptsEnabled(MSIX, 0);
    device.release();
    device.open(program.sink);
    expect(server.requests).toHaveLength(count);
    expect(lines).toHaveLength(1);
  };
  beforeEach(() => {
    Object.assign(program.sink, {
      notify: (index: number) => program.sink.events.push(`notify ${index}`),
    });
  });

  it('is dead when it has closed the connection', () => {
    const device = opened();
    server.host.channels[0]!.isClosed = true;
    server.host.notice();
    dead(device, /at s has closed the connection; the device is dead/);
    expect(server.host.channels[0]!.isGone).toBe(true);
  });

  it('is dead when it does not answer in time, or takes nothing', () => {
    const device = opened({ timeout: '300ms' });
    server.override = () => [];
    const began = server.host.time;
    read(device, 0, 0, 4);
    expect(server.host.time - began).toBe(300);
    dead(device, /has not answered REGION_READ for 0.3 s/);
    server = new FakeDevice();
    lines = [];
    program.sink.take();
    const other = opened({ timeout: '2s' });
    server.override = () => null;
    write32(other, 0, 0, 4);
    dead(other, /has taken nothing for 2 s/);
  });

  it('is dead when the program has ended before it answers', () => {
    const device = opened();
    server.override = () => [];
    server.host.isWanted = false;
    read(device, 0, 0, 4);
    dead(device, /had not answered REGION_READ when the program ended/);
  });

  const garbage: [string, (asked: Message) => Partial<Message>, RegExp][] = [
    ['a reply with another id', ({ id }) => ({ id: id + 1 }), /a reply to REGION_READ/],
    ['a reply to another command', () => ({ command: 3 }), /a reply to DMA_UNMAP/],
    ['a message of no type', () => ({ flags: 7 }), /a message of type 7/],
    ['a size below a header', () => ({ fault: 'size below a header' }), /size below a header/],
    ['a size above all', () => ({ fault: 'size above the limit' }), /size above the limit/],
    ['too few bytes', ({ body }) => ({ body }), /16 bytes of 20/],
    ['too many bytes', () => ({ body: new Uint8Array(21) }), /21 bytes of 20/],
    ['an empty reply', () => ({}), /0 bytes of 20/],
  ];
  it.each(garbage)('is dead when it sends %s', (_what, wrong, reason) => {
    const device = opened();
    server.override = (message) => [reply(message, wrong(message))];
    expect(hex(read(device, 0, 0, 4))).toBe('ffffffff');
    dead(device, reason);
  });

  it('is dead when it sends a reply that nobody asked for', () => {
    const device = opened();
    server.host.channels[0]!.queue.push(
      reply(server.requests[0] ?? ({ id: 1, command: 9 } as Message)),
    );
    server.host.notice();
    dead(device, /where nothing was asked/);
  });

  const lies: [string, number, (asked: Message) => Message, RegExp][] = [
    ['no PCI device', 4, (m) => reply(m, { body: words(16, [16, 1, 9, 5]) }), /has no PCI device/],
    ['few regions', 4, (m) => reply(m, { body: words(16, [16, 3, 7, 5]) }), /it has 7 regions/],
    ['a short answer', 4, (m) => reply(m, { body: new Uint8Array(8) }), /8 bytes of 16/],
    ['an error', 4, (m) => refusal(m, 48879), /DEVICE_GET_INFO with errno 48879/],
    [
      'a huge region',
      5,
      (m) => reply(m, { body: words(32, [32, 3, 0, 0, 0, 0x10000, 0, 0]) }),
      /has 281474976710656 bytes/,
    ],
    [
      'a long story',
      5,
      (m) => reply(m, { body: words(32, [2 ** 30, 3]) }),
      /takes 1073741824 bytes/,
    ],
    ['many vectors', 7, (m) => reply(m, { body: words(16, [16, 1, 2, 4096]) }), /has \d+ vectors/],
    ['version 1', 1, (m) => reply(m, { body: new Uint8Array([1, 0, 0, 0]) }), /speaks version 1.0/],
    [
      'garbled text',
      1,
      (m) => reply(m, { body: new Uint8Array([0, 0, 1, 0, 123]) }),
      /cannot be read/,
    ],
  ];
  it.each(lies)('is not taken when it says %s', (_what, command, answer, reason) => {
    server.override = (message) => (message.command === command ? [answer(message)] : undefined);
    expect(() => make()).toThrow(reason);
  });

  it('is not taken when its file is shorter than what can be mapped of it', () => {
    server.host.files.set(BAR_FD, 0x1001 - 1);
    expect(() => make()).toThrow(/mapped at \[0x1000, 0x2000\), beyond its file's end/);
  });

  it('is not taken when it never answers', () => {
    server.override = () => [];
    expect(() => make()).toThrow(/has not answered VERSION for 5 s/);
  });
});

describe('options', () => {
  it.each([
    [{ socket: '' }, /needs socket=PATH/],
    [{ timeout: '0s' }, /timeout takes a time/],
    [{ timeout: 'soon' }, /timeout takes a time/],
    [{ dma: 'magic' }, /one of auto, shared, messages/],
  ])('%o: refused', (options, reason) => {
    expect(() => make(options as unknown as Record<string, string>)).toThrow(reason);
  });

  it('mmap=sparse: only the server’s memory can be mapped', () => {
    const { sparse, trapped } = make({ mmap: 'sparse' }).regions[0]!;
    expect([sparse, trapped]).toEqual([[{ offset: 0x1000, size: 0x1000 }], undefined]);
  });
});
