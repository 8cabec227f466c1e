/**
 * DEVICE_SET_IRQS. Every mistake is EINVAL and changes nothing; what is asked for is checked in
 * libvfio-user's order.
 */
import { fail } from '../abi/errno.js';
import { PciInterruptIndex } from '../abi/pci.js';
import { IrqSetFlag } from '../abi/vfio.js';
import { IrqSet } from '../abi/vfio-structs.js';
import { eventfdId } from '../exec/process/eventfds.js';
import type { PciFunction } from '../vfio/pci-function.js';
import type { InterruptTable } from './interrupt-table.js';
import { bufferOf, type Request, readBody } from './request.js';

const {
  VFIO_IRQ_SET_DATA_NONE: DATA_NONE,
  VFIO_IRQ_SET_DATA_BOOL: DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD: DATA_EVENTFD,
  VFIO_IRQ_SET_ACTION_MASK: MASK,
  VFIO_IRQ_SET_ACTION_UNMASK: UNMASK,
  VFIO_IRQ_SET_ACTION_TRIGGER: TRIGGER,
} = IrqSetFlag;
const { INTX, ERR, COUNT } = PciInterruptIndex;

const header = bufferOf(IrqSet);

interface IrqRequest {
  readonly index: number;
  readonly start: number;
  readonly count: number;
  readonly data: number;
  readonly action: number;
  /** A byte for each vector, of DATA_BOOL. */
  readonly bools: Uint8Array;
}

export function setIrqs(request: Request, served: PciFunction, interrupts: InterruptTable): void {
  const asked = check(request, served.interruptCounts);
  const { action, count, data, index, start } = asked;
  // What the client has stored in mapped registers comes first: it may have changed the pin.
  served.poll();
  if (action === MASK || action === UNMASK) {
    if (index !== INTX || !asked.bools.every((bool) => bool !== 0)) return;
    if (action === MASK) interrupts.mask();
    else interrupts.unmask();
  } else if (data === DATA_EVENTFD && request.descriptors.length > 0)
    interrupts.connect(index, start, request.descriptors.splice(0));
  else if (data === DATA_EVENTFD) interrupts.disconnect(index, start, count);
  else if (count === 0) interrupts.disconnect(index, 0, served.interruptCounts[index]!);
  else
    for (let i = 0; i < count; i++)
      if (data === DATA_NONE || asked.bools[i] !== 0) interrupts.signal(index, start + i);
}

function check({ body, descriptors }: Request, counts: readonly number[]): IrqRequest {
  readBody(body, 0, header);
  const { at } = IrqSet;
  const [argsz, flags, index, start, count] = [
    header.u32(at.argsz),
    header.u32(at.flags),
    header.u32(at.index),
    header.u32(at.start),
    header.u32(at.count),
  ];
  const action = flags & (MASK | UNMASK | TRIGGER);
  const data = flags & (DATA_NONE | DATA_BOOL | DATA_EVENTFD);
  if (argsz < IrqSet.size) fail('EINVAL');
  const bools = body.subarray(IrqSet.size);
  if (data === DATA_BOOL && bools.length !== count) fail('EINVAL');
  if (index >= COUNT || !isOneBit(action) || !isOneBit(data)) fail('EINVAL');
  const vectors = counts[index]!;
  if (start >= vectors || start + count > vectors) fail('EINVAL');
  if (index >= ERR && (action !== TRIGGER || count > 1)) fail('EINVAL');
  if (count === 0 && (start !== 0 || action !== TRIGGER || data !== DATA_NONE)) fail('EINVAL');
  checkDescriptors(descriptors, data, count);
  return {
    index,
    start,
    count,
    data,
    action,
    bools: data === DATA_BOOL ? bools : bools.subarray(0, 0),
  };
}

function checkDescriptors(descriptors: readonly number[], data: number, count: number): void {
  if (descriptors.length === 0) return;
  if (data !== DATA_EVENTFD || descriptors.length !== count) fail('EINVAL');
  for (const fd of descriptors) if (typeof eventfdId('self', fd) !== 'number') fail('EINVAL');
}

const isOneBit = (bits: number): boolean => bits !== 0 && (bits & (bits - 1)) === 0;
