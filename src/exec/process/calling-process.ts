import { Bug } from '../../abi/bug.js';
import { Errno, VfioError } from '../../abi/errno.js';
import type { Caller, CallerFile, ReservedDescriptor } from '../../file/caller.js';
import type { VfioFile } from '../../file/file.js';
import { FileMemory } from '../../mm/process/file-memory.js';
import { Capability, hasCapability } from '../../mm/process/proc.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import type { EventSet } from '../seccomp/event-set.js';
import type { Listener } from '../seccomp/listener.js';
import type { Descriptors } from './descriptors.js';
import { eventCounter } from './eventfd.js';
import { type Eventfds, eventfdId } from './eventfds.js';
import type { Process, ProcessTable } from './process.js';

/** A file that the running call made: its number is the call's result, or is in a struct. */
interface MadeFile {
  readonly file: VfioFile;
  readonly number: number;
  readonly isResult: boolean;
}

/**
 * The process that makes the current call, as VFIO sees it (kernel: `current`).
 *
 * A file that a call makes is put into the process when the call is answered, whole; a number that
 * is reserved until then exists only here. dup2 cannot take it meanwhile, for that is trapped and
 * calls are answered one at a time; what another thread opens can, once the process has all numbers
 * below the window in use, and is replaced then.
 */
export class CallingProcess implements Caller {
  private current: Process | null = null;
  /** The number that the call takes for a file, -1 for none. */
  private reserved = -1;
  private made: MadeFile | null = null;

  constructor(
    private readonly call: Listener,
    private readonly processes: ProcessTable,
    private readonly descriptors: Descriptors,
    private readonly eventfds: Eventfds,
    private readonly events: EventSet,
  ) {}

  /** Takes the process that makes the current call. Throws VfioError. */
  enter(): Process {
    this.giveUpNumber();
    this.made = null;
    this.current = this.processes.enter(this.call.tid);
    // No room for it, or it was killed, and then nobody reads this.
    if (this.current === null) throw new VfioError(Errno.EMFILE);
    return this.current;
  }

  /** Puts the current call's state aside; the function takes it up again. */
  setAside(): () => void {
    const { current, reserved, made } = this;
    this.reserved = -1;
    return () => {
      this.giveUpNumber();
      this.current = current;
      this.reserved = reserved;
      this.made = made;
    };
  }

  get mm(): ProcessSpace {
    return this.current!.space;
  }

  get sysResource(): boolean {
    return hasCapability(this.current!.task, Capability.SYS_RESOURCE);
  }

  file(fd: number): CallerFile | null {
    const process = this.current!;
    const found = this.descriptors.lookUp(process, fd);
    if (found === null) return null;
    if (found !== 'other') return { kind: 'vfio', file: found.file };
    const id = eventfdId(process.task, fd);
    if (id === null) return null;
    if (id === 'other') {
      const path = `/proc/${process.task}/fd/${fd}`;
      return { kind: 'other', memory: () => FileMemory.open(path, this.processes.ownSpaces) };
    }
    const take = () => eventCounter(this.eventfds.take(process, fd, id), this.events);
    return { kind: 'eventfd', take };
  }

  install(file: VfioFile): number {
    const number = this.takeNumber();
    this.made = { file, number, isResult: true };
    return number;
  }

  reserve(file: VfioFile): ReservedDescriptor {
    const number = this.takeNumber();
    return {
      number,
      install: () => {
        this.made = { file, number, isResult: false };
      },
      cancel: () => this.giveUpNumber(),
    };
  }

  /** Answers the current call, and puts the file that it made into the process. Throws EMFILE. */
  answer(result: number): void {
    const { made } = this;
    if (made === null) return this.call.respond(result);
    const { file, number, isResult } = made;
    this.giveUpNumber();
    this.descriptors.giveOut(
      this.current!,
      { file, number, closeOnExec: true, node: null },
      isResult ? null : result,
    );
  }

  private takeNumber(): number {
    if (this.reserved >= 0) throw new Bug('a call makes two descriptors', { nr: this.call.nr });
    const number = this.descriptors.freeNumber(this.current!, 0);
    this.reserved = number;
    this.current!.reserved.add(number);
    return number;
  }

  private giveUpNumber(): void {
    this.current?.reserved.delete(this.reserved);
    this.reserved = -1;
  }
}
