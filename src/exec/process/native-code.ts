/** The machine code of an architecture, where this process can run it. */
import { PROT_EXEC, PROT_READ } from '../../abi/linux.js';
import { allocateNative, functionAt, mprotect, must } from '../../mm/process/libc.js';
import type { MachineCode } from '../arch/index.js';
import type { CallList } from './call-list.js';

const CODE_BYTES = 4096;
const STACK_BYTES = 4096;
/** The stack of a child begins with zeros: it has nowhere to return to. */
const STACK_EMPTY_BYTES = 64;

/**
 * Makes the calls of `list` in a child made by clone(2) with these flags, beside the caller.
 * Returns the child's id, or minus the errno.
 */
export function cloneWith(code: MachineCode, list: CallList, flags: number): number {
  const address = load([code.common]);
  const stack = allocateNative(STACK_BYTES).address + STACK_BYTES - STACK_EMPTY_BYTES;
  return functionAt(address + code.cloneAt, 3)(list.address, stack, flags);
}

/** What a handler of a signal does: stores a word, and makes the calls of a list. */
export interface SignalHandler {
  readonly at: number;
  readonly value: number;
  readonly list: CallList;
}

/** The addresses of handlers, in their order. They must not be many. */
export function loadHandlers(code: MachineCode, handlers: readonly SignalHandler[]): number[] {
  let offset = code.common.length;
  const offsets: number[] = [];
  const address = load((begin) => [
    code.common,
    ...handlers.map(({ list, ...note }) => {
      const handler = code.handler(begin, list.address, note);
      offsets.push(offset);
      offset += handler.length;
      return handler;
    }),
  ]);
  return offsets.map((at) => address + at);
}

/**
 * Puts code, which may depend on its address, where it can be run. It is made executable after it
 * was written, so that the kernel takes care of instruction caches (arm64).
 */
function load(parts: readonly Uint8Array[] | ((begin: number) => readonly Uint8Array[])): number {
  const { address, bytes } = allocateNative(CODE_BYTES);
  let offset = 0;
  for (const part of typeof parts === 'function' ? parts(address) : parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  must('mprotect', mprotect(address, CODE_BYTES, PROT_READ | PROT_EXEC));
  return address;
}
