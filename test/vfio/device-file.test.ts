import { describe, expect, it } from 'vitest';
import type { KernelVersion } from '../../src/abi/kernel.js';
import { readStruct, writeStruct } from '../../src/abi/layout.js';
import { PciCommand, PciConfig, PciInterruptIndex, PciMsix, PciPm } from '../../src/abi/pci.js';
import { DeviceIoctl, GroupIoctl, REGION_OFFSET } from '../../src/abi/vfio.js';
import {
  DeviceFeature,
  DeviceIoeventfd,
  IrqInfo,
  IrqSet,
  PciHotReset,
  RegionInfo,
  SparseMmapArea,
  SparseMmapCap,
} from '../../src/abi/vfio-structs.js';
import { ownDevice } from '../../src/conformance/fixtures.js';
import { EventFile, OpenFile, Process } from '../../src/conformance/process.js';
import type { VfioFile } from '../../src/file/file.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { createMachine } from '../../src/vfio/machine.js';
import type { InterruptSink, PciFunction } from '../../src/vfio/pci-function.js';
import { errnoOf, Kit } from './kit.js';

const CONFIG = 7 * REGION_OFFSET;
const BUFFER = 0x1000_0000;
const GET = 0x10000;
const SET = 0x20000;
const PROBE = 0x40000;
const ENTRY = 3;
/** nvme's power management control register. */
const POWER_CONTROL = 0x60 + PciPm.CTRL;
const WITH_WAKEUP = 4;
const EXIT = 5;

/** An nvme device on bus 2, opened. */
function openNvme(
  kernel: KernelVersion = '6.12',
  change: (own: PciFunction) => PciFunction = (own) => own,
) {
  const kit = new Kit();
  const nvme = change(ownDevice('nvme', '0000:02:00.0', kit.memory));
  const machine = createMachine({ kernel, groups: [{ number: 9, functions: [nvme] }] });
  const process = new Process(kit.newMemory());
  const container = process.install(machine.openContainer());
  const groupFd = process.install(machine.openGroup(9));
  const group = process.get(groupFd).what as VfioFile;
  const call = (file: VfioFile, request: number, bytes: Uint8Array): Uint8Array => {
    process.mm.copyTo(BUFFER, bytes);
    file.ioctl(process, request, BUFFER);
    const out = new Uint8Array(bytes.length);
    process.mm.copyFrom(BUFFER, out);
    return out;
  };
  call(group, GroupIoctl.VFIO_GROUP_SET_CONTAINER, Uint8Array.of(container, 0, 0, 0));
  (process.get(container).what as VfioFile).ioctl(process, 0x3b66, 3);
  const open = (name: string): VfioFile => {
    process.mm.copyTo(BUFFER, Buffer.from(`${name}\0`));
    const fd = group.ioctl(process, GroupIoctl.VFIO_GROUP_GET_DEVICE_FD, BUFFER);
    return process.get(fd).what as VfioFile;
  };
  const read = (file: VfioFile, offset: number, count: number): number[] => {
    file.read(process, BUFFER, count, offset);
    const bytes = new Uint8Array(count);
    process.mm.copyFrom(BUFFER, bytes);
    return [...bytes];
  };
  const write = (file: VfioFile, offset: number, ...bytes: number[]): void => {
    process.mm.copyTo(BUFFER, Uint8Array.from(bytes));
    file.write(process, BUFFER, bytes.length, offset);
  };
  return { machine, nvme, process, group, groupFd, call, open, read, write };
}

describe('GET_DEVICE_FD', () => {
  it.each(['host', '02:00.0', '0000:AB:00.0'])(
    'finds a device by the address that Linux spells: no machine has one at %s',
    (address) => {
      const functions = [{ address } as PciFunction];
      expect(() => createMachine({ groups: [{ number: 1, functions }] })).toThrow(
        `"${address}" is not a PCI address`,
      );
    },
  );

  it('takes spaces behind the address, and refuses options that belong to virtual functions', () => {
    const { open } = openNvme();
    const uuid = '00112233-4455-6677-8899-aabbccddeeff';
    expect(errnoOf(() => open('0000:02:00.0 '))).toBeNull();
    expect(errnoOf(() => open(`0000:02:00.0 vf_token=${uuid}`))).toBe('EINVAL');
    expect(errnoOf(() => open('0000:02:00.0 something'))).toBe('EINVAL');
    expect(errnoOf(() => open('0000:02:00.1'))).toBe('ENODEV');
  });
});

describe('the MSI-X table', () => {
  it('reads as ones and drops what is written, as vfio keeps it for itself', () => {
    const { nvme, open, read, write } = openNvme();
    const device = open(nvme.address);
    const [low, high] = read(device, CONFIG + 0x40 + PciMsix.TABLE, 2);
    const table = (low! | (high! << 8)) & ~PciMsix.BAR_INDEX;
    write(device, table, 1, 2, 3, 4);
    expect(read(device, table - 4, 8).slice(4)).toEqual([255, 255, 255, 255]);
  });
});

describe('the end of a region', () => {
  it('cuts an access to a BAR short, and behind it is EINVAL; config space is all or EFAULT', () => {
    const { nvme, process, open } = openNvme();
    const device = open(nvme.address);
    const [bar, config] = [nvme.regions[0]!.size, nvme.regions[7]!.size];
    const access = (move: 'read' | 'write', count: number, at: number) =>
      device[move](process, BUFFER, count, at);
    for (const move of ['read', 'write'] as const) {
      expect(access(move, 4, bar - 4)).toBe(4);
      expect(access(move, 16, bar - 4)).toBe(4);
      expect(errnoOf(() => access(move, 4, bar))).toBe('EINVAL');
      expect(access(move, 4, CONFIG + config - 4)).toBe(4);
      expect(errnoOf(() => access(move, 8, CONFIG + config - 4))).toBe('EFAULT');
    }
  });
});

describe('a read of a BAR', () => {
  /** Where the device is read, and how wide, by the accesses of a call. */
  function accesses(kernel: KernelVersion, change = (own: PciFunction) => own) {
    const seen: string[] = [];
    const { nvme, process, open } = openNvme(kernel, (own) => {
      const changed = change(own);
      return {
        ...own,
        readRegion(index: number, position: number, into: Uint8Array) {
          if (index === 0) seen.push(`${position.toString(16)}:${into.length}`);
          changed.readRegion(index, position, into);
        },
        writeRegion: own.writeRegion.bind(own),
        open() {},
        release() {},
      };
    });
    const device = open(nvme.address);
    return (position: number, count: number): string => {
      seen.length = 0;
      expect(device.read(process, BUFFER, count, position)).toBe(count);
      return seen.join(' ');
    };
  }

  it('is made of accesses that are aligned by their width, four bytes at most up to 6.1', () => {
    const read = accesses('6.1');
    expect(read(1, 3)).toBe('1:1 2:2');
    expect(read(0, 11)).toBe('0:4 4:4 8:2 a:1');
    expect(read(6, 4)).toBe('6:2 8:2');
    expect(accesses('7.2')(0, 11)).toBe('0:8 8:2 a:1');
  });

  it('goes on behind the MSI-X table, where it has passed over that', () => {
    const read = accesses('6.12');
    // 65 entries of 16 bytes from 0x2000 on.
    expect(read(0x1ffa, 8)).toBe('1ffa:2 1ffc:4');
    expect(read(0x2408, 16)).toBe('2410:8');
    expect(read(0x2410, 4)).toBe('2410:4');
    expect(read(0x2000, 4)).toBe('');
  });
});

describe('memory decoding', () => {
  it('that is off makes accesses to BARs EIO, and leaves config space', () => {
    const { nvme, open, read, write } = openNvme();
    const device = open(nvme.address);
    write(device, CONFIG + PciConfig.COMMAND, 0, 0);
    expect(errnoOf(() => read(device, 0, 4))).toBe('EIO');
    expect(errnoOf(() => write(device, 0x14, 0, 0, 0, 0))).toBe('EIO');
    write(device, CONFIG + PciConfig.COMMAND, PciCommand.MEMORY, 0);
    expect(errnoOf(() => read(device, 0, 4))).toBeNull();
  });

  it('is off in D3hot too, and back with D0', () => {
    const { nvme, open, read, write } = openNvme();
    const device = open(nvme.address);
    const power = (state: number) => write(device, CONFIG + POWER_CONTROL, state);
    power(PciPm.D3_HOT);
    expect(errnoOf(() => read(device, 0, 4))).toBe('EIO');
    expect(errnoOf(() => write(device, 0x14, 0, 0, 0, 0))).toBe('EIO');
    expect(read(device, CONFIG + POWER_CONTROL, 1)).toEqual([PciPm.NO_SOFT_RESET | PciPm.D3_HOT]);
    power(0);
    expect(errnoOf(() => read(device, 0, 4))).toBeNull();
  });

  it('a transfer into memory that is not there is EFAULT', () => {
    const { nvme, process, open } = openNvme();
    const device = open(nvme.address);
    expect(errnoOf(() => device.read(process, 0x7000_0000, 4, 0))).toBe('EFAULT');
    expect(errnoOf(() => device.write(process, 0x7000_0000, 4, 0x14))).toBe('EFAULT');
    expect(device.write(process, 0x7000_0000, 0, 0)).toBe(0);
  });
});

describe('INTx behind a store to a mapped register that lowers the pin', () => {
  /** The function's pin is up; the next poll finds the store and lowers it. */
  function fired() {
    let sink: InterruptSink | null = null;
    let stored = false;
    const kit = openNvme('6.12', (own) => {
      const open = own.open.bind(own);
      own.open = (to, memory) => {
        sink = to;
        open(to, memory);
      };
      own.poll = () => {
        if (stored) sink!.intx(false);
        return stored;
      };
      return own;
    });
    const device = kit.open(kit.nvme.address);
    const event = (flags: number): EventFile => {
      const made = new EventFile();
      const fd = kit.process.add(new OpenFile(made));
      const request = new Uint8Array(IrqSet.size + 4);
      request.set(writeStruct(IrqSet, { argsz: request.length, flags, index: 0, count: 1 }));
      request[IrqSet.size] = fd;
      kit.call(device, DeviceIoctl.VFIO_DEVICE_SET_IRQS, request);
      return made;
    };
    const trigger = event(0x24);
    const resample = event(0x14);
    sink!.intx(true);
    expect(trigger.count).toBe(1);
    const unmask = writeStruct(IrqSet, { argsz: IrqSet.size, flags: 0x11, index: 0, count: 1 });
    return {
      trigger,
      resample,
      store: () => {
        stored = true;
      },
      unmask: () => kit.call(device, DeviceIoctl.VFIO_DEVICE_SET_IRQS, unmask),
    };
  }

  it('UNMASK fires where the pin is up, and not where the store has lowered it', () => {
    const { trigger, store, unmask } = fired();
    unmask();
    expect(trigger.count).toBe(2);
    store();
    unmask();
    expect(trigger.count).toBe(2);
  });

  it('so does the resample eventfd', () => {
    const { trigger, resample, store } = fired();
    resample.signal();
    expect(trigger.count).toBe(2);
    store();
    resample.signal();
    expect(trigger.count).toBe(2);
  });
});

describe('a device that the host takes from VFIO', () => {
  it('is asked for at the eventfd of REQ, and goes with its last descriptor', () => {
    const { machine, nvme, process, call, open } = openNvme();
    const device = open(nvme.address);
    const event = new EventFile();
    const fd = process.add(new OpenFile(event));
    const trigger = new Uint8Array(IrqSet.size + 4);
    trigger.set(
      writeStruct(IrqSet, {
        argsz: trigger.length,
        flags: 0x24,
        index: PciInterruptIndex.REQ,
        count: 1,
      }),
    );
    trigger[IrqSet.size] = fd;
    call(device, DeviceIoctl.VFIO_DEVICE_SET_IRQS, trigger);
    machine.unbind(nvme.address);
    expect(event.count).toBe(1);
    expect(errnoOf(() => open(nvme.address))).toBeNull();
    device.release();
    expect(machine.groupNumbers).toEqual([9]);
    device.release();
    expect(machine.groupNumbers).toEqual([]);
    expect(errnoOf(() => open(nvme.address))).toBe('ENODEV');
    expect(errnoOf(() => machine.unbind(nvme.address))).toBe('ENODEV');
  });

  it('goes at once where it is not open', () => {
    const { machine, nvme, open } = openNvme();
    machine.unbind(nvme.address);
    expect(errnoOf(() => open(nvme.address))).toBe('ENODEV');
  });
});

it('who watches a device is told of each reset, and that the host asks for it', () => {
  const told: string[] = [];
  const incidents = {
    accessRefused: () => {},
    interruptLost: () => {},
    deviceReset: ({ address }: { address: string }) => told.push(`reset ${address}`),
    deviceUnbound: ({ address }: { address: string }) => told.push(`unbind ${address}`),
  };
  const { call, machine, open, read, write } = openNvme('6.12', (own) => {
    Object.assign(own.iommu, { incidents });
    return own;
  });
  const device = open('0000:02:00.0');
  expect(told).toEqual([]);
  call(device, DeviceIoctl.VFIO_DEVICE_RESET, new Uint8Array());
  // Initiate Function Level Reset, in Device Control of the PCI Express capability.
  const [low, high] = read(device, CONFIG + 0x88, 2);
  write(device, CONFIG + 0x88, low!, high! | 0x80);
  machine.unbind('0000:02:00.0');
  expect(told).toEqual(['reset 0000:02:00.0', 'reset 0000:02:00.0', 'unbind 0000:02:00.0']);
});

describe('SET_IRQS of ERR and REQ', () => {
  const { ERR, REQ } = PciInterruptIndex;
  const TRIGGER = 0x20;

  function setter() {
    const { nvme, process, call, open } = openNvme();
    const device = open(nvme.address);
    const set = (flags: number, index: number, count: number, payload: readonly number[] = []) => {
      const argsz = IrqSet.size + payload.length;
      const head = writeStruct(IrqSet, { argsz, flags: TRIGGER | flags, index, count });
      const bytes = Uint8Array.from([...head, ...payload]);
      return errnoOf(() => call(device, DeviceIoctl.VFIO_DEVICE_SET_IRQS, bytes));
    };
    return { process, set };
  }

  it.each([
    ['ERR', ERR],
    ['REQ', REQ],
  ])('of %s with data and count 0 is EINVAL, and changes nothing', (_, index) => {
    const { process, set } = setter();
    const event = new EventFile();
    expect(set(4, index, 1, [process.add(new OpenFile(event)), 0, 0, 0])).toBeNull();
    expect([set(2, index, 0), set(4, index, 0)]).toEqual(['EINVAL', 'EINVAL']);
    expect(set(1, index, 1)).toBeNull();
    expect(event.count).toBe(1);
    expect(set(1, index, 0)).toBeNull();
    expect(set(1, index, 1)).toBe('EINVAL');
    expect(event.count).toBe(1);
  });
});

describe('GET_IRQ_INFO', () => {
  it.each([
    ['6.1', 9],
    ['6.12', 1],
  ] as const)(
    'on Linux %s says of MSI-X that flags are %i: NORESIZE went with dynamic vectors',
    (kernel, flags) => {
      const { nvme, call, open } = openNvme(kernel);
      const out = call(
        open(nvme.address),
        DeviceIoctl.VFIO_DEVICE_GET_IRQ_INFO,
        writeStruct(IrqInfo, { argsz: 16, index: 2 }),
      );
      expect(readStruct(IrqInfo, out)).toMatchObject({ flags, count: 65 });
    },
  );
});

describe('a region with sparse areas', () => {
  const withAreas = (own: PciFunction): PciFunction => {
    const regions = [...own.regions];
    regions[0] = { ...regions[0]!, sparse: [{ offset: 0x1000, size: 0x1000 }] };
    return {
      ...own,
      regions,
      readRegion: own.readRegion.bind(own),
      writeRegion: own.writeRegion.bind(own),
      open() {},
      release() {},
    };
  };

  it('lists them in its capability chain, and only they can be mapped', () => {
    const { nvme, process, call, open } = openNvme('6.12', withAreas);
    const device = open(nvme.address);
    const bytes = new Uint8Array(256);
    bytes.set(writeStruct(RegionInfo, { argsz: bytes.length }));
    const out = call(device, DeviceIoctl.VFIO_DEVICE_GET_REGION_INFO, bytes);
    expect(readStruct(RegionInfo, out)).toMatchObject({ flags: 15, cap_offset: RegionInfo.size });
    const capability = readStruct(SparseMmapCap, out.subarray(RegionInfo.size));
    expect(capability).toMatchObject({ id: 1, version: 1, nr_areas: 1 });
    expect(readStruct(SparseMmapArea, out.subarray(RegionInfo.size + SparseMmapCap.size))).toEqual({
      offset: 0x1000n,
      size: 0x1000n,
    });
    expect(readStruct(SparseMmapCap, out.subarray(Number(capability.next))).id).toBe(3);
    const map = (offset: number, length: number) =>
      errnoOf(() => device.mmap(process, { length, protection: READ | WRITE, flags: 1, offset }));
    expect(map(0x1000, PAGE_SIZE)).toBeNull();
    expect(map(0, PAGE_SIZE)).toBe('EINVAL');
    expect(map(0x1000, 2 * PAGE_SIZE)).toBe('EINVAL');
  });
});

describe('PCI_HOT_RESET', () => {
  const reset = (argsz: number, flags: number, ...fds: number[]) =>
    Uint8Array.from([
      ...writeStruct(PciHotReset, { argsz, flags, count: fds.length }),
      ...new Uint8Array(Int32Array.from(fds).buffer),
    ]);

  it('resets the functions of the bus where the caller holds their groups', () => {
    let resets = 0;
    const { nvme, process, groupFd, call, open } = openNvme('6.12', (own) => {
      const ownReset = own.reset.bind(own);
      return Object.assign(own, {
        reset: () => {
          resets++;
          ownReset();
        },
      });
    });
    const device = open(nvme.address);
    const before = resets;
    const request = DeviceIoctl.VFIO_DEVICE_PCI_HOT_RESET;
    call(device, request, reset(16, 0, groupFd));
    expect(resets).toBe(before + 1);
    expect(errnoOf(() => call(device, request, reset(16, 1, groupFd)))).toBe('EINVAL');
    expect(errnoOf(() => call(device, request, reset(20, 0, groupFd, groupFd)))).toBe('EINVAL');
    expect(errnoOf(() => call(device, request, reset(16, 0, 999)))).toBe('EBADF');
    const event = process.add(new OpenFile(new EventFile()));
    expect(errnoOf(() => call(device, request, reset(16, 0, event)))).toBe('EINVAL');
    expect(resets).toBe(before + 1);
  });

  it('is ENOTTY where a function does not come back from it', () => {
    const { nvme, groupFd, call, open } = openNvme('6.12', (own) =>
      Object.assign(own, { busReset: false }),
    );
    const device = open(nvme.address);
    const request = DeviceIoctl.VFIO_DEVICE_PCI_HOT_RESET;
    expect(errnoOf(() => call(device, request, reset(16, 0, groupFd)))).toBe('ENOTTY');
  });
});

describe('DEVICE_IOEVENTFD', () => {
  const CONTROLLER_CONFIGURATION = 0x14;
  const ioeventfd = (fd: number, offset = CONTROLLER_CONFIGURATION, flags = 4, data = 0x460000) =>
    writeStruct(DeviceIoeventfd, { argsz: 28, flags, offset, data, fd });

  it('writes its value to the BAR whenever the eventfd is signalled, until it is taken away', () => {
    const { nvme, process, call, open, read, write } = openNvme();
    const device = open(nvme.address);
    const event = new EventFile();
    const fd = process.add(new OpenFile(event));
    const set = (...args: Parameters<typeof ioeventfd>) =>
      errnoOf(() => call(device, DeviceIoctl.VFIO_DEVICE_IOEVENTFD, ioeventfd(...args)));
    expect(set(fd)).toBeNull();
    expect(read(device, CONTROLLER_CONFIGURATION, 4)).toEqual([0, 0, 0, 0]);
    event.signal();
    expect(read(device, CONTROLLER_CONFIGURATION, 4)).toEqual([0, 0, 0x46, 0]);
    expect([set(fd), set(-1), set(-1)]).toEqual(['EEXIST', null, 'ENODEV']);
    write(device, CONTROLLER_CONFIGURATION, 0, 0, 0, 0);
    event.signal();
    expect(read(device, CONTROLLER_CONFIGURATION, 4)).toEqual([0, 0, 0, 0]);
  });

  it('is one for each value at an address, answers 0, and there are 1,000 of them', () => {
    const { nvme, process, open } = openNvme();
    const device = open(nvme.address);
    const fd = process.add(new OpenFile(new EventFile()));
    const set = (data: number): number => {
      process.mm.copyTo(BUFFER, ioeventfd(fd, CONTROLLER_CONFIGURATION, 4, data));
      return device.ioctl(process, DeviceIoctl.VFIO_DEVICE_IOEVENTFD, BUFFER);
    };
    for (let data = 0; data < 1000; data++) expect(set(data)).toBe(0);
    expect([errnoOf(() => set(1000)), errnoOf(() => set(999))]).toEqual(['ENOSPC', 'EEXIST']);
  });

  it('refuses what is no BAR, no width, no eventfd, or the MSI-X table', () => {
    const { nvme, process, call, open } = openNvme();
    const device = open(nvme.address);
    const fd = process.add(new OpenFile(new EventFile()));
    const set = (...args: Parameters<typeof ioeventfd>) =>
      errnoOf(() => call(device, DeviceIoctl.VFIO_DEVICE_IOEVENTFD, ioeventfd(...args)));
    expect(set(fd, CONFIG)).toBe('EINVAL');
    expect(set(fd, 0x4000)).toBe('EINVAL');
    expect(set(fd, 0x2000)).toBe('EINVAL');
    expect(set(fd, 0, 3)).toBe('EINVAL');
    expect(set(fd, 0, 0x14)).toBe('EINVAL');
    expect(set(-2)).toBe('EINVAL');
    expect(set(999)).toBe('EBADF');
  });

  it('ends with the last descriptor', () => {
    const { nvme, process, call, open, read } = openNvme();
    const device = open(nvme.address);
    const event = new EventFile();
    const fd = process.add(new OpenFile(event));
    call(device, DeviceIoctl.VFIO_DEVICE_IOEVENTFD, ioeventfd(fd));
    expect(event.holders).toBe(1);
    device.release();
    expect(event.holders).toBe(0);
    const again = open(nvme.address);
    event.signal();
    expect(read(again, CONTROLLER_CONFIGURATION, 4)).toEqual([0, 0, 0, 0]);
  });
});

describe('DEVICE_FEATURE', () => {
  const feature = (flags: number, argsz: number = DeviceFeature.size) =>
    writeStruct(DeviceFeature, { argsz, flags });

  it('lets a device sleep once, and wake', () => {
    const { nvme, call, open } = openNvme();
    const device = open(nvme.address);
    const set = (number: number) =>
      errnoOf(() => call(device, DeviceIoctl.VFIO_DEVICE_FEATURE, feature(SET | number)));
    expect([set(ENTRY), set(ENTRY), set(EXIT), set(EXIT), set(ENTRY)]).toEqual([
      null,
      'EINVAL',
      null,
      null,
      null,
    ]);
  });

  it('with a wake-up takes an eventfd, and gives it back when it fails', () => {
    const { nvme, process, call, open } = openNvme();
    const device = open(nvme.address);
    const event = process.add(new OpenFile(new EventFile()));
    const enter = (fd: number, reserved = 0, argsz = 16) =>
      errnoOf(() => {
        const bytes = Uint8Array.from([
          ...feature(SET | WITH_WAKEUP, argsz),
          ...new Uint8Array(Int32Array.of(fd, reserved).buffer),
        ]);
        call(device, DeviceIoctl.VFIO_DEVICE_FEATURE, bytes);
      });
    expect([enter(999), enter(event, 1), enter(event, 0, 8), enter(event), enter(event)]).toEqual([
      'EBADF',
      'EINVAL',
      'EINVAL',
      null,
      'EINVAL',
    ]);
  });

  it.each([
    ['an unknown feature', SET | 0x77, 'ENOTTY'],
    ['migration, which no device here has', GET | 1, 'ENOTTY'],
    ['a DMA-BUF, before there were any', PROBE | GET | 11, 'ENOTTY'],
    ['a probe of one that is there', PROBE | SET | ENTRY, null],
    ['a probe of an operation that it lacks', PROBE | GET | ENTRY, 'EINVAL'],
    ['neither get nor set', ENTRY, 'EINVAL'],
    ['get and set at once', GET | SET | ENTRY, 'EINVAL'],
    ['unknown flags', 0x80000 | SET | ENTRY, 'EINVAL'],
  ])('answers %s', (_, flags, errno) => {
    const { nvme, call, open } = openNvme();
    const device = open(nvme.address);
    expect(errnoOf(() => call(device, DeviceIoctl.VFIO_DEVICE_FEATURE, feature(flags)))).toBe(
      errno,
    );
  });

  it('ends with the last descriptor', () => {
    const { nvme, call, open } = openNvme();
    const device = open(nvme.address);
    call(device, DeviceIoctl.VFIO_DEVICE_FEATURE, feature(SET | ENTRY));
    device.release();
    const again = open(nvme.address);
    expect(
      errnoOf(() => call(again, DeviceIoctl.VFIO_DEVICE_FEATURE, feature(SET | ENTRY))),
    ).toBeNull();
  });
});
