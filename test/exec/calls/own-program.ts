/**
 * The handlers of system calls with this process as the program: its memory and its descriptors are
 * what calls are about, and no filter stands between. What the kernel would be told is noted.
 */
import { errnoName, VfioError } from '../../../src/abi/errno.js';
import { HIGH } from '../../../src/abi/long.js';
import { architecture, type SystemCall } from '../../../src/exec/arch/index.js';
import { type CallContext, callContext, handlersOf } from '../../../src/exec/calls/index.js';
import { FailedCalls } from '../../../src/exec/incidents/failed-calls.js';
import { IncidentLog } from '../../../src/exec/incidents/incident-log.js';
import { buildHardware, type Hardware } from '../../../src/exec/machine/hardware.js';
import { machineOfDevices, parseDevice } from '../../../src/exec/machine/machine-spec.js';
import { Networks } from '../../../src/exec/machine/networks.js';
import { Eventfds } from '../../../src/exec/process/eventfds.js';
import type { GuardReport } from '../../../src/exec/process/guard-report.js';
import { ProcessTable } from '../../../src/exec/process/process.js';
import { Unreadable } from '../../../src/exec/process/unreadable.js';
import { ResidentMemory } from '../../../src/exec/reclaim/resident-memory.js';
import type { EventSet } from '../../../src/exec/seccomp/event-set.js';
import type { Listener } from '../../../src/exec/seccomp/listener.js';
import type { Traps } from '../../../src/exec/trap/traps.js';
import { Counters } from '../../../src/iommu/observer.js';
import {
  allocateNative,
  close,
  errno,
  fcntl,
  munmap,
  syscall,
} from '../../../src/mm/process/libc.js';

const F_DUPFD = 0;
const F_DUPFD_CLOEXEC = 1030;
const MEMORY_BYTES = 1 << 16;

/** The current call, and its answer. */
class NotedCall {
  readonly tid = process.pid;
  returnsTo = 0;
  nr = 0;
  given: readonly number[] = [];
  /** What it returns, minus its errno; `goes on`: the kernel carries it out. */
  answer: number | 'goes on' | null = null;
  posted = -1;
  /** Descriptors that the program was given. */
  readonly made = new Set<number>();

  argument(n: number): number {
    const value = this.given[n] ?? 0;
    return value < 0 ? value + HIGH * HIGH : value;
  }

  offset(n: number): number {
    return this.given[n] ?? 0;
  }

  int(n: number): number {
    return (this.given[n] ?? 0) | 0;
  }

  uint(n: number): number {
    return (this.given[n] ?? 0) >>> 0;
  }

  get pending(): boolean {
    return this.answer === null;
  }

  respond(value: number): void {
    this.take(value);
  }

  refuse(error: number): void {
    this.take(-error);
  }

  proceed(): void {
    this.take('goes on');
  }

  post(bytes: number): void {
    this.posted = bytes;
  }

  answerWithFile(source: number, at: number, closeOnExec: boolean): number {
    const made = this.addFile(source, at, closeOnExec);
    if (made >= 0) this.take(made);
    return made;
  }

  addFile(source: number, at: number, closeOnExec: boolean): number {
    const made = fcntl(source, closeOnExec ? F_DUPFD_CLOEXEC : F_DUPFD, Math.max(at, 0));
    if (made < 0) return -errno();
    this.made.add(made);
    return made;
  }

  private take(answer: number | 'goes on'): void {
    if (this.answer !== null) throw new Error('a call is answered twice');
    this.answer = answer;
  }
}

export class OwnProgram {
  readonly arch = architecture(process.arch)!;
  readonly call = new NotedCall();
  readonly hardware: Hardware;
  readonly context: CallContext;
  readonly processes: ProcessTable;
  /** Where strings and structs of calls lie. */
  readonly memory = allocateNative(MEMORY_BYTES);
  readonly view = new DataView(this.memory.bytes.buffer);
  /** How often a page may be one that only the program can bring. */
  waits = 0;
  private readonly handlers: readonly ((() => void) | undefined)[];
  private next = 0;

  constructor(devices: string, traps: Traps | null = null) {
    const { arch } = this;
    const call = this.call as unknown as Listener;
    this.hardware = buildHardware({
      spec: machineOfDevices(devices.split(' ').map(parseDevice)),
      kernel: '6.12',
      iopf: 'auto',
      premapPages: 1,
      counters: new Counters(() => 0),
      observer: null,
      incidents: null,
      networks: new Networks(() => 0, null),
      announceFolder: () => {},
      traps: true,
    });
    const tell = (): void => {};
    const unreadable = new Unreadable(tell);
    const guard = { process() {}, noteFork() {} } as unknown as GuardReport;
    this.processes = new ProcessTable({
      architecture: arch,
      memory: this.hardware.memory,
      events: { addProcess: () => {} },
      space: {
        deviceFiles: this.hardware.deviceFiles,
        sharesZeroPage: true,
        taskSize: arch.taskSize,
      },
      guard,
      residentMemory: new ResidentMemory(),
    });
    this.context = callContext({
      call,
      architecture: arch,
      window: { first: 800, end: 864 },
      nodes: this.hardware.nodes,
      processes: this.processes,
      events: {} as EventSet,
      eventfds: new Eventfds(arch, 1024, tell),
      guard,
      log: null,
      failed: new FailedCalls(call, arch.nr.ioctl, new IncidentLog(() => 0, 0), unreadable),
      unreadable,
      pagesMayWait: () => void this.waits++,
      tell,
    });
    this.handlers = handlersOf(this.context, this.hardware, {}, traps);
  }

  /**
   * Makes a call; texts are put into memory. What it returns, the name of its errno, or `goes on`.
   */
  make(name: SystemCall, ...given: readonly (number | string)[]): number | string {
    const { call } = this;
    call.nr = this.arch.nr[name]!;
    call.given = given.map((each) => (typeof each === 'string' ? this.text(each) : each));
    call.answer = null;
    call.posted = -1;
    try {
      this.handlers[call.nr]!();
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      call.refuse(error.errno);
    }
    const answer = call.answer as number | 'goes on' | null;
    if (answer === null) throw new Error(`${name} has no answer`);
    return typeof answer === 'number' && answer < 0 ? errnoName(-answer) : answer;
  }

  /** The address of a text, with its end. */
  text(text: string): number {
    const bytes = Buffer.from(`${text}\0`, 'latin1');
    const at = this.room(bytes.length);
    this.memory.bytes.set(bytes, at);
    return this.memory.address + at;
  }

  /** Where in `memory` so many bytes are free, all zero. */
  room(bytes: number): number {
    const at = this.next;
    this.next += Math.ceil(bytes / 16) * 16;
    this.memory.bytes.fill(0, at, this.next);
    return at;
  }

  /** Between two tests: nothing is open, and no process known. */
  reset(): void {
    this.next = 0;
    this.waits = 0;
    for (const fd of this.call.made) close(fd);
    this.call.made.clear();
    this.context.files.reap();
    this.processes.exitedPid(process.pid);
  }

  end(): void {
    this.reset();
    this.hardware.shadow.remove();
    munmap(this.memory.address, MEMORY_BYTES);
  }

  /** What the kernel says of a descriptor: 1 where exec closes it. */
  closesOnExec(fd: number): number {
    return syscall(this.arch.nr.fcntl, fd, 1, 0, 0, 0, 0);
  }
}
