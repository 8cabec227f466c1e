import { describe, expect, it } from 'vitest';
import { PciInterruptIndex, PciRegionIndex } from '../../src/abi/pci.js';
import { Count, igbRegisters } from '../../src/device/igb/registers.js';
import { Statistics } from '../../src/device/igb/statistics.js';
import { RegisterFile } from '../../src/device/register-table.js';
import { Wires } from '../../src/device/wire.js';
import {
  foldedSum,
  IgbDriver,
  ipFrame,
  MAC,
  plainFrame,
  type Received,
  sumsAreRight,
} from './igb-driver.js';
import { Program, read32, write32 } from './program.js';

const UNICAST_PROMISCUOUS = 0x08;
const LONG_PACKETS = 0x20;
const VLAN_FILTER = 0x40000;
const STRIP = 0x04000000;
const VLAN_MODE = 0x40000000;
const INSERT_TAG = 0x40000000;
const SEGMENT = 0x80000000;
const IP_SUM = 0x100;
const L4_SUM = 0x200;

const config = ({ card }: IgbDriver, offset: number): number =>
  read32(card, PciRegionIndex.CONFIG, offset);
const setConfig = ({ card }: IgbDriver, offset: number, value: number): void =>
  write32(card, PciRegionIndex.CONFIG, offset, value);

function bytesOf(frames: readonly Received[]): string[] {
  return frames.map(({ bytes }) => Buffer.from(bytes).toString('hex'));
}

function hexOf(...frames: Uint8Array[]): string[] {
  return frames.map((frame) => Buffer.from(frame).toString('hex'));
}

/** A context descriptor: IPv4 behind an Ethernet header. */
function context(protocol: 'tcp' | 'udp', { mss = 0, vlan = 0, index = 0 } = {}): number[] {
  const transport = protocol === 'tcp' ? 20 : 8;
  const type = 0x20200000 | 0x400 | (protocol === 'tcp' ? 0x800 : 0);
  return [
    ((vlan << 16) | (14 << 9) | 20) >>> 0,
    0,
    type,
    ((mss << 16) | (transport << 8) | (index << 4)) >>> 0,
  ];
}

describe('the registers', () => {
  it('stand once: no two are at one address, and each has a name', () => {
    expect(igbRegisters.name(0x2818)).toBe('RDT[0]');
    expect(igbRegisters.name(0xc0d8)).toBe('RDT[3]');
    expect(igbRegisters.at(0x3900)).toBe(igbRegisters.at(0xe040));
    expect(igbRegisters.name(0x5404)).toBe('RAH[0]');
    expect(igbRegisters.at(0x0044)).toBe(0x5404);
    expect(igbRegisters.name(0x1fffc)).toBe('0x1fffc');
    const drv = new IgbDriver();
    drv.write(0x1fffc, 5);
    expect(drv.read(0x1fffc)).toBe(0);
  });

  it('lie in a BAR of memory, and may be reached through one of I/O', () => {
    const drv = new IgbDriver();
    const kinds = [0x10, 0x14, 0x18, 0x1c].map((at) => config(drv, at) & 0xf);
    expect(kinds).toEqual([0, 0, 1, 4]); // the table of MSI-X may lie above 4 GiB
  });

  it('CTRL.RST puts back all but a few, and loads the address from the EEPROM', () => {
    const drv = new IgbDriver().start();
    drv.write(0x5400, 0x12345678);
    drv.write(0x1680, 0x288);
    drv.write(0, drv.read(0) | 0x04000000);
    expect(drv.read(0)).toBe(0x00100209);
    expect(drv.read(8)).toBe(0x80080481);
    expect([drv.read(0x5400), drv.read(0x5404)]).toEqual([0x00005452, 0x80000100]);
    expect([drv.read(0x1680), drv.read(0xc000), drv.read(0x100)]).toEqual([0x288, 0, 0]);
    drv.card.reset();
    expect(drv.read(0x1680)).toBe(0);
  });

  it('the words of the EEPROM add up to 0xbaba', () => {
    const drv = new IgbDriver({ mac: '02:11:22:33:44:55' });
    let total = 0;
    const words = Array.from({ length: 64 }, (_, word) => {
      drv.write(0x14, (word << 2) | 1);
      expect(drv.read(0x14) & 2).toBe(2);
      return drv.read(0x14) >>> 16;
    });
    for (const word of words) total += word;
    expect(total & 0xffff).toBe(0xbaba);
    expect(words.slice(0, 3)).toEqual([0x1102, 0x3322, 0x5544]);
  });

  it('counters of octets are cleared by the read of their high half', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.send(plainFrame(100));
    expect([drv.read(0x4088), drv.read(0x4088)]).toEqual([104, 104]);
    expect([drv.read(0x408c), drv.read(0x4088)]).toEqual([0, 0]);
    expect([drv.read(0x4074), drv.read(0x4074)]).toEqual([1, 0]);
  });

  it('counters of octets keep what comes between the reads of their halves', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.send(plainFrame(100));
    expect(drv.read(0x4088)).toBe(104);
    drv.send(plainFrame(60));
    expect([drv.read(0x408c), drv.read(0x4088), drv.read(0x408c)]).toEqual([0, 64, 0]);
    drv.send(plainFrame(60));
    expect(drv.read(0x4088)).toBe(64);
    drv.write(0, 0x04000000);
    drv.rewind();
    drv.start(STRIP).send(plainFrame(100));
    expect([drv.read(0x408c), drv.read(0x4088)]).toEqual([0, 0]);
  });

  it('frames are counted by their lengths with checksum, and by whom they are for', () => {
    const registers = new RegisterFile(igbRegisters);
    const statistics = new Statistics(registers);
    const classes = (first: number): number[] =>
      [0, 1, 2, 3, 4, 5].map((index) => registers.get(first + 4 * index));
    const [one, many, all] = [plainFrame(14), plainFrame(14), plainFrame(14).fill(0xff, 0, 6)];
    many[0] = 1;
    const lengths = [60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514];
    for (const length of lengths) {
      statistics.sent(one, 0, length);
      statistics.received(length < 124 ? many : all, 0, length);
    }
    expect(classes(Count.PTC64)).toEqual([1, 2, 2, 2, 2, 2]);
    expect(classes(Count.PRC64)).toEqual([1, 2, 2, 2, 2, 2]);
    const kinds = [Count.MPTC, Count.BPTC, Count.MPRC, Count.BPRC, Count.GPTC, Count.GPRC];
    expect(kinds.map((at) => registers.get(at))).toEqual([0, 0, 3, 8, 11, 11]);
  });

  it('counters of octets have 64 bits, also where one comes that carries between the reads', () => {
    const registers = new RegisterFile(igbRegisters);
    const statistics = new Statistics(registers);
    const [low, high] = [Count.TORL, Count.TORL + 4];
    registers.set(low, 0xffffffff);
    statistics.arrived(60);
    expect([low, high, low, high].map((at) => registers.read(at))).toEqual([63, 1, 0, 0]);
    registers.set(low, 0xffffffff);
    expect(registers.read(low)).toBe(0xffffffff);
    statistics.arrived(60);
    expect([high, low, high].map((at) => registers.read(at))).toEqual([0, 64, 0]);
  });

  it('IODATA is the register that IOADDR names', () => {
    const { card } = new IgbDriver();
    const bytes = (value: number) => Uint8Array.of(value & 255, (value >> 8) & 255, value >> 16, 0);
    card.writeRegion(2, 0, bytes(0x5400));
    card.writeRegion(2, 4, bytes(0x112233));
    const found = new Uint8Array(4);
    card.readRegion(0, 0x5400, found);
    expect([...found]).toEqual([0x33, 0x22, 0x11, 0]);
  });
});

describe('frames', () => {
  it('come back as they were sent, short ones filled up, long ones over several buffers', () => {
    const drv = new IgbDriver().start(STRIP | LONG_PACKETS);
    drv.send(plainFrame(20));
    drv.send(plainFrame(1514), { pieces: [1, 500, 1013] });
    drv.send(plainFrame(9018));
    const [short, ordinary, long] = drv.receive();
    expect(hexOf(short!.bytes.subarray(0, 20))).toEqual(hexOf(plainFrame(20)));
    expect([...short!.bytes.subarray(20)]).toEqual(new Array(40).fill(0));
    expect(bytesOf([ordinary!, long!])).toEqual(hexOf(plainFrame(1514), plainFrame(9018)));
  });

  it('that are filled up show nothing of those before them', () => {
    const drv = new IgbDriver().start(STRIP | UNICAST_PROMISCUOUS);
    for (let sent = 0; sent < 8; sent++) drv.send(new Uint8Array(1000).fill(0xee));
    drv.receive();
    drv.send(plainFrame(20));
    const [short] = drv.receive();
    expect([...short!.bytes.subarray(20)]).toEqual(new Array(40).fill(0));
  });

  it('that are longer than the card takes are not sent, and the next one is', () => {
    const drv = new IgbDriver().start(STRIP | LONG_PACKETS);
    const pieces = [...Array(20)].map(() => 16_000);
    drv.send(new Uint8Array(320_000), { pieces });
    drv.send(plainFrame(100));
    expect(bytesOf(drv.receive())).toEqual(hexOf(plainFrame(100)));
  });

  it('in a queue that is not enabled stay there', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.write(0xe028, 0);
    drv.send(plainFrame(100));
    expect([drv.receive(), drv.read(0xe010)]).toEqual([[], 0]);
    drv.write(0xe028, 0x02000000);
    drv.settle();
    expect(bytesOf(drv.receive())).toEqual(hexOf(plainFrame(100)));
  });

  it('have four bytes more without RCTL.SECRC', () => {
    const drv = new IgbDriver().start();
    drv.send(plainFrame(60));
    expect(bytesOf(drv.receive())).toEqual(hexOf(Buffer.concat([plainFrame(60), Buffer.alloc(4)])));
  });

  it('do not get by without a link, and are counted as sent', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.write(0, drv.read(0) | 0x04000000);
    for (const [offset, value] of [
      [0xe000, drv.program.iova(0x10000)],
      [0xe008, 1024],
      [0x400, 0xa],
    ] as const)
      drv.write(offset, value);
    drv.descriptor([drv.program.iova(drv.place(plainFrame(60))), 0, 0x2b30003c, 0]);
    drv.settle();
    expect([drv.read(0x4080), drv.read(0x4074)]).toEqual([1, 0]);
  });

  it('that are too long, for others, or of a VLAN that is not wanted are dropped', () => {
    const drv = new IgbDriver().start(STRIP | VLAN_FILTER);
    const tagged = plainFrame(64);
    tagged.set([0x81, 0, 0, 5], 12);
    const other = plainFrame(60);
    other[5] = 9;
    const group = plainFrame(60);
    group.set([1, 0, 0x5e, 0, 0, 1]);
    const broadcast = plainFrame(60);
    broadcast.fill(0xff, 0, 6);
    for (const frame of [plainFrame(1515), tagged, other, group, broadcast]) drv.send(frame);
    expect(bytesOf(drv.receive())).toEqual(hexOf(broadcast));
    expect(drv.read(0x40ac)).toBe(1);
    drv.write(0x5600, 1 << 5);
    drv.write(0x5200 + 4 * (0x010 >>> 5), 1 << (0x010 & 31));
    drv.write(0x5408, 0x00005452);
    drv.write(0x540c, 0x80000900);
    for (const frame of [tagged, other, group]) drv.send(frame);
    expect(bytesOf(drv.receive())).toEqual(hexOf(tagged, other, group));
  });

  it('get the tag that a descriptor asks for; CTRL.VME takes tags out', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.descriptor(context('udp', { vlan: 0x0123 }));
    drv.send(plainFrame(80), { command: INSERT_TAG });
    const [kept] = drv.receive();
    expect(Buffer.from(kept!.bytes.subarray(12, 16)).toString('hex')).toBe('81000123');
    expect(kept!.bytes.length).toBe(84);
    drv.write(0, drv.read(0) | VLAN_MODE);
    drv.send(plainFrame(80), { command: INSERT_TAG });
    const [received] = drv.receive();
    expect(bytesOf([received!])).toEqual(hexOf(plainFrame(80)));
    expect([received!.vlan, received!.status & 0xff]).toEqual([0x0123, 0x0b]);
    drv.send(plainFrame(80)); // it has none
    const [plain] = drv.receive();
    expect(bytesOf([plain!])).toEqual(hexOf(plainFrame(80)));
    expect(plain!.status & 0x08).toBe(0);
  });

  it('without a buffer are lost and counted, and tell of the overrun', () => {
    const drv = new IgbDriver().start(STRIP);
    for (let index = 0; index < 64; index++) drv.send(plainFrame(60, index));
    expect([drv.read(0x4010), drv.read(0x40a0), drv.read(0xc030)]).toEqual([1, 1, 1]);
    // GPRC, PRC64, TPR and GORC: a lost frame is none that was received.
    expect([0x4074, 0x405c, 0x40d0, 0x4088].map((at) => drv.read(at))).toEqual([
      63,
      63,
      64,
      63 * 64,
    ]);
    expect(drv.read(0xc0) & 0x50).toBe(0x50);
    expect(drv.receive()).toHaveLength(63);
  });

  it('of one batch are written back around the end of the ring, and nothing behind them', () => {
    const drv = new IgbDriver().start(STRIP);
    for (let sent = 0; sent < 58; sent++) drv.send(plainFrame(60, sent));
    expect(drv.receive()).toHaveLength(58);
    const frames = [...Array(10).keys()].map((seed) => plainFrame(100, seed));
    for (const frame of frames)
      drv.describe([drv.program.iova(drv.place(frame)), 0, 0x2b300000 | frame.length, 0]);
    drv.ring();
    drv.settle();
    expect(bytesOf(drv.receive())).toEqual(hexOf(...frames));
  });

  it('wait at the network beyond a batch, each with room for the largest', () => {
    const program = new Program({ pages: 4096 });
    let waiting = 100;
    const openTap = () => ({
      send: () => {},
      receive: (buffer: { bytes: Uint8Array }, offset: number, room: number) => {
        if (waiting === 0) return 0;
        waiting--;
        expect(offset + room).toBeLessThanOrEqual(buffer.bytes.length);
        buffer.bytes.set(plainFrame(60), offset);
        return 60;
      },
    });
    Object.assign(program.host, { openTap });
    const drv = new IgbDriver({ tap: 'tap7' }, program).start(STRIP);
    let got = 0;
    for (let poll = 0; poll < 8; poll++) {
      drv.card.poll();
      got += drv.receive().length;
    }
    expect([got, waiting]).toEqual([100, 0]);
  });

  it('go through pages that are faulted in', () => {
    const drv = new IgbDriver({}, { faulting: true }).start(STRIP);
    drv.send(plainFrame(1500));
    expect(bytesOf(drv.receive())).toEqual(hexOf(plainFrame(1500)));
    expect(drv.program.faults.length).toBeGreaterThan(0);
  });

  it('whose memory is refused are sent as zeros; a ring that is refused stops', () => {
    const drv = new IgbDriver().start(STRIP | UNICAST_PROMISCUOUS);
    drv.descriptor([0, 0, 0x2b300064, 0]);
    drv.settle();
    expect(bytesOf(drv.receive())).toEqual(hexOf(new Uint8Array(100)));
    drv.write(0xe000, 0x80);
    drv.descriptor([0, 0, 0x2b300064, 0]);
    drv.settle();
    expect(drv.card.poll()).toBe(false);
    expect([drv.read(0xe010), drv.receive()]).toEqual([1, []]);
  });
});

describe('offloads', () => {
  it.each(['tcp', 'udp'] as const)('put checksums in: %s', (protocol) => {
    const drv = new IgbDriver().start(STRIP);
    drv.descriptor(context(protocol));
    drv.send(ipFrame(protocol, 333, { pseudo: true }), { options: IP_SUM | L4_SUM });
    const [received] = drv.receive();
    expect(sumsAreRight(received!.bytes)).toBe(true);
    expect(received!.status).toBe(protocol === 'tcp' ? 0x263 : 0x273);
    expect([received!.info, received!.hash]).toEqual([protocol === 'tcp' ? 0x110 : 0x210, 0x1234]);
  });

  it('tell of checksums that are wrong', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.send(ipFrame('tcp', 50));
    expect(drv.receive()[0]!.status).toBe(0x60000263);
  });

  it('a legacy descriptor puts one checksum in', () => {
    const drv = new IgbDriver().start(STRIP);
    const at = drv.place(plainFrame(100));
    drv.descriptor([drv.program.iova(at), 0, 0x0f000000 | (50 << 16) | 100, 20 << 8]);
    drv.settle();
    const [received] = drv.receive();
    expect(foldedSum(received!.bytes, 20, 80, foldedSum(plainFrame(100), 50, 2))).toBe(0xffff);
  });

  it('cut TCP to segments: sequence, identification, flags, both checksums', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.descriptor(context('tcp', { mss: 1000 }));
    const whole = ipFrame('tcp', 2500, { pseudo: true, withLength: false });
    drv.send(whole, { command: SEGMENT, options: IP_SUM | L4_SUM, pieces: [54, 2500] });
    const frames = drv.receive().map(({ bytes }) => bytes);
    expect(frames.map(({ length }) => length)).toEqual([1054, 1054, 554]);
    expect(frames.map(sumsAreRight)).toEqual([true, true, true]);
    const views = frames.map((frame) => new DataView(frame.buffer, frame.byteOffset));
    expect(views.map((view) => view.getUint16(18))).toEqual([0x1234, 0x1235, 0x1236]);
    expect(views.map((view) => view.getUint32(38))).toEqual([0xfffffff0, 0x3d8, 0x7c0]);
    expect(frames.map((frame) => frame[47])).toEqual([0x10, 0x10, 0x19]);
    const payload = Buffer.concat(frames.map((frame) => frame.subarray(54)));
    expect(hexOf(payload)).toEqual(hexOf(whole.subarray(54)));
    expect(drv.read(0x40f8)).toBe(1);
  });

  it('keep two contexts apart, also for packets that are on their way', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.write(0, drv.read(0) | VLAN_MODE);
    drv.descriptor(context('udp', { vlan: 1, index: 0 }));
    drv.descriptor(context('udp', { vlan: 2, index: 1 }));
    drv.send(plainFrame(60), { command: INSERT_TAG, options: 1 << 4 });
    drv.send(plainFrame(60), { command: INSERT_TAG });
    expect(drv.receive().map(({ vlan }) => vlan)).toEqual([2, 1]);
  });

  it('split headers into a buffer of their own', () => {
    const drv = new IgbDriver().start(STRIP, { srrctl: 0x04000402 });
    drv.send(ipFrame('tcp', 200, { pseudo: true }));
    const [received] = drv.receive();
    expect(received!.info).toBe((0x80000000 | (54 << 21) | 0x110) >>> 0);
    expect(hexOf(received!.bytes)).toEqual(hexOf(ipFrame('tcp', 200).subarray(54)));
    expect(hexOf(drv.headerBuffer(0, 30))).toEqual(hexOf(ipFrame('tcp', 200).subarray(0, 30)));
  });

  it('RSS hashes as the specification’s examples do, and chooses the queue', () => {
    const drv = new IgbDriver().start(STRIP, { queues: 2 });
    const key = '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa';
    const bytes = Buffer.from(key, 'hex');
    for (let word = 0; word < 10; word++)
      drv.write(0x5c80 + 4 * word, bytes.readUInt32LE(4 * word));
    for (let word = 0; word < 32; word++) drv.write(0x5c00 + 4 * word, 0x01010101);
    drv.write(0x5000, 0x2300);
    drv.write(0x5818, 0x00030002);
    const frame = ipFrame('tcp', 10, { pseudo: true });
    frame.set([66, 9, 149, 187, 161, 142, 100, 80], 26);
    frame.set([2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255], 34);
    drv.send(frame);
    expect(drv.receive(0)).toEqual([]);
    const [received] = drv.receive(1);
    expect([received!.hash, received!.info & 0xf]).toEqual([0x51ccc178, 1]);
  });
});

describe('interrupts', () => {
  it('the pin follows ICR and IMS', () => {
    const drv = new IgbDriver();
    const { program } = drv;
    drv.write(0xd0, 4);
    drv.write(0xc8, 4);
    expect(program.sink.take()).toEqual(['intx 1']);
    expect(drv.read(0xc0)).toBe(0x80000004);
    expect([program.sink.take(), drv.read(0xc0)]).toEqual([['intx 0'], 0]);
  });

  it('with MSI-X, ICR keeps its causes when it is read, unless GPIE.NSICR says otherwise', () => {
    const [MULTIPLE, NSICR] = [0x10, 1];
    const drv = new IgbDriver();
    drv.write(0x1514, MULTIPLE);
    drv.write(0xd0, 4); // IMS
    drv.write(0xc8, 0x80); // ICS
    expect([drv.read(0xc0), drv.read(0xc0)]).toEqual([0x80, 0x80]);
    drv.write(0x1514, MULTIPLE | NSICR);
    expect([drv.read(0xc0), drv.read(0xc0)]).toEqual([0x80, 0]);
  });

  it('MSI: a message for each cause that is new', () => {
    const drv = new IgbDriver();
    drv.card.interruptsEnabled(PciInterruptIndex.MSI, 1);
    drv.write(0xd0, 0x84);
    for (const cause of [4, 4, 0x80, 0x10]) drv.write(0xc8, cause);
    expect(drv.program.sink.take()).toEqual(['msi 0', 'msi 0']);
  });

  it('MSI can be masked in its capability, where it is pending until then', () => {
    const drv = new IgbDriver();
    drv.card.interruptsEnabled(PciInterruptIndex.MSI, 1);
    expect([config(drv, 0x50) >>> 16, config(drv, 0x60)]).toEqual([0x181, 0]);
    setConfig(drv, 0x60, 0xffffffff);
    drv.write(0xd0, 4);
    drv.write(0xc8, 4);
    expect([drv.program.sink.take(), config(drv, 0x60), config(drv, 0x64)]).toEqual([[], 1, 1]);
    setConfig(drv, 0x64, 0);
    setConfig(drv, 0x60, 0);
    expect([drv.program.sink.take(), config(drv, 0x64)]).toEqual([['msi 0'], 0]);
  });

  it('MSI is not masked, and nothing pending, when it is switched on and after a reset', () => {
    const drv = new IgbDriver();
    const pendingOne = (): void => {
      setConfig(drv, 0x60, 1);
      drv.write(0xd0, 4);
      drv.write(0xc8, 4);
      drv.read(0xc0);
      expect(config(drv, 0x64)).toBe(1);
    };
    const state = () => [config(drv, 0x60), config(drv, 0x64), drv.program.sink.take()];
    drv.card.interruptsEnabled(PciInterruptIndex.MSI, 1);
    pendingOne();
    drv.card.interruptsEnabled(PciInterruptIndex.MSI, 0);
    drv.card.interruptsEnabled(PciInterruptIndex.MSI, 1);
    expect(state()).toEqual([0, 0, []]);
    pendingOne();
    drv.card.reset();
    expect(state()).toEqual([0, 0, []]);
  });

  it('MSI-X: a queue whose entry of IVAR is not valid has none', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.card.interruptsEnabled(PciInterruptIndex.MSIX, 10);
    drv.write(0x1514, 0x10); // GPIE: MSI-X
    drv.write(0x1524, 0x3ff); // EIMS
    drv.write(0x1700, 0x0201); // vectors 1 and 2, not valid
    drv.send(plainFrame(60));
    expect([drv.read(0x1580), drv.program.sink.take()]).toEqual([0, []]); // EICR
  });

  it('MSI-X: queues have vectors by IVAR, which EIAC clears and EIAM masks', () => {
    const drv = new IgbDriver().start(STRIP);
    drv.card.interruptsEnabled(PciInterruptIndex.MSIX, 3);
    drv.program.sink.take();
    drv.write(0x1514, 0x40000010);
    drv.write(0x152c, 6);
    drv.write(0x1530, 2);
    drv.write(0x1700, 0x8281);
    drv.write(0x1524, 7);
    drv.send(plainFrame(60));
    drv.send(plainFrame(60));
    expect(drv.program.sink.take()).toEqual(['msix 1', 'msix 2', 'msix 2']);
    expect([drv.read(0x1524), drv.read(0x1580)]).toEqual([5, 2]);
    drv.write(0x1580, 0xffffffff);
    drv.write(0x1524, 2);
    drv.write(0x1520, 2);
    expect(drv.program.sink.take()).toEqual(['msix 1']);
  });
});

describe('EITR', () => {
  /** A card with a clock, and EITR of vector 0 and 1 at 100 µs. */
  function throttled() {
    const clock = { us: 1000 };
    const program = new Program({ pages: 4096 });
    Object.assign(program.host, { nowUs: () => clock.us });
    const drv = new IgbDriver({}, program);
    for (const vector of [0, 1]) drv.write(0x1680 + 4 * vector, 0x80000000 | (100 << 2));
    return {
      drv,
      at(us: number): string[] {
        clock.us = us;
        drv.card.poll();
        return program.sink.take();
      },
    };
  }

  it('MSI-X: what comes within the interval of a vector is one message at its end', () => {
    const { drv, at } = throttled();
    drv.card.interruptsEnabled(PciInterruptIndex.MSIX, 3);
    drv.write(0x1514, 0x10);
    drv.write(0x152c, 7);
    drv.write(0x1524, 7);
    for (const bits of [2, 2, 2, 4, 4]) drv.write(0x1520, bits);
    expect(at(1000)).toEqual(['msix 1', 'msix 2', 'msix 2']);
    expect([at(1099), at(1100), at(1300)]).toEqual([[], ['msix 1'], []]);
    drv.write(0x1520, 2);
    expect(at(1301)).toEqual(['msix 1']);
  });

  it('MSI-X: a cause that is cleared or masked while it waits is not told of', () => {
    const { drv, at } = throttled();
    drv.card.interruptsEnabled(PciInterruptIndex.MSIX, 3);
    drv.write(0x1514, 0x10);
    drv.write(0x152c, 3);
    drv.write(0x1524, 3);
    for (const bits of [1, 1, 2, 2]) drv.write(0x1520, bits);
    expect(at(1001)).toEqual(['msix 0', 'msix 1']);
    drv.write(0x1580, 1);
    drv.write(0x1528, 2);
    expect(at(1200)).toEqual([]);
    drv.write(0x1524, 2);
    expect(at(1200)).toEqual(['msix 1']);
  });

  it.each([
    ['the counter is written', 0],
    ['the counter is kept (CNT_INGR)', 0x80000000],
  ])('%s with the interval', (_, keep) => {
    const { drv, at } = throttled();
    drv.card.interruptsEnabled(PciInterruptIndex.MSIX, 3);
    drv.write(0x1514, 0x10);
    drv.write(0x152c, 1);
    drv.write(0x1524, 1);
    for (const bits of [1, 1]) drv.write(0x1520, bits);
    expect(at(1000)).toEqual(['msix 0']);
    drv.write(0x1680, keep | (5 << 21) | (100 << 2));
    expect([at(1019), at(1020)]).toEqual([[], keep === 0 ? ['msix 0'] : []]);
  });

  it('MSI and the pin wait for that of vector 0; a reset of the card ends it', () => {
    const { drv, at } = throttled();
    drv.write(0xd0, 4);
    drv.write(0xc8, 4);
    expect([at(1000), drv.read(0x4100)]).toEqual([['intx 1'], 1]);
    expect([drv.read(0xc0), at(1001)]).toEqual([0x80000004, ['intx 0']]);
    drv.write(0xc8, 4);
    expect([at(1099), at(1100)]).toEqual([[], ['intx 1']]);
    drv.write(0x0, 0x04000000);
    drv.card.interruptsEnabled(PciInterruptIndex.MSI, 1);
    at(1101);
    drv.write(0xd0, 4);
    for (let time = 0; time < 3; time++) {
      drv.write(0xc8, 4);
      drv.read(0xc0);
    }
    drv.write(0xc8, 4);
    expect([at(1102), at(1200), at(1201)]).toEqual([['msi 0'], [], ['msi 0']]);
  });
});

describe('link=', () => {
  it('joins cards of a run: what one sends comes to the others', () => {
    const wires = new Wires();
    const drivers = [1, 2, 3].map((index) => {
      const program = new Program({ pages: 4096 });
      Object.assign(program.host, { openLink: wires.open });
      const options = { mac: `52:54:00:00:00:0${index}`, link: 'a' };
      return new IgbDriver(options, program).start(STRIP);
    });
    const frame = plainFrame(100);
    frame.set([...MAC.slice(0, 5), 2]);
    drivers[0]!.send(frame);
    for (const drv of drivers) drv.settle();
    expect(drivers.map((drv) => bytesOf(drv.receive()))).toEqual([[], hexOf(frame), []]);
  });
});
