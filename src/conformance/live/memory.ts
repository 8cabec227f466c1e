/** Memory of a process at the recording's fixed addresses. */
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  O_RDWR,
  PROT_READ,
  PROT_WRITE,
} from '../../abi/linux.js';
import * as libc from '../../mm/process/libc.js';
import type { VectorMemory, VectorStep } from '../vectors.js';
import { check } from './checked.js';

export class LiveMemory {
  private readonly mapped: { address: number; size: number }[] = [];

  /** A mapping has gone to an address. */
  moved(address: number, size: number): void {
    this.mapped.push({ address, size });
  }

  /** What is mapped by now stays for all cases. */
  keep(): void {
    this.mapped.length = 0;
  }

  /** Gives everything back. */
  unmapAll(): void {
    for (const { address, size } of this.mapped) libc.munmap(address, size);
    this.mapped.length = 0;
  }

  /** Maps a file in place of what is there. */
  mapFile(
    fd: number,
    step: Pick<VectorStep, 'kind' | 'prot' | 'offset'>,
    address: number,
    size: number,
  ): void {
    const flags = (step.kind === 'sharedFd' ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED;
    check(libc.mmap(address, size, protection(step.prot!), flags, fd, Number(step.offset ?? 0)));
    this.mapped.push({ address, size });
  }

  /**
   * Maps what a case begins with; returns the descriptor of the file that was made for it, or -1.
   * `fd`: of the file that it names.
   */
  setUp(memory: VectorMemory, fd: number): number {
    const address = Number(memory.addr);
    const prot = memory.fill === undefined ? memory.prot : 'rw';
    const made = memory.fd === undefined ? this.place(address, memory.size, prot, memory.kind) : -1;
    if (memory.fd !== undefined) this.mapFile(fd, { ...memory, prot }, address, memory.size);
    const touched = /^page (\d+) .*was written/.exec(memory.note ?? '')?.[1];
    if (touched !== undefined) libc.bytesAt(address + Number(touched) * 4096, 1)[0] = 1;
    if (memory.fill === undefined) return made;
    libc.bytesAt(address, memory.size).fill(memory.fill);
    check(libc.mprotect(address, memory.size, protection(memory.prot)));
    return made;
  }

  /**
   * Maps memory of one of the recording's kinds; returns the descriptor of the file behind it, or
   * -1.
   */
  place(
    address: number,
    size: number,
    prot: string,
    kind: string,
    fixed = MAP_FIXED_NOREPLACE,
  ): number {
    let fd = -1;
    let flags = fixed;
    if (kind === 'memfd' || kind === 'memfdPrivate' || kind === 'tmpfsFile') {
      fd = check(libc.memfdCreate(kind, 0));
      check(libc.ftruncate(fd, size));
    } else if (kind === 'devzero') fd = check(libc.open('/dev/zero', O_RDWR, 0));
    else flags |= MAP_ANONYMOUS;
    const isShared = kind === 'shared' || kind === 'memfd' || kind === 'tmpfsFile';
    flags |= isShared ? MAP_SHARED : MAP_PRIVATE;
    if (kind === 'norsv') flags |= MAP_NORESERVE;
    check(libc.mmap(address, size, protection(prot), flags, fd, 0));
    this.mapped.push({ address, size });
    return fd;
  }
}

/** PROT_ bits of a recording's word. */
export function protection(prot: string): number {
  return (
    (prot.includes('r') && prot !== 'none' ? PROT_READ : 0) | (prot.includes('w') ? PROT_WRITE : 0)
  );
}
