/**
 * The eventfds of the program's processes, and the engine's descriptors for them.
 *
 * The engine makes each one when a process asks the kernel for it, and keeps a descriptor: taking
 * it out of the process later (pidfd_getfd) needs a privilege that containers lack. An eventfd is
 * recognized by its id (`eventfd-id` in fdinfo), whatever its number and whichever process has it.
 */

import { Errno, VfioError } from '../../abi/errno.js';
import { F_DUPFD_CLOEXEC, O_CLOEXEC, O_RDONLY } from '../../abi/linux.js';
import {
  allocateNative,
  close,
  errno,
  eventfd,
  fcntl,
  open,
  read,
  syscall,
} from '../../mm/process/libc.js';
import type { Architecture } from '../arch/index.js';
import { isRefusal, whoRefuses } from '../run/refusal.js';
import type { Process } from './process.js';
import { takeDescriptor } from './tasks.js';

const EVENTFD_ID = /^eventfd-id:\s+(\d+)$/m;
const FDINFO_BYTES = 4096;
/** The most that are kept, if the engine's limit of descriptors allows that many. */
const KEPT_MAX = 1024;

interface MadeEventfd {
  /** The engine's descriptor. */
  readonly fd: number;
  /** The thread that asked for it, and the number it got. */
  readonly tid: number;
  readonly number: number;
  /** Null until somebody asks: most eventfds are never a device's. */
  id: number | null;
}

const fdinfo = allocateNative(FDINFO_BYTES);

export class Eventfds {
  /** The one made or used last comes last. */
  private made: MadeEventfd[] = [];
  private readonly max: number;
  private told = false;

  /**
   * @param openFiles the engine's RLIMIT_NOFILE
   * @param tell shows the user a line
   */
  constructor(
    private readonly architecture: Architecture,
    openFiles: number,
    private readonly tell: (text: string) => void,
  ) {
    this.max = Math.min(KEPT_MAX, Math.floor(openFiles / 4));
  }

  /**
   * Makes an eventfd for a process; `give` hands it over and returns its number there, or minus an
   * errno. Returns what `give` returned, or null: the engine cannot make one and the kernel should.
   */
  make(tid: number, initial: number, flags: number, give: (fd: number) => number): number | null {
    const fd = eventfd(initial, flags | O_CLOEXEC);
    if (fd < 0) return null;
    const number = give(fd);
    if (number < 0) close(fd);
    else {
      if (this.made.length >= this.max) this.makeRoom();
      this.made.push({ fd, tid, number, id: null });
    }
    return number;
  }

  /**
   * A descriptor of the engine's for an eventfd of a process. Throws EMFILE; EBADF where the host
   * does not let the engine have it, which the user is told once.
   */
  take(process: Process, fd: number, id: number): number {
    const index = this.made.findIndex((made) => idOf(made) === id);
    if (index < 0) return this.takeOut(process, fd);
    const [made] = this.made.splice(index, 1);
    this.made.push(made!);
    return orEmfile(fcntl(made!.fd, F_DUPFD_CLOEXEC, 0));
  }

  /** One that the engine did not make (inherited, or received over a socket), or has forgotten. */
  private takeOut(process: Process, fd: number): number {
    const { nr } = this.architecture;
    const taken = takeDescriptor(this.architecture, process, fd);
    if (taken >= 0) return taken;
    const code = errno();
    if (!isRefusal(code)) return orEmfile(taken);
    if (!this.told) {
      this.told = true;
      const probe = (): number => syscall(nr.pidfd_getfd, -1, 0, 0, 0, 0, 0);
      this.tell(
        `process ${process.pid} uses an eventfd (${fd}) that no process of this run made, and the host does not let iopf take it: ${whoRefuses('pidfd_getfd', code, probe)}`,
      );
    }
    throw new VfioError(Errno.EBADF);
  }

  /** Forgets those that their process has closed; if there are none, the half used longest ago. */
  private makeRoom(): void {
    let kept = this.made.filter((made) => eventfdId(made.tid, made.number) === idOf(made));
    if (kept.length >= this.max) kept = this.made.slice(Math.ceil(this.made.length / 2));
    const stay = new Set(kept);
    for (const made of this.made) if (!stay.has(made)) close(made.fd);
    this.made = kept;
  }
}

function idOf(made: MadeEventfd): number | null {
  if (made.id !== null) return made.id;
  const id = eventfdId('self', made.fd);
  if (typeof id === 'number') made.id = id;
  return made.id;
}

/**
 * The id of an eventfd; 'other' for a descriptor of something else; null where it is not open, or
 * the process is not dumpable.
 */
export function eventfdId(pid: number | 'self', fd: number): number | 'other' | null {
  const file = open(`/proc/${pid}/fdinfo/${fd}`, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return null;
  const length = read(file, fdinfo.address, FDINFO_BYTES);
  close(file);
  if (length < 0) return null;
  const text = Buffer.from(fdinfo.bytes.buffer, 0, length).toString('latin1');
  const match = EVENTFD_ID.exec(text);
  return match === null ? 'other' : Number(match[1]);
}

function orEmfile(fd: number): number {
  if (fd < 0) throw new VfioError(errno() === Errno.EMFILE ? Errno.EMFILE : Errno.EBADF);
  return fd;
}
