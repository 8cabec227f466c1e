/** Programs that look at /sys and /dev/vfio before they open anything (npm test builds first). */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { have } from '../skip.js';
import { edu, nvme, runIopf } from './run-iopf.js';

const devices = ['--device', `nvme@${nvme},size=64M`, '--device', `edu@0000:00:1e.0`];
const card = '0000:03:00.0';

async function output(command: readonly string[], options = devices): Promise<string> {
  const { stdout, stderr, code } = await runIopf(['--quiet', ...options], command);
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
  return stdout;
}

const shell = (script: string): Promise<string> => output(['sh', '-c', script]);

describe('a shell', () => {
  test('lists /dev/vfio, from above, from inside and by name, and leaves it through ..', async () => {
    const text = await shell(`
      ls -la /dev/vfio | sed 1d | awk '{ print $1, $NF }'
      ls /dev/vfio/.. | grep -x null
      find /dev/vfio/ -name vfio -type c -perm 666
      realpath /dev/vfio/../null /dev/vfio/vfio
      stat -c '%F %t:%T' /dev/vfio/vfio
      test -r /dev/vfio/vfio && test -w /dev/vfio/vfio && ! test -x /dev/vfio/vfio && echo usable`);
    const lines = text.trim().split('\n');
    expect(lines.slice(0, 2).map((line) => line.split(' '))).toEqual([
      [expect.stringMatching(/^drwx/), '.'],
      [expect.stringMatching(/^drwx/), '..'],
    ]);
    expect(lines.slice(2, 4).map((line) => line.slice(0, 10))).toEqual([
      'crw-------',
      'crw-------',
    ]);
    expect(lines.slice(4)).toEqual([
      'drwxr-xr-x devices',
      'crw-rw-rw- vfio',
      'null',
      '/dev/vfio/vfio',
      '/dev/null',
      '/dev/vfio/vfio',
      'character special file a:c4',
      'usable',
    ]);
  });

  test('walks through a device by its links, and through the bus from above it', async () => {
    const text = await shell(`
      cd /sys/bus/pci/devices && ls | grep -x ${nvme} && cat ${nvme}/vendor ./${nvme}/class
      readlink ${nvme} && readlink -f ${nvme}/iommu_group/devices/${nvme}/driver/module
      ls -d ${nvme}/iommu_group/../../iommu_groups | head -1
      find /sys/bus/pci -maxdepth 2 -name ${nvme}
      ls /sys/class/vfio-dev/*/device/numa_node | wc -l
      stat -c '%A %U %s %b' ${nvme}/config ${nvme}/vendor ${nvme}/reset
      stat -f -c %T /sys/bus/pci/devices/${nvme}`);
    expect(text.trim().split('\n')).toEqual([
      nvme,
      '0x1b36',
      '0x010802',
      `../../../devices/pci0000:02/${nvme}`,
      '/sys/module/vfio_pci',
      `${nvme}/iommu_group/../../iommu_groups`,
      `/sys/bus/pci/devices/${nvme}`,
      '2',
      '-rw-r--r-- root 4096 0',
      '-r--r--r-- root 4096 0',
      '--w------- root 4096 0',
      'sysfs',
    ]);
  });

  test('cannot read what is write-only, nor write what the shadow shows', async () => {
    const { stderr } = await runIopf(
      ['--quiet', ...devices],
      [
        'sh',
        '-c',
        `cd /sys/bus/pci/devices; cat ${nvme}/reset ${nvme}/power/autosuspend_delay_ms
        echo 0 >${nvme}/numa_node; cat ${nvme}/resource0; rm ${nvme}/config; mkdir /dev/vfio`,
      ],
    );
    expect(stderr.match(/: ([A-Z][a-z /]+)$/gm)).toEqual([
      ': Permission denied',
      ': Input/output error',
      ': Permission denied',
      ': Operation not permitted',
      ': Operation not permitted',
      ': File exists',
    ]);
  });
});

test.skipIf(!have('cc', 'calls with paths'))('each call with a path has its answer', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'test-shadow-'));
  try {
    const binary = join(folder, 'path-calls');
    const source = join(import.meta.dirname, 'programs/path-calls.c');
    execFileSync('cc', ['-O1', '-Wall', '-Wextra', '-Werror', '-o', binary, source]);
    expect(await output([binary, nvme])).toBe('ok\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe.skipIf(!have('python3', 'directories by descriptor'))('a program in Python', () => {
  test('uses directories of ours by descriptor, and is in them', async () => {
    const text = await output([
      'python3',
      '-c',
      `
import os
os.fchdir(os.open('/dev/vfio', os.O_DIRECTORY))
print(os.getcwd(), os.readlink('/proc/self/cwd'), 'null' in os.listdir('..'), 'vfio' in os.listdir())
print(oct(os.stat('vfio').st_mode), os.path.realpath('.'), os.path.exists('../vfio/vfio'))
os.close(os.open('/dev/vfio/vfio', os.O_PATH))
bus = os.open('/sys/bus/pci/devices', os.O_DIRECTORY)
host = [name for name in os.listdir(bus) if name not in ('${nvme}', '0000:00:1e.0')]
for name in host + ['${nvme}']:
  file = os.open(name + '/vendor', os.O_RDONLY, dir_fd=bus)
  assert os.read(file, 9) == open('/sys/bus/pci/devices/' + name + '/vendor', 'rb').read()
dangling = [os.path.join(at, name) for top in ('/dev/vfio', '/sys/bus/pci/devices/${nvme}/',
  '/sys/module/vfio', '/sys/kernel/iommu_groups', '/sys/class/iommu', '/sys/devices/pci0000:02')
  for at, folders, files in os.walk(top) for name in folders + files
  if not os.path.exists(os.path.join(at, name))]
print(dangling)`,
    ]);
    expect(text).toBe('/dev/vfio /dev/vfio True True\n0o20666 /dev/vfio True\n[]\n');
  });
});

describe.skipIf(!have('lspci', 'lspci and setpci on our devices'))('pciutils', () => {
  test('show our devices beside the host’s, with all of config space', async () => {
    const { stdout } = await runIopf(
      ['--quiet', ...devices],
      ['sh', '-c', `lspci -D | wc -l; lspci -D -vvv -xxxx -s ${nvme}; setpci -s ${nvme} COMMAND`],
    );
    const lines = stdout.trim().split('\n');
    expect(Number(lines[0])).toBeGreaterThanOrEqual(2);
    expect(lines[1]).toMatch(new RegExp(`^${nvme} Non-Volatile memory controller: Red Hat`));
    expect(stdout).toContain('Region 0: Memory at fdc00000 (64-bit, non-prefetchable) [size=16K]');
    expect(stdout).toMatch(/MSI-X: Enable- Count=65/);
    expect(stdout).toMatch(/IOMMU group: \d+\n/);
    expect(stdout).toContain('Kernel driver in use: vfio-pci');
    expect(stdout).toContain('\nff0: ');
    expect(lines.at(-1)).toMatch(/^010[0-9]$/);
  });
});

describe.skipIf(!have('udevadm', 'udevadm on our devices'))('udevadm', () => {
  test('knows a device, its vfio device and its group’s node', async () => {
    const text = await shell(`udevadm info /sys/bus/pci/devices/${nvme}
      udevadm info /sys/bus/pci/devices/${nvme}/vfio-dev/vfio*; udevadm info /dev/vfio/vfio`);
    expect(text).toContain(`P: /devices/pci0000:02/${nvme}\n`);
    expect(text).toContain('V: vfio-pci\n');
    expect(text).toContain('U: vfio-dev\n');
    expect(text).toContain('P: /devices/virtual/misc/vfio\n');
  });
});

describe.skipIf(!have('dpdk-testpmd', 'DPDK’s probe of VFIO'))('DPDK', () => {
  const options = ['--device', `virtio-net@${card}`];

  test('shows the card in dpdk-devbind.py, bound to vfio-pci', async () => {
    const { stdout } = await runIopf(
      ['--quiet', ...options],
      ['dpdk-devbind.py', '--status-dev', 'net'],
    );
    expect(stdout).toContain('Network devices using DPDK-compatible driver');
    expect(stdout).toMatch(new RegExp(`^${card} .* drv=vfio-pci`, 'm'));
  });

  test('testpmd finds VFIO where the host has no module of it, and opens the card', async () => {
    const testpmd = ['dpdk-testpmd', '--no-shconf', '--no-huge', '-m', '64', '-a', card];
    const { stdout, stderr } = await runIopf(
      ['--quiet', ...options],
      [...testpmd, '--', '--total-num-mbufs=2048'],
    );
    const text = stdout + stderr;
    expect(text).toContain('EAL: VFIO support initialized');
    expect(text).toMatch(new RegExp(`EAL: Probe PCI driver: net_virtio .* device: ${card}`));
    expect(text).toContain('EAL: Using IOMMU type 1 (Type 1)');
  });
});

test('a device at an address that the host has hides the host’s', async () => {
  const text = await output(
    ['sh', '-c', `cat /sys/bus/pci/devices/${edu}/device; ls /sys/bus/pci/devices/${edu}/vfio-dev`],
    ['--device', `edu@${edu}`],
  );
  expect(text).toMatch(/^0x11e8\nvfio\d+\n$/);
});
