/** VFIO_DEVICE_SET_IRQS: checks the request and applies it to the device's interrupts. */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { PciInterruptIndex } from '../abi/pci.js';
import {
  IrqSetFlag,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
} from '../abi/vfio.js';
import { IrqSet, IrqSetDescriptor } from '../abi/vfio-structs.js';
import { copyIn, takeEventfd } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { EventCounter } from '../file/file.js';
import type { Interrupts } from './interrupts.js';
import type { PciFunction } from './pci-function.js';

const {
  VFIO_IRQ_SET_DATA_NONE: DATA_NONE,
  VFIO_IRQ_SET_DATA_BOOL: DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD: DATA_EVENTFD,
  VFIO_IRQ_SET_ACTION_MASK: MASK,
  VFIO_IRQ_SET_ACTION_UNMASK: UNMASK,
  VFIO_IRQ_SET_ACTION_TRIGGER: TRIGGER,
} = IrqSetFlag;

const header = new ArgumentBuffer(IrqSet.size);

interface IrqRequest {
  readonly data: number;
  readonly action: number;
  readonly index: number;
  readonly start: number;
  readonly count: number;
  /** What follows the struct: `count` bytes or descriptors, or nothing. */
  readonly payload: DataView;
}

/**
 * Arms, disarms, masks or tests interrupts. EFAULT, EINVAL for a request that the device has no
 * interrupts for, ENOTTY for an action that does not exist for the index; EBADF and EINVAL for
 * descriptors (kernel: vfio_pci_set_irqs_ioctl).
 */
export function setIrqs(
  caller: Caller,
  argument: number,
  pciFunction: PciFunction,
  interrupts: Interrupts,
): void {
  const request = readRequest(caller, argument, pciFunction.interruptCounts);
  // The program's stores to mapped registers are behind it: they may have changed the pin.
  pciFunction.poll();
  switch (request.index) {
    case PciInterruptIndex.INTX:
      setIntx(caller, request, interrupts);
      break;
    case PciInterruptIndex.MSI:
    case PciInterruptIndex.MSIX:
      setMessages(caller, request, interrupts);
      break;
    default:
      setSingle(caller, request, interrupts);
  }
}

function readRequest(caller: Caller, argument: number, counts: readonly number[]): IrqRequest {
  copyIn(caller, argument, header, IrqSet.size);
  const flags = header.u32(IrqSet.at.flags);
  const index = header.u32(IrqSet.at.index);
  const start = header.u32(IrqSet.at.start);
  const count = header.u32(IrqSet.at.count);
  const known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
  if ((flags & ~known) !== 0) fail('EINVAL');
  // None of an index that is not there; and the sum of the two does not wrap, as 32 bits would.
  const available = counts[index] ?? 0;
  if (start >= available || start + count > available) fail('EINVAL');
  const data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
  const width = elementWidth(data);
  if (header.u32(IrqSet.at.argsz) - IrqSet.size < count * width) fail('EINVAL');
  const payload = new Uint8Array(count * width);
  if (payload.length > 0 && !caller.mm.copyFrom(argument + IrqSet.size, payload)) fail('EFAULT');
  const action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
  return { data, action, index, start, count, payload: new DataView(payload.buffer) };
}

function elementWidth(data: number): number {
  switch (data) {
    case DATA_NONE:
      return 0;
    case DATA_BOOL:
      return 1;
    case DATA_EVENTFD:
      return IrqSetDescriptor.size;
    default:
      return fail('EINVAL');
  }
}

/**
 * The eventfd that the i-th descriptor of the request names; null for a negative number, which
 * means none.
 */
function eventfdAt(caller: Caller, request: IrqRequest, i: number): EventCounter | null {
  const fd = request.payload.getInt32(i * IrqSetDescriptor.size, true);
  return fd < 0 ? null : takeEventfd(caller, fd);
}

function setIntx(caller: Caller, request: IrqRequest, interrupts: Interrupts): void {
  if (request.action === MASK) maskIntx(request, interrupts);
  else if (request.action === UNMASK) unmaskIntx(caller, request, interrupts);
  else if (request.action === TRIGGER) triggerIntx(caller, request, interrupts);
  else fail('ENOTTY');
}

function maskIntx(request: IrqRequest, interrupts: Interrupts): void {
  if (!interrupts.isOn(PciInterruptIndex.INTX) || request.count !== 1) fail('EINVAL');
  if (request.data === DATA_EVENTFD) fail('ENOTTY');
  if (request.data === DATA_NONE || request.payload.getUint8(0) !== 0) interrupts.maskIntx();
}

function unmaskIntx(caller: Caller, request: IrqRequest, interrupts: Interrupts): void {
  if (!interrupts.isOn(PciInterruptIndex.INTX) || request.count !== 1) fail('EINVAL');
  if (request.data === DATA_EVENTFD) interrupts.setResample(eventfdAt(caller, request, 0));
  else if (request.data === DATA_NONE || request.payload.getUint8(0) !== 0) interrupts.unmaskIntx();
}

function triggerIntx(caller: Caller, request: IrqRequest, interrupts: Interrupts): void {
  const on = interrupts.isOn(PciInterruptIndex.INTX);
  if (on && request.count === 0 && request.data === DATA_NONE) {
    interrupts.disableIntx();
    return;
  }
  if ((!on && !interrupts.noneOn) || request.count !== 1) fail('EINVAL');
  if (request.data === DATA_EVENTFD) {
    const trigger = eventfdAt(caller, request, 0);
    if (on) interrupts.setIntxTrigger(trigger);
    else interrupts.enableIntx(trigger);
    return;
  }
  if (!on) fail('EINVAL');
  if (request.data === DATA_NONE || request.payload.getUint8(0) !== 0) interrupts.loopback(0);
}

function setMessages(caller: Caller, request: IrqRequest, interrupts: Interrupts): void {
  const { index, start, count, data } = request;
  if (request.action !== TRIGGER) fail('ENOTTY');
  const on = interrupts.isOn(index);
  if (on && count === 0 && data === DATA_NONE) {
    interrupts.disableMessages();
    return;
  }
  if (!on && !interrupts.noneOn) fail('EINVAL');
  if (data === DATA_EVENTFD) {
    if (!on) interrupts.enableMessages(index, start + count);
    try {
      interrupts.setMessageBlock(start, count, (i) => eventfdAt(caller, request, i));
    } catch (error) {
      if (!on) interrupts.disableMessages();
      throw error;
    }
    return;
  }
  if (!on || !interrupts.reaches(start + count)) fail('EINVAL');
  for (let i = 0; i < count; i++) {
    if (data === DATA_NONE || request.payload.getUint8(i) !== 0) interrupts.loopback(start + i);
  }
}

/** ERR and REQ (kernel: vfio_pci_set_ctx_trigger_single). */
function setSingle(caller: Caller, request: IrqRequest, interrupts: Interrupts): void {
  const { index, count, data } = request;
  if (request.action !== TRIGGER) fail('ENOTTY');
  const trigger = interrupts.singleTrigger(index);
  if (data === DATA_NONE) {
    if (!trigger) fail('EINVAL');
    if (count > 0) trigger.signal();
    else interrupts.setSingleTrigger(index, null);
    return;
  }
  if (count === 0) fail('EINVAL');
  if (data === DATA_BOOL) {
    if (request.payload.getUint8(0) !== 0) trigger?.signal();
    return;
  }
  const fd = request.payload.getInt32(0, true);
  if (fd >= -1) interrupts.setSingleTrigger(index, eventfdAt(caller, request, 0));
}
