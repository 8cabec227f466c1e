/** Debian's unmodified dpdk-testpmd, whose virtio driver maps a card's registers, on our card. */
import { afterEach, describe, expect, test } from 'vitest';
import { have } from '../skip.js';
import { Testpmd } from './testpmd.js';

const BURST = 32;
const MANY = 5000;

let testpmd: Testpmd | null = null;
afterEach(async () => {
  await testpmd?.close();
  testpmd = null;
});

async function start(device: string, options: string[], words: string[] = []): Promise<Testpmd> {
  testpmd = new Testpmd(device, options, words);
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

const canRun = have('dpdk-testpmd', 'DPDK (Debian: dpdk)');
describe.skipIf(!canRun)('dpdk-testpmd', { timeout: 90_000 }, () => {
  test('forwards in every mode, stops and starts its port, and loses nothing', async () => {
    const program = await start('', []);
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

  test('sees each frame as it was sent', async () => {
    const program = await start('', []);
    await program.command('set verbose 1');
    await program.command('set fwd rxonly');
    await program.command('start tx_first');
    while ((await program.packets()).received < BURST);
    await program.command('stop');
    const frames =
      program.transcript.match(/src=\S+ - dst=\S+ - pool=\S+ - type=\S+ - length=\d+/g) ?? [];
    const same = /^src=52:54:00:00:03:00 - dst=02:00:00:00:00:00 - .* - type=0x0800 - length=64$/;
    expect(frames).toHaveLength(BURST);
    expect(frames.filter((frame) => !same.test(frame))).toEqual([]);
    await program.quit();
  });

  test.each([
    ['the legacy interface', ',legacy=only', []],
    ['a transitional card', ',legacy=on', []],
    ['static pinning', '', ['--iopf', 'off']],
    ['pre-mapping', '', ['--premap', '32']],
  ])('works with %s', async (what, device, options) => {
    const program = await start(device, options);
    await receiveAll(program, 4);
    await forward(program, 'io');
    const { code, said, summary } = await program.quit();
    expect(code, said).toBe(0);
    expect(summary.pinnedBytesPeak).toBe(what === 'static pinning' ? summary.mappedBytesPeak : 0);
  });

  test('uses several pairs of queues', async () => {
    const program = await start(',queues=2', [], ['--rxq=2', '--txq=2']);
    await forward(program, 'io', 2);
    const { code, said } = await program.quit();
    expect(code, said).toBe(0);
  });
});
