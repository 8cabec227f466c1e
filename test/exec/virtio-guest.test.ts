/**
 * A Linux guest in Debian's unmodified QEMU whose own driver drives our virtio network cards: one
 * looped back, one on a tap.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { available, have, moreIsAsked } from '../skip.js';
import { runIopf } from './run-iopf.js';

const LOOPED = '0000:03:00.0';
const BRIDGED = '0000:04:00.0';
const LOOPED_MAC = '52:54:00:00:00:01';
const BRIDGED_MAC = '52:54:00:00:00:02';
const TAP = `iopf${process.pid}`.slice(0, 15);
const HOST_IP = '10.254.77.1';
const GUEST_IP = '10.254.77.2';
const GUEST_BYTES = 256 * 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'test-virtio-guest-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** In the order in which they can be loaded. */
const modules = [
  'drivers/virtio/virtio_ring.ko',
  'drivers/virtio/virtio.ko',
  'drivers/virtio/virtio_pci_legacy_dev.ko',
  'drivers/virtio/virtio_pci_modern_dev.ko',
  'drivers/virtio/virtio_pci.ko',
  'net/core/failover.ko',
  'drivers/net/net_failover.ko',
  'drivers/net/virtio_net.ko',
];

/** A kernel and the folder of its virtio modules, such as of Debian's linux-image-cloud-amd64. */
function guestKernel(): { kernel: string; drivers: string } | null {
  if (!moreIsAsked('a guest with virtio-net')) return null;
  const installed = existsSync('/boot')
    ? readdirSync('/boot').filter((name) => /^vmlinuz-.*cloud/.test(name))
    : [];
  const kernel = process.env['IOPF_GUEST_KERNEL'] ?? (installed[0] && `/boot/${installed[0]}`);
  available(!!kernel, 'a guest', 'no /boot/vmlinuz-*cloud*; IOPF_GUEST_KERNEL is not set');
  if (!kernel) return null;
  const version = basename(kernel).replace('vmlinuz-', '');
  const drivers = join(dirname(kernel), '../lib/modules', version, 'kernel');
  const all = modules.every((name) => existsSync(join(drivers, name)));
  const why = `no modules like ${join(drivers, modules[0]!)}`;
  return available(all, 'a guest with virtio-net', why) ? { kernel, drivers } : null;
}

/** Makes the tap with our end of it; false where that is not permitted. */
function makeTap(): boolean {
  const ip = (...words: string[]): boolean => spawnSync('ip', words).status === 0;
  const made =
    existsSync('/dev/net/tun') &&
    ip('tuntap', 'add', 'dev', TAP, 'mode', 'tap') &&
    ip('addr', 'add', `${HOST_IP}/30`, 'dev', TAP) &&
    ip('link', 'set', TAP, 'up');
  const why = 'it takes root, /dev/net/tun and ip (Debian: iproute2)';
  return available(made, 'a guest on a tap', why);
}

/**
 * Finds the cards by their addresses, sends frames to the one that loops back, and pings us through
 * the other.
 */
const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for module in ${modules.map((name) => basename(name)).join(' ')}; do insmod /$module; done
for try in 1 2 3 4 5 6 7 8 9; do [ -e /sys/class/net/eth0 ] && break; sleep 1; done
for card in /sys/class/net/eth*; do
  case $(cat $card/address) in
  ${LOOPED_MAC})
    name=\${card##*/}
    echo 1 > /proc/sys/net/ipv6/conf/$name/disable_ipv6
    ifconfig $name 10.1.2.3 netmask 255.255.255.0 up
    arping -q -c 3 -w 4 -I $name 10.1.2.4
    arping -q -U -c 1 -I $name 10.1.2.3
    echo "looped: sent $(cat $card/statistics/tx_packets) received $(cat $card/statistics/rx_packets) carrier $(cat $card/carrier)"
    echo "interrupts: $(awk '/virtio.-(in|out)put/ || /virtio.$/ { sum += $2 } END { print (sum > 0) }' /proc/interrupts)" ;;
  ${BRIDGED_MAC})
    ifconfig \${card##*/} ${GUEST_IP} netmask 255.255.255.252 up
    ping -c 4 -s 1400 -i 0.2 -W 10 ${HOST_IP} | tail -n 2 ;;
  esac
done
poweroff -f
`;

function makeInitrd(drivers: string): string {
  const root = join(folder, 'root');
  for (const name of ['bin', 'proc', 'sys', 'dev'])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const name of modules) copyFileSync(join(drivers, name), join(root, basename(name)));
  writeFileSync(join(root, 'init'), init);
  chmodSync(join(root, 'init'), 0o755);
  const path = join(folder, 'initrd');
  execFileSync('sh', ['-c', `find . | cpio -o -H newc --quiet > ${path}`], { cwd: root });
  return path;
}

const guest = guestKernel();
const tools = ['qemu-system-x86_64', 'busybox', 'cpio'].every((command) =>
  have(command, 'a guest'),
);

describe.skipIf(guest === null || !tools)(
  'a Linux guest with our virtio-net passed through',
  () => {
    let hasTap = false;
    beforeAll(() => {
      hasTap = makeTap();
      return () => void (hasTap && spawnSync('ip', ['link', 'del', TAP]));
    });

    test.each([
      ['auto', 'MSI-X', ''],
      ['off', 'the pin', 'pci=nomsi'],
    ])(
      'has every frame back, and reaches the host through a tap, --iopf %s, interrupts by %s',
      async (mode, _, append) => {
        const qemu = [
          'qemu-system-x86_64',
          '-m',
          '256M',
          '-nographic',
          '-no-reboot',
          '-nic',
          'none',
        ];
        const boot = ['-kernel', guest!.kernel, '-initrd', makeInitrd(guest!.drivers)];
        const words = ['-append', `console=ttyS0 quiet panic=-1 ${append}`];
        const passed = ['-device', `vfio-pci,host=${LOOPED}`];
        const devices = ['--device', `virtio-net@${LOOPED},mac=${LOOPED_MAC}`];
        if (hasTap) {
          passed.push('-device', `vfio-pci,host=${BRIDGED}`);
          devices.push('--device', `virtio-net@${BRIDGED},mac=${BRIDGED_MAC},tap=${TAP}`);
        }
        const run = await runIopf(
          ['--iopf', mode, ...devices],
          [...qemu, ...boot, ...words, ...passed],
        );
        expect(run.code, run.stderr).toBe(0);
        const [, sent, received, carrier] = /looped: sent (\d+) received (\d+) carrier (\d)/.exec(
          run.stdout,
        )!;
        expect(Number(sent)).toBeGreaterThanOrEqual(4);
        expect(received).toBe(sent);
        expect(carrier).toBe('1');
        expect(run.stdout).toContain('interrupts: 1');
        if (hasTap) expect(run.stdout).toContain('4 packets transmitted, 4 packets received');
        const { mappedBytesPeak, pinnedBytesPeak, residentBytesPeak } = run.summary!;
        expect(mappedBytesPeak).toBeGreaterThanOrEqual(GUEST_BYTES);
        if (mode === 'auto') {
          expect(pinnedBytesPeak).toBe(0);
          expect(residentBytesPeak).toBeLessThan(GUEST_BYTES / 32);
        } else expect(pinnedBytesPeak).toBe(mappedBytesPeak);
      },
      180_000,
    );
  },
);
