/**
 * A Linux guest in QEMU whose own, unmodified igb driver drives two of our cards, on a wire between
 * two network namespaces of the guest. With IOPF_TESTS=all (`npm run test:guests`) every kind of
 * interrupt and of memory; else the first.
 */

import { createHash, randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { available, hasSwap, isWhole, moreIsAsked } from '../skip.js';
import { Guest, memoryOnFile, takeMemoryAway } from './guest.js';
import { igbKernel, loadIgb } from './igb-kernel.js';

const CARDS = ['0000:01:00.0', '0000:02:00.0'] as const;
const MIB = 2 ** 20;
const GUEST_MIB = 256;
const TEST_MS = 600_000;

const PIECE = randomBytes(4 * MIB);
/** Data of so many pieces, each behind its number. */
const sumOf = (pieces: number): string => {
  const hash = createHash('sha256');
  for (let piece = 1; piece <= pieces; piece++) hash.update(`${piece}\n`).update(PIECE);
  return hash.digest('hex');
};

/** The other card's namespace. */
const there = (line: string): string => `nsenter -t $(cat /tmp/other) -n ${line}`;

/** The driver is there, and another namespace. */
async function prepare(running: Guest): Promise<void> {
  await running.run(loadIgb);
  await running.run('ls -d /sys/class/net/eth0 /sys/class/net/eth1');
  await running.run(`echo 'sha256sum > /tmp/sum' > /tmp/sink; chmod +x /tmp/sink`);
  await running.run(
    `(unshare -n sh -c 'echo $$ > /tmp/other; while :; do sleep 1000; done' &); ` +
      'until [ -s /tmp/other ]; do sleep 0.1; done',
  );
  await bringUp(running);
}

/** Both cards are up, each in a namespace, at 10.0.0.1 and 10.0.0.2. */
async function bringUp(running: Guest): Promise<void> {
  await running.run('ip link set eth1 netns $(cat /tmp/other)');
  await running.run(there('ip addr add 10.0.0.2/24 dev eth1'));
  await running.run(there('ip link set eth1 up'));
  await running.run('ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up');
}

/** Pings until there is an answer: links take a moment. */
async function connects(running: Guest, address = '10.0.0.2'): Promise<void> {
  const ping = `ping -c 1 -W 1 ${address} > /dev/null`;
  await running.run(`for try in $(seq 50); do ${ping} && break; done; ${ping} || ${ping}`);
}

/** Every ping is answered. */
async function reaches(running: Guest, address: string, size = 56): Promise<void> {
  await connects(running, address);
  await running.run(`ping -c 4 -i 0.1 -s ${size} ${address} | grep ' 0% packet loss'`);
}

/** Sends so many pieces by TCP, from the first card to the second; they are the same there. */
async function sendsData(running: Guest, pieces: number): Promise<void> {
  const listen = there("sh -c '(nc -l -p 99 -e sh /tmp/sink &)'");
  await running.run(`rm -f /tmp/sum; ${listen}; sleep 0.3`);
  await running.run(
    `for piece in $(seq ${pieces}); do echo $piece; cat /piece; done | nc 10.0.0.2 99; ` +
      'until [ -s /tmp/sum ]; do sleep 0.1; done',
  );
  expect(await running.run('cat /tmp/sum')).toContain(sumOf(pieces));
}

async function passesItsOwnTest(running: Guest): Promise<void> {
  const said = await running.run('ethtool -t eth0 offline');
  expect(said).toMatch(/result is PASS/);
  for (const name of ['Register', 'Eeprom', 'Interrupt', 'Loopback', 'Link'])
    expect(said).toMatch(new RegExp(`${name} test +\\(.*\\)\\s+0`));
  await reaches(running, '10.0.0.2');
}

async function changesRingsAndMtu(running: Guest): Promise<void> {
  await running.run('ethtool -G eth0 rx 512 tx 128');
  expect(await running.run('ethtool -g eth0')).toMatch(/Current.*RX:\s+512.*TX:\s+128/s);
  await running.run(`ip link set eth0 mtu 9000; ${there('ip link set eth1 mtu 9000')}`);
  await reaches(running, '10.0.0.2', 8900);
  await running.run(`ip link set eth0 mtu 1500; ${there('ip link set eth1 mtu 1500')}`);
  await reaches(running, '10.0.0.2', 1400);
}

/** Of VLAN 5, with tags taken out by the card and filters on; another VLAN's frames do not come. */
async function usesVlans(running: Guest): Promise<void> {
  await running.run('ip link add link eth0 name v0 type vlan id 5; ip addr add 10.5.0.1/24 dev v0');
  await running.run(there('ip link add link eth1 name v1 type vlan id 5'));
  await running.run(there('ip addr add 10.5.0.2/24 dev v1'));
  await running.run(`${there('ip link set v1 up')}; ip link set v0 up`);
  await reaches(running, '10.5.0.2');
  await running.run(there('ip link del v1'));
  await running.run('! ping -c 2 -W 1 10.5.0.2 > /dev/null; ip link del v0');
}

/** The driver goes, comes back, and works. */
async function isLoadedAgain(running: Guest): Promise<void> {
  await running.run('rmmod igb; ! ls -d /sys/class/net/eth0');
  await running.run('insmod /modules/igb.ko; ls -d /sys/class/net/eth0');
  await bringUp(running);
}

interface Mode {
  readonly name: string;
  /** Of both cards, with a comma in front. */
  readonly card?: string;
  readonly iopf?: readonly string[];
  readonly append?: string;
  /** What the card's lines of /proc/interrupts look like. */
  readonly interrupts: RegExp;
  readonly memory: 'left alone' | 'pinned' | 'reclaimed' | 'taken away';
}
const MSIX = /PCI-MSI .* eth0-rx-0$/m;
const modes: readonly Mode[] = [
  { name: 'MSI-X, --iopf auto', interrupts: MSIX, memory: 'left alone' },
  {
    name: 'MSI (msix=off), --iopf off',
    card: ',msix=off',
    iopf: ['--iopf', 'off'],
    interrupts: /PCI-MSI .* eth0$/m,
    memory: 'pinned',
  },
  {
    name: 'INTx (pci=nomsi), --reclaim',
    append: 'pci=nomsi',
    // The guest has some 100 MiB, and QEMU 95 MiB of its own, which do not leave without swap.
    iopf: ['--reclaim', hasSwap() ? '96M' : '160M', '--reclaim-scan', '50'],
    interrupts: /IO-APIC .* eth0$/m,
    memory: 'reclaimed',
  },
  {
    name: 'MSI-X, memory taken away all the time',
    interrupts: MSIX,
    memory: 'taken away',
  },
  {
    name: 'MSI-X, a wire that loses frames and takes time',
    card: ',loss=0.5%,delay=1ms,rate=200M',
    interrupts: MSIX,
    memory: 'left alone',
  },
];

let guest: Guest | null = null;
afterEach(async () => {
  await guest?.dispose();
  guest = null;
});

const what = 'a guest with igb';
const found = moreIsAsked(what) ? igbKernel(what) : null;
const possible = (isWhole ? modes : modes.slice(0, 1)).filter(
  ({ memory, name }) =>
    memory !== 'taken away' || available(hasSwap(), `igb in a guest: ${name}`, 'no swap is on'),
);
describe.skipIf(found === null)("a Linux guest's igb", { timeout: TEST_MS }, () => {
  test.each(possible)('$name: ping, TCP, rings, MTU, VLAN, rmmod', async (mode) => {
    const { card = '', iopf = [], append = '', interrupts, memory } = mode;
    const onFile = memoryOnFile(GUEST_MIB, memory === 'reclaimed' ? '/var/tmp' : '/dev/shm');
    guest = await Guest.boot({
      kernel: found!.kernel,
      files: { ...found!.files, piece: PIECE },
      memoryMib: GUEST_MIB,
      iopf: [...iopf, ...CARDS.flatMap((address) => ['--device', `igb@${address},link=a${card}`])],
      devices: Object.fromEntries(CARDS.map((address) => [address, ''])),
      qemu: memory === 'reclaimed' || memory === 'taken away' ? onFile : [],
      append,
    });
    await prepare(guest);
    await connects(guest);
    expect(await guest.run('cat /proc/interrupts')).toMatch(interrupts);
    const stop = memory === 'taken away' ? takeMemoryAway(guest) : null;
    // A wire that loses frames answers not every ping.
    const isLossless = !card.includes('loss');
    await sendsData(guest, isWhole ? 16 : 2);
    if (isWhole && isLossless) await passesItsOwnTest(guest);
    if (isLossless) {
      await changesRingsAndMtu(guest);
      await usesVlans(guest);
    }
    await isLoadedAgain(guest);
    await connects(guest);
    if (isWhole) await sendsData(guest, 2);
    const takenBytes = (await stop?.()) ?? 0;
    const { code, stderr, summary } = await guest.powerOff();
    expect(code, stderr).toBe(0);
    const { mappedBytesPeak, pinnedBytesPeak, pagesReclaimed } = summary!;
    expect(pinnedBytesPeak).toBe(memory === 'pinned' ? mappedBytesPeak : 0);
    if (memory === 'reclaimed') expect(pagesReclaimed).toBeGreaterThan(0);
    if (stop !== null) expect(takenBytes).toBeGreaterThan(GUEST_MIB * MIB);
  });
});
