/** What the shadow shows of a device, by kernel: names, and formats by Documentation/ABI. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type KernelVersion, kernelVersions } from '../../src/abi/kernel.js';
import { buildHardware, type Hardware } from '../../src/exec/machine/hardware.js';
import {
  defaultVfio,
  type MachineSpec,
  machineOfDevices,
  parseDevice,
} from '../../src/exec/machine/machine-spec.js';
import { Networks } from '../../src/exec/machine/networks.js';
import { cpuMask } from '../../src/exec/machine/sysfs/function.js';
import { firstFree } from '../../src/exec/machine/sysfs/host-numbers.js';
import { Counters } from '../../src/iommu/observer.js';

const nvme = '/sys/devices/pci0000:02/0000:02:00.0';

let hardware: Hardware;
afterEach(() => hardware?.shadow.remove());

function machine(devices: string, kernel: KernelVersion, change: Partial<MachineSpec> = {}): void {
  hardware = buildHardware({
    spec: { ...machineOfDevices(devices.split(' ').map(parseDevice)), ...change },
    kernel,
    iopf: 'auto',
    premapPages: 1,
    counters: new Counters(() => 0),
    observer: null,
    incidents: null,
    networks: new Networks(() => 0, null),
    announceFolder: () => {},
    traps: true,
  });
}

/** Everything below a directory: links with where they lead, directories with a slash. */
function listing(path: string, below = ''): string[] {
  const host = hardware.shadow.host(join(path, below));
  return readdirSync(host)
    .sort()
    .flatMap((name) => {
      const inside = join(below, name);
      const found = hardware.shadow.resolve(join(path, inside), false)!;
      if (found.node.kind === 'link') return [`${inside} -> ${found.node.target}`];
      if (lstatSync(join(host, name)).isDirectory())
        return [`${inside}/`, ...listing(path, inside)];
      return [inside];
    });
}

const read = (path: string): string => readFileSync(hardware.shadow.host(path), 'latin1');

const power = (path: string): string[] => [
  `${path}power/`,
  `${path}power/autosuspend_delay_ms`,
  `${path}power/control`,
  `${path}power/runtime_active_time`,
  `${path}power/runtime_status`,
  `${path}power/runtime_suspended_time`,
];

/** Of an NVMe controller on PCI Express with one memory BAR. */
const functionListing = [
  'ari_enabled',
  'broken_parity_status',
  'class',
  'config',
  'consistent_dma_mask_bits',
  'current_link_speed',
  'current_link_width',
  'd3cold_allowed',
  'device',
  'dma_mask_bits',
  'driver -> ../../../bus/pci/drivers/vfio-pci',
  'driver_override',
  'enable',
  'iommu -> ../../virtual/iommu/dmar0',
  'iommu_group -> ../../../kernel/iommu_groups/77',
  'irq',
  'link/',
  'local_cpulist',
  'local_cpus',
  'max_link_speed',
  'max_link_width',
  'modalias',
  'msi_bus',
  'numa_node',
  ...power(''),
  'power_state',
  'remove',
  'rescan',
  'reset',
  'reset_method',
  'resource',
  'resource0',
  'revision',
  'subsystem -> ../../../bus/pci',
  'subsystem_device',
  'subsystem_vendor',
  'uevent',
  'vendor',
  'vfio-dev/',
  'vfio-dev/vfio0/',
  'vfio-dev/vfio0/device -> ../../../0000:02:00.0',
  ...power('vfio-dev/vfio0/'),
  'vfio-dev/vfio0/subsystem -> ../../../../../class/vfio-dev',
  'vfio-dev/vfio0/uevent',
];

const group77 = (): Partial<MachineSpec> => ({
  groups: [
    { number: 77, viable: true, devices: [parseDevice('nvme@0000:02:00.0,size=64M')] },
    { number: 78, viable: true, devices: [parseDevice('edu@0000:00:1e.0')] },
  ],
});

/** The host of the test may have IOMMUs and VFIO devices of its own, and ours come after them. */
const numbered = (lines: readonly string[]): string[] =>
  lines.map((line) =>
    line.replace(/dmar\d+/, 'dmar0').replace(/vfio-dev\/vfio\d+/, 'vfio-dev/vfio0'),
  );

describe.each(kernelVersions)('on Linux %s', (kernel) => {
  test('a function has what the kernel shows of it, and nothing else', () => {
    machine('nvme@0000:02:00.0,size=64M', kernel, group77());
    // Own files of devices are of Linux 6.6.
    const node = kernel === '6.1' ? [] : ['vfio-dev/vfio0/dev'];
    const expected = functionListing.toSpliced(
      functionListing.indexOf('vfio-dev/vfio0/') + 1,
      0,
      ...node,
    );
    expect(numbered(listing(nvme))).toEqual(expected);
  });

  test('its group and the modules of VFIO are there', () => {
    machine('nvme@0000:02:00.0,size=64M', kernel, group77());
    expect(listing('/sys/kernel/iommu_groups/77')).toEqual([
      'devices/',
      'devices/0000:02:00.0 -> ../../../../devices/pci0000:02/0000:02:00.0',
      'reserved_regions',
      'type',
    ]);
    const modules = readdirSync(hardware.shadow.host('/sys/module'));
    expect(modules.filter((name) => name.startsWith('vfio')).sort()).toEqual([
      'vfio',
      'vfio_iommu_type1',
      'vfio_pci',
      'vfio_pci_core',
      ...(kernel === '6.1' ? ['vfio_virqfd'] : []),
    ]);
    expect(readdirSync(hardware.shadow.host('/sys/module/vfio_iommu_type1/parameters'))).toEqual([
      'allow_unsafe_interrupts',
      'disable_hugepages',
      'dma_entry_limit',
    ]);
  });
});

describe('formats', () => {
  test('config has the bytes of its region, and is what the device has at that moment', () => {
    machine('nvme@0000:02:00.0,size=64M edu@0000:00:1e.0', '6.12');
    const size = (path: string) =>
      (hardware.shadow.resolve(path, true)!.node as { size: number }).size;
    expect(size(`${nvme}/config`)).toBe(4096);
    expect(size('/sys/bus/pci/devices/0000:00:1e.0/config')).toBe(256);
    expect(read(`${nvme}/config`).length).toBe(4096);
    const pci = hardware.machine.groups[0]!.functions[0];
    const before = read(`${nvme}/config`).charCodeAt(4);
    pci!.writeRegion(7, 4, Uint8Array.of(before ^ 4));
    expect(read(`${nvme}/config`).charCodeAt(4)).toBe(before ^ 4);
  });

  test('resource has the address and the flags of each BAR, as config space has them', () => {
    machine('nvme@0000:02:00.0,size=64M edu@0000:00:1e.0', '6.12');
    const lines = read(`${nvme}/resource`).split('\n');
    expect(lines.length).toBe(14);
    expect(lines[0]).toBe('0x00000000fdc00000 0x00000000fdc03fff 0x0000000000140204');
    expect(new Set(lines.slice(1, 13))).toEqual(
      new Set(['0x0000000000000000 0x0000000000000000 0x0000000000000000']),
    );
    expect(read('/sys/devices/pci0000:00/0000:00:1e.0/resource').split('\n')[0]).toBe(
      '0x00000000fe000000 0x00000000fe0fffff 0x0000000000040200',
    );
  });

  test('identity, alias and uevent are those of the function', () => {
    machine('nvme@0000:02:00.0,size=64M', '6.12');
    const alias = 'pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02';
    expect(read(`${nvme}/class`)).toBe('0x010802\n');
    expect(read(`${nvme}/revision`)).toBe('0x02\n');
    expect(read(`${nvme}/modalias`)).toBe(`${alias}\n`);
    expect(read(`${nvme}/uevent`)).toBe(
      'DRIVER=vfio-pci\nPCI_CLASS=10802\nPCI_ID=1B36:0010\nPCI_SUBSYS_ID=1AF4:1100\n' +
        `PCI_SLOT_NAME=0000:02:00.0\nMODALIAS=${alias}\n`,
    );
    expect(read(`${nvme}/max_link_speed`)).toBe('2.5 GT/s PCIe\n');
    expect(read(`${nvme}/power/runtime_status`)).toBe('suspended\n');
  });

  test('the modules have the parameters of the machine', () => {
    machine('edu@0000:00:1e.0', '6.12', {
      vfio: { ...defaultVfio, dmaEntryLimit: 12, allowUnsafeInterrupts: true },
    });
    const parameters = '/sys/module/vfio_iommu_type1/parameters';
    expect(read(`${parameters}/allow_unsafe_interrupts`)).toBe('Y\n');
    expect(read(`${parameters}/dma_entry_limit`)).toBe('12\n');
    expect(read('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode')).toBe('N\n');
  });

  test('without its type 1 module a machine does not show it', () => {
    machine('edu@0000:00:1e.0', '6.12', {
      vfio: { ...defaultVfio, type1Module: false },
    });
    expect(hardware.shadow.resolve('/sys/module/vfio_iommu_type1', true)).toBe(null);
    expect(readdirSync(hardware.shadow.host('/sys/module/vfio/holders')).sort()).toEqual([
      'vfio_pci',
      'vfio_pci_core',
    ]);
  });

  test.each([
    ['6.12', true, true],
    ['6.12', false, false],
    ['6.1', true, false],
  ] as const)('files of devices’ own: Linux %s, configured %s: %s', (kernel, cdev, there) => {
    machine('nvme@0000:02:00.0,size=64M', kernel, { vfio: { ...defaultVfio, cdev } });
    const device = `${nvme}/vfio-dev/vfio${firstFree('/sys/class/vfio-dev/vfio')}`;
    const isThere = (path: string): boolean => hardware.shadow.resolve(path, true) !== null;
    expect(isThere(device)).toBe(true);
    expect([isThere('/dev/vfio/devices'), isThere(`${device}/dev`)]).toEqual([there, there]);
  });

  test('the IOMMU’s capabilities are those of the geometry: width, levels, large pages', () => {
    machine('edu@0000:00:1e.0', '6.12');
    const iommu = readdirSync(hardware.shadow.host('/sys/class/iommu')).at(-1)!;
    const path = hardware.shadow.resolve(`/sys/class/iommu/${iommu}/intel-iommu/cap`, true)!.path;
    const cap = BigInt(`0x${read(path).trim()}`);
    expect(Number((cap >> 16n) & 0x3fn) + 1).toBe(48);
    expect(Number((cap >> 8n) & 0x1fn)).toBe(0b00110);
    expect(Number((cap >> 34n) & 0xfn)).toBe(0b0011);
  });

  test('cpu masks are words of 32 bits, as wide as there can be processors', () => {
    expect(cpuMask('0-1', '0-1')).toBe('3');
    expect(cpuMask('0-3', '0-7')).toBe('0f');
    expect(cpuMask('0,33', '0-35')).toBe('2,00000001');
    expect(cpuMask('0-63', '0-63')).toBe('ffffffff,ffffffff');
  });
});
