/**
 * The way of a call of /dev/iommu (kernel: iommufd_fops_ioctl): its number is looked up, its size
 * read and compared, its struct copied in; where there is an answer the struct goes back whole.
 */
import { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { IOMMUFD_CMD_BASE } from '../abi/iommufd.js';
import type { StructLayout } from '../abi/layout.js';
import { copySized, readSize } from '../file/argument.js';
import type { Caller } from '../file/caller.js';
import type { VfioFile } from '../file/file.js';
import type { IommufdContext } from './context.js';

/** A call that is being carried out; its struct is in `buffer`, cut short or filled with zeros. */
export interface Call {
  readonly caller: Caller;
  readonly context: IommufdContext;
  readonly buffer: ArgumentBuffer;
  /** Where the program has the struct, and how many bytes it says that it has. */
  readonly argument: number;
  readonly size: number;
  /** What the call returns. */
  result: number;
}

/** A call of the table. */
export interface Operation {
  /** Bytes that the program's struct must have at least. */
  readonly least: number;
  readonly buffer: ArgumentBuffer;
  /** Throws VfioError. */
  readonly execute: (call: Call) => void;
}

/** The interface of iommufd's own tests (kernel: CONFIG_IOMMUFD_TEST). */
export interface TestInterface {
  /** The number that ends the table of calls. */
  readonly last: number;
  /** Calls in place of those of the table, and one of its own. */
  readonly operations: ReadonlyMap<number, Operation>;
}

/** An operation whose struct has had these fields from the first kernel on. */
export function operation(
  { size }: Pick<StructLayout<string>, 'size'>,
  execute: (call: Call) => void,
  least = size,
): Operation {
  return { least, buffer: new ArgumentBuffer(size), execute };
}

/**
 * Carries out a call. EFAULT: no size can be read; ENOTTY: the table has no such number, or it is
 * spelt otherwise; EINVAL: too small; EFAULT, E2BIG: see `copyStruct`; and what the call answers.
 */
export function runCall(
  caller: Caller,
  context: IommufdContext,
  operation: Operation | undefined,
  argument: number,
): number {
  const size = readSize(caller, argument, scratch);
  const { least, buffer, execute } = operation ?? fail('ENOTTY');
  if (size < least) fail('EINVAL');
  copySized(caller, argument, buffer, size);
  const call: Call = { caller, context, buffer, argument, size, result: 0 };
  execute(call);
  return call.result;
}

const scratch = new ArgumentBuffer(4);

/** Copies a call's struct back, as much as the program has of it. EFAULT. */
export function respond({ caller, buffer, argument, size }: Call): void {
  const bytes = buffer.prefix(Math.min(size, buffer.capacity));
  if (!caller.mm.copyTo(argument, bytes)) fail('EFAULT');
}

/**
 * Answers with a descriptor of a file that the call has made; `fill` puts its number, and whatever
 * else the answer needs, into the struct. EMFILE; EFAULT; what `fill` throws: then there is no
 * descriptor, and the file is released.
 */
export function respondWithFile(call: Call, file: VfioFile, fill: (fd: number) => void): void {
  try {
    const descriptor = call.caller.reserve(file);
    try {
      fill(descriptor.number);
      respond(call);
    } catch (error) {
      descriptor.cancel();
      throw error;
    }
    descriptor.install();
  } catch (error) {
    file.release();
    throw error;
  }
}

/** The number of a request in the table, or -1: it lies below the table or behind its end. */
export function tableNumber(request: number, last: number): number {
  const nr = request & 0xff;
  return nr >= IOMMUFD_CMD_BASE && nr <= last ? nr : -1;
}
