/** The small calls of a device file: GET_INFO and GET_IRQ_INFO (kernel: vfio_pci_core.c). */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import type { KernelProfile } from '../abi/kernel.js';
import { PciInterruptIndex, PciRegionIndex } from '../abi/pci.js';
import { DeviceFlag, IrqInfoFlag } from '../abi/vfio.js';
import { DeviceInfo, IrqInfo } from '../abi/vfio-structs.js';
import { copyIn, copyOut } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { PciFunction } from './pci-function.js';

const info = new ArgumentBuffer(DeviceInfo.size);
const irqInfo = new ArgumentBuffer(IrqInfo.size);

/** EFAULT; EINVAL for a small argsz. */
export function getDeviceInfo(
  caller: Caller,
  argument: number,
  pciFunction: PciFunction,
  kernel: KernelProfile,
): void {
  info.bytes.fill(0);
  copyIn(caller, argument, info, DeviceInfo.end.num_irqs);
  const reset = pciFunction.resettable ? DeviceFlag.VFIO_DEVICE_FLAGS_RESET : 0;
  info.setU32(DeviceInfo.at.flags, DeviceFlag.VFIO_DEVICE_FLAGS_PCI | reset);
  info.setU32(DeviceInfo.at.num_regions, PciRegionIndex.COUNT);
  info.setU32(DeviceInfo.at.num_irqs, PciInterruptIndex.COUNT);
  copyOut(
    caller,
    argument,
    info,
    infoBytes(info.u32(DeviceInfo.at.argsz), DeviceInfo, 'num_irqs', kernel),
  );
}

/**
 * How much of an info struct is written back: older kernels add cap_offset where there is room for
 * it, newer ones whatever argsz has room for, padding included.
 */
export function infoBytes<N extends string>(
  argsz: number,
  layout: { readonly size: number; readonly end: Readonly<Record<N | 'cap_offset', number>> },
  required: N,
  kernel: KernelProfile,
): number {
  if (kernel.infoPadding) return Math.min(argsz, layout.size);
  return argsz >= layout.end.cap_offset ? layout.end.cap_offset : layout.end[required];
}

/** EFAULT; EINVAL for a small argsz or an index without a meaning for the function. */
export function getIrqInfo(
  caller: Caller,
  argument: number,
  pciFunction: PciFunction,
  kernel: KernelProfile,
): void {
  copyIn(caller, argument, irqInfo, IrqInfo.size);
  const index = irqInfo.u32(IrqInfo.at.index);
  const count = pciFunction.interruptCounts[index];
  // Only PCI Express functions report errors through ERR.
  if (count === undefined || (index === PciInterruptIndex.ERR && count === 0)) fail('EINVAL');
  const {
    VFIO_IRQ_INFO_EVENTFD,
    VFIO_IRQ_INFO_MASKABLE,
    VFIO_IRQ_INFO_AUTOMASKED,
    VFIO_IRQ_INFO_NORESIZE,
  } = IrqInfoFlag;
  const dynamic = index === PciInterruptIndex.MSIX && kernel.dynamicMsix && count > 0;
  const rest =
    index === PciInterruptIndex.INTX
      ? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED
      : dynamic
        ? 0
        : VFIO_IRQ_INFO_NORESIZE;
  irqInfo.setU32(IrqInfo.at.flags, VFIO_IRQ_INFO_EVENTFD | rest);
  irqInfo.setU32(IrqInfo.at.count, count);
  copyOut(caller, argument, irqInfo, IrqInfo.size);
}
