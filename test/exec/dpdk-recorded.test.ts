/**
 * Two sessions of dpdk-testpmd on two linked cards, recorded with the same DPDK on an existing
 * model of the 82576: it says the same here, line by line, but for what docs/devices.md names.
 *
 * dpdk-recorded/ has them as `> COMMAND`, the lines of its answer, and at the end `! LINE` for what
 * went to standard error. Throughputs are left out.
 */
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { have, moreIsAsked } from '../skip.js';
import { Testpmd } from './testpmd.js';

/** Packets for which forwarding is waited for: more than 999 by each queue. */
const MANY = 4000;
/** Commands of the class itself, which are in no session. */
const OWN = ['set burst 32', 'show port stats 1', 'quit'];
/** How many packets there are depends on how long it ran, where they are many. */
const COUNTS = /(packets|bytes|dropped|total):/;
/** These come when an interrupt does, or are rates. */
const ASYNCHRONOUS = /link state change|-pps:/;
/** What the command line itself says, which is not in order with what commands say. */
const AT_ONCE = /^(Bad arguments|Command not found)$/;

let testpmd: Testpmd | null = null;
afterEach(async () => {
  await testpmd?.close();
  testpmd = null;
});

const tidy = (line: string): string => {
  const text = line
    .trim()
    .replaceAll(/\s+/g, ' ')
    .replace(/fd \d+/, 'fd N');
  return COUNTS.test(text) ? text.replaceAll(/\b\d{4,}\b/g, 'many') : text;
};

function recorded(name: string) {
  const url = new URL(`./dpdk-recorded/${name}.txt`, import.meta.url);
  const lines = readFileSync(url, 'utf8').trimEnd().split('\n').map(tidy);
  const after = (mark: string) =>
    lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(mark.length));
  return {
    commands: after('> '),
    errors: after('! '),
    answers: lines.filter((line) => !/^[>!]/.test(line)),
  };
}

/** What it answered to the commands of a session. */
function answersOf(output: string): string[] {
  const answers: string[] = [];
  // Before the first prompt it starts, and behind the last one it ends.
  for (const part of output.split('testpmd> ').slice(1)) {
    const [command = '', ...lines] = part.split('\n');
    if (OWN.includes(command.trim())) continue;
    answers.push(...lines.map(tidy));
  }
  return answers.filter((line) => line !== '' && !ASYNCHRONOUS.test(line) && !AT_ONCE.test(line));
}

const unordered = (lines: readonly string[]): string[] => lines.toSorted();

/** Carries the session out; forwarding lasts until there are many packets. */
async function play(program: Testpmd, commands: readonly string[]): Promise<void> {
  let mode = 'io';
  for (const command of commands) {
    mode = /^set fwd (\w+)/.exec(command)?.[1] ?? mode;
    const lasts = command.startsWith('start') && mode !== 'csum';
    const most = lasts ? (await program.packets(1)).sent + MANY : 0;
    await program.command(command);
    while (lasts && (await program.packets(1)).sent < most);
  }
}

const WHAT = 'sessions of dpdk-testpmd on igb';
const canRun = moreIsAsked(WHAT) && have('dpdk-testpmd', WHAT);
describe.skipIf(!canRun)('dpdk-testpmd on igb says what was recorded', () => {
  test.each<[string, string[], [string, string][]]>([
    [
      'forwarding',
      ['--rxd=256', '--txd=256'],
      [
        // Sizes of received frames count the checksum.
        ['rx_size_64_packets: 255', 'rx_size_64_packets: 0'],
        ['rx_size_65_to_127_packets: 0', 'rx_size_65_to_127_packets: 255'],
      ],
    ],
    [
      'offloads',
      [
        ...['--rxq=2', '--txq=2', '--rxd=128', '--txd=128', '--enable-rx-cksum'],
        ...['--enable-hw-vlan-strip', '--enable-hw-vlan-filter', '--enable-scatter'],
        ...['--max-pkt-len=9018', '--tx-offloads=0x802f'],
      ],
      [
        // Frames that are lost are counted.
        [
          'RX-packets: 127 RX-dropped: 0 RX-total: 127',
          'RX-packets: 127 RX-dropped: many RX-total: many',
        ],
      ],
    ],
  ])('%s', async (name, flags, differences) => {
    testpmd = new Testpmd('', [], flags, {
      devices: [1, 2].map((port) => `igb@0000:0${port}:00.0,link=a,mac=52:54:00:00:00:0${port}`),
    });
    const { commands, answers, errors } = recorded(name);
    await play(testpmd, commands);
    const said = answersOf(testpmd.output);
    const { code } = await testpmd.quit();
    expect(code).toBe(0);
    expect(said).toHaveLength(answers.length);
    const found = said.flatMap((line, index) =>
      line === answers[index] ? [] : [`${answers[index]} -> ${line}`],
    );
    expect([...new Set(found)]).toEqual(differences.map(([was, is]) => `${was} -> ${is}`));
    const lines = `${testpmd.output}\n${testpmd.errors}`.split('\n').map(tidy);
    const told = lines.filter((line) => errors.includes(line));
    expect(unordered(told)).toEqual(unordered(errors));
  });
});
