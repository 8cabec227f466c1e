import { ArgumentBuffer } from '../abi/argument-buffer.js';
import type { AddressSpace, MmuNotifier } from '../mm/address-space.js';

/** Where the arguments of calls are: no page of the program, which uses no such address. */
export const ARGUMENT = 2 ** 46;
const ARGUMENT_BYTES = 256;

/** Methods that a space may lack. */
const optional = [
  'pageInFlow',
  'isReserved',
  'hasDevicePages',
  'accountPinned',
  'pinsAt',
  'isSameMemory',
] as const;
type Optional = Required<Pick<AddressSpace, (typeof optional)[number]>>;

/** An address space as the calls of its program see it: with their arguments beside its memory. */
export class CallingSpace implements AddressSpace {
  readonly argument = new ArgumentBuffer(ARGUMENT_BYTES);
  declare readonly pageInFlow?: Optional['pageInFlow'];
  declare readonly isReserved?: Optional['isReserved'];
  declare readonly hasDevicePages?: Optional['hasDevicePages'];
  declare readonly accountPinned?: Optional['accountPinned'];
  declare readonly pinsAt?: Optional['pinsAt'];
  declare readonly isSameMemory?: Optional['isSameMemory'];

  constructor(private readonly space: AddressSpace) {
    for (const name of optional) {
      const method: unknown = space[name];
      if (typeof method === 'function') Object.assign(this, { [name]: method.bind(space) });
    }
  }

  get id(): number {
    return this.space.id;
  }

  get taskSize(): number {
    return this.space.taskSize;
  }

  get invalidations(): number {
    return this.space.invalidations;
  }

  get lockedPages(): number {
    return this.space.lockedPages;
  }

  get lockLimitPages(): number {
    return this.space.lockLimitPages;
  }

  get ipcLock(): boolean {
    return this.space.ipcLock;
  }

  copyFrom(address: number, into: Uint8Array): boolean {
    const at = address - ARGUMENT;
    if (at < 0 || at >= ARGUMENT_BYTES) return this.space.copyFrom(address, into);
    into.set(this.argument.bytes.subarray(at, at + into.length));
    return true;
  }

  copyTo(address: number, from: Uint8Array): boolean {
    const at = address - ARGUMENT;
    if (at < 0 || at >= ARGUMENT_BYTES) return this.space.copyTo(address, from);
    this.argument.bytes.set(from, at);
    return true;
  }

  pageIn(first: number, count: number, access: number, frames: Float64Array): number {
    return this.space.pageIn(first, count, access, frames);
  }

  pin(first: number, count: number, access: number, frames: Float64Array): number {
    return this.space.pin(first, count, access, frames);
  }

  unpin(frames: Float64Array, count: number): void {
    this.space.unpin(frames, count);
  }

  accountLocked(pages: number): void {
    this.space.accountLocked(pages);
  }

  subscribe(notifier: MmuNotifier): () => void {
    return this.space.subscribe(notifier);
  }
}
