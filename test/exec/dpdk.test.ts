/** Debian's unmodified dpdk-testpmd, whose virtio driver maps a card's registers, on our card. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { Random } from '../../src/abi/random.js';
import { have, moreIsAsked, needsToPin } from '../skip.js';
import { repository } from './run-iopf.js';
import { MEMORY_MIB, Testpmd } from './testpmd.js';

const BURST = 32;
const MANY = 5000;

let testpmd: Testpmd | null = null;
afterEach(async () => {
  await testpmd?.close();
  testpmd = null;
});

async function start(device: string, words: string[] = []): Promise<Testpmd> {
  testpmd = new Testpmd(device, [], words);
  const said = await testpmd.command('show port info 0');
  expect(said).toMatch(/MAC address: 52:54:00:00:03:00/);
  return testpmd;
}

/** Forwards in this mode until so many packets have come back. */
async function forward(program: Testpmd, mode: string, queues = 1): Promise<void> {
  await program.command('clear port stats all');
  await program.command(`set fwd ${mode}`);
  await program.command('start tx_first');
  let counts = await program.packets();
  while (counts.received < MANY) counts = await program.packets();
  const stopped = await program.command('stop');
  expect(stopped, mode).toMatch(/RX-dropped: 0 .*\n.*TX-dropped: 0 /);
  counts = await program.packets();
  // What was on its way when it stopped.
  expect(counts.sent - counts.received, mode).toBeLessThanOrEqual(queues * BURST);
}

/** So many bursts, which are only received: none is lost. */
async function receiveAll(program: Testpmd, bursts: number): Promise<void> {
  await program.command('clear port stats all');
  await program.command('set fwd rxonly');
  await program.command(`start tx_first ${bursts}`);
  let counts = await program.packets();
  while (counts.received < bursts * BURST) counts = await program.packets();
  await program.command('stop');
  expect(await program.packets()).toEqual({ received: bursts * BURST, sent: bursts * BURST });
}

/** Frames of all lengths, of random bytes. */
function randomFrames(count: number): Buffer[] {
  const random = new Random(7);
  return Array.from({ length: count }, () =>
    Buffer.from(Array.from({ length: 60 + random.below(1455) }, () => random.below(256))),
  );
}

// pcap(5): a header of 24 bytes; before each frame its time and, twice, its length.
function capture(frames: readonly Buffer[]): Buffer {
  const header = Buffer.from(Uint32Array.of(0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1).buffer);
  return Buffer.concat([
    header,
    ...frames.flatMap((frame) => [
      Buffer.from(Uint32Array.of(0, 0, frame.length, frame.length).buffer),
      frame,
    ]),
  ]);
}

function framesOf(capture: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 24; at < capture.length; ) {
    const length = capture.readUInt32LE(at + 8);
    frames.push(capture.subarray(at + 16, at + 16 + length));
    at += 16 + length;
  }
  return frames;
}

/** Frames of `--pcap` that a port got or sent: pcapng's enhanced packet blocks. */
function packetsOf(capture: Buffer, port: number): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < capture.length; at += capture.readUInt32LE(at + 4))
    if (capture.readUInt32LE(at) === 6 && capture.readUInt32LE(at + 8) === port)
      frames.push(capture.subarray(at + 28, at + 28 + capture.readUInt32LE(at + 20)));
  return frames;
}

/** The Internet checksum of bytes, 0xffff where theirs is right. */
function sumOf(bytes: Buffer, start = 0): number {
  let sum = start;
  for (let at = 0; at < bytes.length; at++) sum += bytes[at]! << (at % 2 === 0 ? 8 : 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

const TCP = 6;
const HEADERS = 54;
/** A TCP segment over IPv4 with these bytes and an empty checksum, `number` as identification. */
function tcpFrame(number: number, payload: Buffer): Buffer {
  const head = Buffer.from(
    '5254000002005254000001000800' +
      '450000000000000040060000c0a80001c0a80002' +
      '1000200000000000000000005018ffff00000000',
    'hex',
  );
  head.writeUInt16BE(payload.length + HEADERS - 14, 16);
  head.writeUInt16BE(number, 18);
  head.writeUInt32BE(number * 0x10000, 38);
  return Buffer.concat([head, payload]);
}

/** Sequence number and payload of a TCP frame whose checksums are right. */
function segmentOf(frame: Buffer): { sequence: number; payload: Buffer } {
  const length = frame.readUInt16BE(16);
  const tcp = frame.subarray(34, 14 + length);
  expect(sumOf(frame.subarray(14, 34))).toBe(0xffff);
  expect(sumOf(tcp, sumOf(frame.subarray(26, 34)) + TCP + tcp.length)).toBe(0xffff);
  return { sequence: frame.readUInt32BE(38), payload: frame.subarray(HEADERS, 14 + length) };
}

/** A library that takes testpmd's memory away again and again, or null. */
function compileTakeAway(): string | null {
  if (!have('cc', 'memory that is taken away from testpmd')) return null;
  const path = join(folder, 'take-away.so');
  const source = join(repository, 'test/exec/programs/take-away.c');
  const words = ['-O1', '-Wall', '-Werror', '-shared', '-fPIC', '-pthread', '-o', path, source];
  const { status, stderr } = spawnSync('cc', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return path;
}

const folder = mkdtempSync(join(tmpdir(), 'test-dpdk-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const canRun = have('dpdk-testpmd', 'DPDK (Debian: dpdk)');
const takeAway = canRun ? compileTakeAway() : null;
const isMore = canRun && moreIsAsked('what testpmd does with an igb, but for one run');

describe.skipIf(!canRun)('dpdk-testpmd', () => {
  test('forwards in every mode, stops and starts its port, and loses nothing', async () => {
    const program = await start('');
    await receiveAll(program, 6);
    for (const mode of ['io', 'mac']) await forward(program, mode);
    for (const command of ['port stop 0', 'port start 0']) await program.command(command);
    await receiveAll(program, 4);
    await forward(program, 'io');
    // These send as fast as they can, so that rings are full.
    for (const mode of ['flowgen', 'txonly']) {
      await program.command('clear port stats all');
      await program.command(`set fwd ${mode}`);
      await program.command('start');
      while ((await program.packets()).sent < MANY);
      await program.command('stop');
    }
    const { code, said, summary } = await program.quit();
    expect(code, said).toBe(0);
    expect(summary.pinnedBytesPeak).toBe(0);
    expect(summary.faults).toBeGreaterThan(0);
    expect(summary.residentBytesPeak).toBeLessThan(summary.mappedBytesPeak / 2);
  });

  test.for<[string, string[]]>([
    ['auto', ['--iopf', 'auto']],
    ['off', ['--iopf', 'off']],
    ['auto --premap 32', ['--premap', '32']],
  ])(
    'carries every byte of every frame, with memory taken away meanwhile: --iopf %s',
    async ([mode, options], context) => {
      if (mode === 'off') needsToPin(context, MEMORY_MIB * 2 ** 20);
      const frames = randomFrames(2000);
      const [sent, received] = [join(folder, 'sent.pcap'), join(folder, 'received.pcap')];
      writeFileSync(sent, capture(frames));
      // From the file through the card, which sends back what it is sent, to the other file.
      testpmd = new Testpmd('', options, ['--no-flush-rx'], {
        words: [`--vdev=net_pcap0,rx_pcap=${sent},tx_pcap=${received}`],
        preload: takeAway ?? '',
      });
      await testpmd.command('set fwd io retry');
      await testpmd.command('set burst tx delay 10 retry 100000');
      await testpmd.command('start');
      while ((await testpmd.packets()).received < frames.length);
      const stopped = await testpmd.command('stop');
      expect(stopped).not.toMatch(/dropped: [1-9]/);
      const { code, said, summary } = await testpmd.quit();
      expect(code, said).toBe(0);
      const came = framesOf(readFileSync(received));
      expect(came).toHaveLength(frames.length);
      expect(came.findIndex((frame, index) => !frame.equals(frames[index]!))).toBe(-1);
      const isPinned = summary.iopf === 'off';
      expect(summary.pinnedBytesPeak).toBe(isPinned ? summary.mappedBytesPeak : 0);
      if (takeAway !== null && !isPinned) expect(summary.pagesInvalidated).toBeGreaterThan(0);
    },
  );

  test.each([
    ['the legacy interface', ',legacy=only'],
    ['a transitional card', ',legacy=on'],
  ])('works with %s', async (_, device) => {
    const program = await start(device);
    await receiveAll(program, 4);
    await forward(program, 'io');
    const { code, said, summary } = await program.quit();
    expect(code, said).toBe(0);
    expect(summary.pinnedBytesPeak).toBe(0);
  });

  test('uses several pairs of queues', async () => {
    const program = await start(',queues=2', ['--rxq=2', '--txq=2']);
    await forward(program, 'io', 2);
    const { code, said } = await program.quit();
    expect(code, said).toBe(0);
  });

  test.for(isMore ? ['auto', 'off'] : ['auto'])(
    'igb: every byte of every frame crosses a wire, with memory taken away meanwhile: --iopf %s',
    async (mode, context) => {
      if (mode === 'off') needsToPin(context, MEMORY_MIB * 2 ** 20);
      const frames = randomFrames(500);
      const [sent, received] = [join(folder, 'igb-sent.pcap'), join(folder, 'igb-received.pcap')];
      writeFileSync(sent, capture(frames));
      testpmd = new Testpmd('', ['--iopf', mode], ['--no-flush-rx', '--port-topology=chained'], {
        words: [`--vdev=net_pcap0,rx_pcap=${sent},tx_pcap=${received}`],
        preload: takeAway ?? '',
        devices: ['igb@0000:01:00.0,link=a', 'igb@0000:02:00.0,link=a'],
      });
      const info = await testpmd.command('show port info 1');
      expect(info).toMatch(/MAC address: 52:54:00:00:02:00/);
      expect(info).toMatch(/Link status: up/);
      // From the file to the first card, over the wire to the second, and to the other file.
      await testpmd.command('set fwd io retry');
      await testpmd.command('set burst tx delay 10 retry 100000');
      await testpmd.command('start');
      while ((await testpmd.packets(1)).received < frames.length);
      await testpmd.command('stop');
      const { code, said, summary } = await testpmd.quit();
      expect(code, said).toBe(0);
      const came = framesOf(readFileSync(received));
      expect(came).toHaveLength(frames.length);
      expect(came.findIndex((frame, index) => !frame.equals(frames[index]!))).toBe(-1);
      expect(summary.pinnedBytesPeak).toBe(mode === 'off' ? summary.mappedBytesPeak : 0);
      if (takeAway !== null && mode !== 'off') expect(summary.pagesInvalidated).toBeGreaterThan(0);
    },
  );

  test.skipIf(!isMore)(
    'igb: two runs on a wire in a folder, slowed down, each byte in the capture of the other',
    async () => {
      const frames = randomFrames(200);
      const [sent, captured] = [join(folder, 'wire-sent.pcap'), join(folder, 'wire.pcapng')];
      writeFileSync(sent, capture(frames));
      const wire = `unix:${join(folder, 'wire')}`;
      testpmd = new Testpmd('', ['--pcap', captured], ['--rxd=1024'], {
        devices: [`igb@0000:02:00.0,link=${wire}`],
      });
      // From the file to the card, and over the wire to the other run.
      const sender = new Testpmd('', [], ['--no-flush-rx', '--port-topology=chained'], {
        words: [`--vdev=net_pcap0,rx_pcap=${sent},tx_pcap=/dev/null`],
        devices: [`igb@0000:01:00.0,link=${wire},delay=1ms,rate=100M`],
      });
      try {
        await testpmd.command('set fwd rxonly');
        await testpmd.command('start');
        await sender.command('set fwd io retry');
        await sender.command('set burst tx delay 10 retry 100000');
        await sender.command('start');
        while ((await testpmd.packets()).received < frames.length);
        expect((await sender.quit()).code).toBe(0);
      } finally {
        await sender.close();
      }
      expect((await testpmd.quit()).code).toBe(0);
      const came = packetsOf(readFileSync(captured), 0);
      expect(came).toHaveLength(frames.length);
      expect(came.findIndex((frame, index) => !frame.equals(frames[index]!))).toBe(-1);
    },
  );

  test.skipIf(!isMore)(
    'igb: segments TCP, puts VLAN tags in, and works after a reset of its port',
    async () => {
      const random = new Random(9);
      const payloads = Array.from({ length: 40 }, () =>
        Buffer.from(Array.from({ length: 900 + random.below(500) }, () => random.below(256))),
      );
      const [sent, captured] = [join(folder, 'tso-sent.pcap'), join(folder, 'tso.pcapng')];
      writeFileSync(sent, capture(payloads.map((payload, number) => tcpFrame(number, payload))));
      const program = new Testpmd(
        '',
        ['--pcap', captured],
        ['--no-flush-rx', '--port-topology=chained'],
        {
          words: [`--vdev=net_pcap0,rx_pcap=${sent},tx_pcap=/dev/null`],
          devices: ['igb@0000:01:00.0,link=a', 'igb@0000:02:00.0,link=a'],
        },
      );
      testpmd = program;
      for (const command of [
        ...[
          'port stop 0',
          'csum set ip hw 0',
          'csum set tcp hw 0',
          'tso set 800 0',
          'port start 0',
        ],
        ...['set fwd csum', 'start'],
      ])
        await program.command(command);
      // Each of them is two.
      while ((await program.packets(1)).received < 2 * payloads.length);
      for (const command of [
        ...['stop', 'port stop 0', 'tso set 0 0', 'port reset 0', 'tx_vlan set 0 100'],
        ...['port start 0', 'set fwd txonly', 'set txpkts 64', 'clear port stats all', 'start'],
      ])
        await program.command(command);
      // Nobody receives, so that as many come as there are buffers.
      while ((await program.packets(1)).received < 4 * BURST);
      await program.command('stop');
      const { code, said } = await program.quit();
      expect(code, said).toBe(0);

      const frames = packetsOf(readFileSync(captured), 1);
      const segments = frames.filter((frame) => frame[23] === TCP).map(segmentOf);
      expect(segments).toHaveLength(2 * payloads.length);
      for (const [number, payload] of payloads.entries()) {
        const [first, second] = segments.slice(2 * number);
        expect([first!.sequence, second!.sequence]).toEqual([
          number * 0x10000,
          number * 0x10000 + 800,
        ]);
        expect(first!.payload.length).toBe(800);
        expect(Buffer.concat([first!.payload, second!.payload]).equals(payload)).toBe(true);
      }
      const tags = frames.filter((frame) => frame.readUInt32BE(12) === 0x81000064);
      expect(tags.length).toBeGreaterThanOrEqual(4 * BURST);
    },
  );

  test.skipIf(!isMore)(
    'igb: several queues, scattered frames, VLAN, multicast, MTU, link, stop and start',
    async () => {
      testpmd = new Testpmd(
        '',
        [],
        ['--rxq=2', '--txq=2', '--enable-scatter', '--max-pkt-len=9018'],
        {
          devices: ['igb@0000:01:00.0'],
        },
      );
      // A container may not lock all memory, which testpmd only tries.
      for (const command of [
        ...['port stop 0', 'port config mtu 0 9000', 'port start 0', 'port config all rss ip'],
        ...['vlan set strip on 0', 'vlan set filter on 0', 'rx_vlan add 5 0', 'set promisc 0 on'],
        ...['mcast_addr add 0 01:00:5e:00:00:01', 'mac_addr add 0 02:00:00:00:00:01'],
        ...['set link-down port 0', 'set link-up port 0', 'set allmulti 0 on', 'csum set ip hw 0'],
      ])
        expect((await testpmd.command(command)).replace(/.*mlockall.*/, ''), command).not.toMatch(
          /fail|invalid|not supported|error(?! disabling MSI-X)/i,
        );
      for (const mode of ['io', 'csum', 'rxonly']) {
        await testpmd.command('clear port stats all');
        await testpmd.command(`set fwd ${mode}`);
        await testpmd.command('start tx_first 4');
        while ((await testpmd.packets()).received < 4 * BURST);
        await testpmd.command('stop');
      }
      await testpmd.command('set txpkts 3000,3000,3000');
      await testpmd.command('set fwd txonly');
      await testpmd.command('start');
      while ((await testpmd.packets()).sent < 1000);
      const stopped = await testpmd.command('stop');
      expect(stopped).toMatch(/TX-packets: \d{4}/);
      const { code, said } = await testpmd.quit();
      expect(code, said).toBe(0);
    },
  );
});
