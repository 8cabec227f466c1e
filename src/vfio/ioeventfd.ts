/**
 * VFIO_DEVICE_IOEVENTFD: a value is written to a BAR whenever somebody signals an eventfd (kernel:
 * vfio_pci_ioeventfd).
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { PciRegionIndex } from '../abi/pci.js';
import { REGION_OFFSET } from '../abi/vfio.js';
import { DeviceIoeventfd } from '../abi/vfio-structs.js';
import { copyIn, takeEventfd } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { EventCounter } from '../file/file.js';
import type { PciFunction } from './pci-function.js';
import type { RegionAccess } from './region-access.js';

/** The most of them per device (kernel: VFIO_PCI_IOEVENTFD_MAX). */
const IOEVENTFD_MAX = 1000;
/** The low bits of flags are the access's width in bytes: 1, 2, 4 or 8. */
const SIZE_MASK = 0xf;

const buffer = new ArgumentBuffer(DeviceIoeventfd.size);

interface IoEventfd {
  readonly bar: number;
  readonly position: number;
  readonly data: Uint8Array;
  readonly counter: EventCounter;
  readonly stop: () => void;
}

export class IoEventfds {
  private readonly list: IoEventfd[] = [];

  constructor(private readonly pciFunction: PciFunction) {}

  /**
   * Sets one up, or with descriptor -1 takes it away. EFAULT; EINVAL: argsz, flags, no BAR, beyond
   * its end, in the MSI-X table, no eventfd, or one that cannot be watched; EEXIST; ENODEV: there
   * is none to take away; ENOSPC; EBADF.
   */
  set(caller: Caller, argument: number, regions: RegionAccess): void {
    copyIn(caller, argument, buffer, DeviceIoeventfd.end.fd);
    const flags = buffer.u32(DeviceIoeventfd.at.flags);
    const width = flags & SIZE_MASK;
    const fd = buffer.s32(DeviceIoeventfd.at.fd);
    if ((flags & ~SIZE_MASK) !== 0 || ![1, 2, 4, 8].includes(width) || fd < -1) fail('EINVAL');
    const offset = buffer.u64(DeviceIoeventfd.at.offset);
    const bar = Math.floor(offset / REGION_OFFSET);
    const position = offset % REGION_OFFSET;
    if (bar > PciRegionIndex.BAR5 || !regions.canWrite(bar, position, width)) fail('EINVAL');
    const data = buffer.bytes.slice(DeviceIoeventfd.at.data, DeviceIoeventfd.at.data + width);

    const known = this.list.find(
      (each) =>
        each.bar === bar &&
        each.position === position &&
        each.data.length === width &&
        each.data.every((byte, i) => byte === data[i]),
    );
    if (known) {
      if (fd >= 0) fail('EEXIST');
      this.remove(known);
      return;
    }
    if (fd < 0) fail('ENODEV');
    if (this.list.length === IOEVENTFD_MAX) fail('ENOSPC');
    this.add(bar, position, data, takeEventfd(caller, fd));
  }

  /** The device is closed. */
  release(): void {
    for (const each of [...this.list]) this.remove(each);
  }

  private add(bar: number, position: number, data: Uint8Array, counter: EventCounter): void {
    if (!counter.watch) {
      counter.close();
      fail('EINVAL');
    }
    const stop = counter.watch(() => this.pciFunction.writeRegion(bar, position, data));
    this.list.push({ bar, position, data, counter, stop });
  }

  private remove(each: IoEventfd): void {
    each.stop();
    each.counter.close();
    this.list.splice(this.list.indexOf(each), 1);
  }
}
