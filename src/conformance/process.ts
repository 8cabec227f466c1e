/** A process of a replay: descriptors and memory, as the kernel's task has them. */
import { fail } from '../abi/errno.js';
import type { Caller, CallerFile, ReservedDescriptor } from '../file/caller.js';
import type { EventCounter, VfioFile } from '../file/file.js';
import { READ, WRITE } from '../mm/address-space.js';
import { SimulatedFile } from '../mm/simulated-file.js';
import { SimulatedFileSpace } from '../mm/simulated-file-space.js';
import type { ProcessMemory } from './process-memory.js';

/** What a descriptor refers to; shared by dup and fork. */
export class OpenFile {
  references = 1;
  /** poll(2) says POLLIN: all but streams always, those while there is something to read. */
  readable = true;
  /** Where read(2) and write(2) go on. */
  position = 0;

  constructor(
    readonly what: VfioFile | EventFile | SimulatedFile | 'other',
    readonly access = READ | WRITE,
  ) {
    if (!isVfio(what)) return;
    what.watchReadable?.((is) => {
      this.readable = is;
    });
  }

  drop(): void {
    if (--this.references === 0 && isVfio(this.what)) this.what.release();
  }
}

/** An eventfd. */
export class EventFile {
  count = 0;
  /** How many have taken it and not closed it. */
  holders = 0;
  private readonly watchers = new Set<() => void>();

  signal(): void {
    this.add(1);
  }

  add(value: number): void {
    this.count += value;
    for (const watcher of this.watchers) {
      this.count = 0;
      watcher();
    }
  }

  take(): EventCounter {
    this.holders++;
    return {
      signal: () => this.signal(),
      watch: (signalled) => {
        this.watchers.add(signalled);
        return () => this.watchers.delete(signalled);
      },
      close: () => void this.holders--,
    };
  }
}

export function isVfio(what: OpenFile['what']): what is VfioFile {
  return typeof what === 'object' && 'ioctl' in what;
}

export class Process implements Caller {
  private readonly descriptors = new Map<number, OpenFile>();
  private readonly reserved = new Set<number>();

  sysResource = true;
  /** Names of the recording's descriptors that were closed here. */
  readonly closed = new Set<string>();

  constructor(readonly mm: ProcessMemory) {}

  file(fd: number): CallerFile | null {
    const open = this.descriptors.get(fd);
    if (!open) return null;
    if (open.what instanceof EventFile) {
      const event = open.what;
      return { kind: 'eventfd', take: () => event.take() };
    }
    const { what } = open;
    if (isVfio(what)) return { kind: 'vfio', file: what };
    if (!(what instanceof SimulatedFile)) return { kind: 'other' };
    return { kind: 'other', memory: () => new SimulatedFileSpace(what) };
  }

  install(file: VfioFile, access = READ | WRITE): number {
    return this.add(new OpenFile(file, access));
  }

  reserve(file: VfioFile): ReservedDescriptor {
    const number = this.freeNumber();
    this.reserved.add(number);
    return {
      number,
      install: () => {
        this.reserved.delete(number);
        this.descriptors.set(number, new OpenFile(file));
      },
      cancel: () => void this.reserved.delete(number),
    };
  }

  add(open: OpenFile): number {
    const fd = this.freeNumber();
    this.descriptors.set(fd, open);
    return fd;
  }

  private freeNumber(): number {
    let fd = 3;
    while (this.descriptors.has(fd) || this.reserved.has(fd)) fd++;
    return fd;
  }

  /** EBADF where the number is not open. */
  get(fd: number): OpenFile {
    return this.descriptors.get(fd) ?? fail('EBADF');
  }

  /** As `get`; EBADF also where it was not opened for it. */
  getFor(access: number, fd: number): OpenFile {
    const open = this.get(fd);
    return (open.access & access) === access ? open : fail('EBADF');
  }

  dup(fd: number): number {
    const open = this.get(fd);
    open.references++;
    return this.add(open);
  }

  close(fd: number): void {
    this.get(fd).drop();
    this.descriptors.delete(fd);
  }

  fork(id: number): Process {
    const child = new Process(this.mm.fork(id));
    for (const name of this.closed) child.closed.add(name);
    for (const [fd, open] of this.descriptors) {
      open.references++;
      child.descriptors.set(fd, open);
    }
    return child;
  }

  exit(): void {
    this.mm.exit();
    for (const fd of [...this.descriptors.keys()]) this.close(fd);
  }
}
