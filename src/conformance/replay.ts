/**
 * Replays a case in a fresh machine and process, and finds where an answer differs from the
 * recording.
 */

import { errnoName, fail, VfioError } from '../abi/errno.js';
import { type KernelVersion, kernelProfile } from '../abi/kernel.js';
import { MAP_PRIVATE, MAP_SHARED } from '../abi/linux.js';
import { GroupIoctl } from '../abi/vfio.js';
import type { VfioFile } from '../file/file.js';
import type { IopfMode } from '../ioas/iopf/mode.js';
import { PAGE_SIZE, READ, WRITE } from '../mm/address-space.js';
import { SimulatedFile } from '../mm/simulated-file.js';
import { SimulatedMemory } from '../mm/simulated-memory.js';
import { memoryEnabled } from '../vfio/config-access.js';
import { functionOf } from '../vfio/device-file.js';
import { placeArgument, takeArgument } from './argument-area.js';
import { accessOf, callIoctl, kilobytes, unknownOperation } from './calls.js';
import { eduCopy } from './edu-copy.js';
import { fcntl, fcntlCommand } from './fcntl.js';
import { type RecordedMachine, recordedMachine } from './machine.js';
import { memoryKind, memoryStep, pagesOf, setUpMemory } from './memory-step.js';
import { seek } from './plain-file.js';
import { EventFile, isVfio, OpenFile, Process } from './process.js';
import { ProcessMemory, pageOf, protection } from './process-memory.js';
import { sysfsRead, sysfsWrite } from './sysfs.js';
import { pollFile, readFile, transferAt, writeFile } from './transfers.js';
import {
  type Answer,
  ARGUMENT_BYTES,
  DEFAULT_LIMIT_BYTES,
  type Difference,
  differenceOf,
  expected,
  fillNames,
  type Success,
  usesTestInterface,
  type VectorCase,
  type VectorFile,
  type VectorMemory,
  type VectorStep,
} from './vectors.js';

/** Where the recording program's text begins: a read-only page of a file. */
const TEXT_PAGE = 0x400;
const MAIN = 'main';

/** Replays one case; an empty list means that every step answered as the kernel did. */
export function replayCase(
  file: VectorFile,
  vectorCase: VectorCase,
  kernel: KernelVersion,
  iopf: IopfMode = 'off',
): Difference[] {
  const replay = new Replay(file, vectorCase, kernel, iopf);
  const differences: Difference[] = [];
  vectorCase.steps.forEach((step, index) => {
    const wanted = expected(step, kernel, usesTestInterface(vectorCase));
    const came = replay.run(step);
    const difference = differenceOf(index, step, wanted, came);
    if (difference !== null) differences.push(difference);
  });
  return differences;
}

class Replay {
  private readonly memory = new SimulatedMemory();
  private readonly recorded: RecordedMachine;
  private readonly processes = new Map<string, Process>();
  /** Descriptor numbers by the recording's names; a child has its parent's. */
  private readonly names = new Map<string, number>();
  /** PCI addresses of device descriptors. */
  private readonly addresses = new Map<string, string>();
  private readonly files = new Map<string, SimulatedFile>();
  private readonly argumentsEnd: number;

  constructor(file: VectorFile, vectorCase: VectorCase, kernel: KernelVersion, iopf: IopfMode) {
    this.recorded = recordedMachine(file, vectorCase, kernel, this.memory, iopf);
    this.argumentsEnd = Number(file.machine.argBuffersEndAt);
    const { setup } = vectorCase;
    const mm = ProcessMemory.create(this.memory, {
      zeroPageUnshared: kernelProfile(kernel).zeroPageUnshared,
      lockLimitPages: Math.floor((setup.rlimitMemlock ?? DEFAULT_LIMIT_BYTES) / PAGE_SIZE),
      ipcLock: setup.capIpcLock,
    });
    this.processes.set(MAIN, new Process(mm));
    mm.mmap(
      pageOf(this.argumentsEnd - ARGUMENT_BYTES),
      pageOf(ARGUMENT_BYTES),
      'anon',
      READ | WRITE,
    );
    mm.space.fillPages(pageOf(this.argumentsEnd - ARGUMENT_BYTES), pageOf(ARGUMENT_BYTES), 0);
    mm.mmap(TEXT_PAGE, 1, 'memfdPrivate', READ);
    for (const memory of setup.memory) this.setUp(mm, memory);
  }

  /** A file behind memory has a descriptor: `_m` and the memory's name. */
  private setUp(mm: ProcessMemory, memory: VectorMemory): void {
    const backing = setUpMemory(mm, memory, this.files);
    if (backing === null) return;
    this.files.set(memory.name, backing);
    const open = new OpenFile(backing);
    this.names.set(`_m${memory.name}`, this.processes.get(MAIN)!.add(open));
  }

  run(step: VectorStep): Partial<Answer> {
    const process = this.processes.get(step.proc ?? MAIN)!;
    const answer = this.answer(process, step);
    return {
      ...answer,
      vmPinKb: kilobytes(process.mm.pinnedPages),
      vmLckKb: kilobytes(process.mm.lockedPages),
    };
  }

  private answer(process: Process, step: VectorStep): Partial<Answer> {
    this.output = undefined;
    try {
      const success = this.operate(process, step);
      // A descriptor's number is its process's business.
      return {
        ret: 0,
        errno: null,
        ...this.outOf(step),
        ...success,
        ...(step.as === undefined ? {} : { ret: 0 }),
      };
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      const noText = step.outText === undefined ? {} : { outText: '' };
      return { ret: -1, errno: errnoName(error.errno), ...noText, ...this.outOf(step) };
    }
  }

  private outOf(step: VectorStep): Partial<Answer> {
    const out = this.output ?? (step.op === 'read' || step.op === 'pread' ? '' : undefined);
    return out === undefined ? {} : { out };
  }

  /** The argument buffer after the call, also where the call failed. */
  private output: string | undefined;

  private operate(process: Process, step: VectorStep): Success {
    switch (step.op) {
      case 'open':
        return this.named(step, this.open(process, this.fill(step.path!), step));
      case 'close':
        process.close(this.fd(step));
        process.closed.add(step.fd!);
        return {};
      case 'dup':
        return this.named(step, process.dup(this.fd(step)));
      case 'fcntl': {
        const ret = fcntl(process, this.fd(step), fcntlCommand(step));
        return step.as ? this.named(step, ret) : { ret };
      }
      case 'eventfd':
        return this.named(step, process.add(new OpenFile(new EventFile())));
      case 'memfd':
        return this.named(
          step,
          process.add(new OpenFile(new SimulatedFile(this.memory, pagesOf(step.size!)))),
        );
      case 'ioctl':
        return this.ioctl(process, step);
      case 'read':
      case 'pread':
        return readFile(process, this.fd(step), step, this.argumentsEnd);
      case 'readAt':
      case 'writeAt':
        return transferAt(process, this.fd(step), step);
      case 'write':
      case 'pwrite':
        return writeFile(process, this.fd(step), step, this.argumentsEnd);
      case 'lseek':
        return { ret: seek(process.get(this.fd(step)), step) };
      case 'poll':
        return pollFile(process, this.fd(step));
      case 'readlinkProcFd':
        // /proc/self/fd has no name of what is not open.
        if (this.fd(step) < 0) fail('ENOENT');
        return { outText: (process.get(this.fd(step)).what as VfioFile).name };
      case 'dropCap':
        if (step.cap === 'CAP_SYS_RESOURCE') process.sysResource = false;
        return {};
      case 'status':
        return {};
      case 'fork':
        this.processes.set(step.as!, process.fork(this.processes.size));
        return {};
      case 'exitProc':
      case 'killProc':
        this.processes.get(step.target!)!.exit();
        return {};
      case 'sysfsWrite':
        sysfsWrite(this.recorded, this.fill(step.path!), this.fill(step.value!));
        return {};
      case 'sysfsRead':
        return { outText: sysfsRead(this.recorded, this.fill(step.path!)) };
      case 'ftruncate': {
        const file = step.fd ? process.get(this.fd(step)).what : this.files.get(step.mem!);
        if (!(file instanceof SimulatedFile)) return fail('EINVAL');
        file.truncate(pagesOf(step.size!));
        return {};
      }
      case 'fallocate': {
        const file = process.get(this.fd(step)).what;
        if (!(file instanceof SimulatedFile)) return fail('EINVAL');
        const PUNCH_HOLE = 2;
        const size = pagesOf(step.size!);
        if ((step.mode! & PUNCH_HOLE) !== 0) file.punch(pageOf(step.offset!), size);
        else file.truncate(Math.max(file.size, size));
        return {};
      }
      case 'ls':
        return {
          outText: [...this.recorded.machine.groupNumbers.map(String).sort(), 'vfio'].join(','),
        };
      case 'deviceCopy': {
        const device = this.recorded.functions.get(this.addresses.get(step.fd!)!)!;
        eduCopy(device, Number(step.srcIova), Number(step.dstIova), step.size!);
        return {};
      }
      default:
        if (step.op === 'mmap' && step.fd) return this.mmap(process, step);
        return memoryStep(process.mm, step) ?? unknownOperation(step);
    }
  }

  private open(process: Process, path: string, step: VectorStep): number {
    const { machine } = this.recorded;
    if (path === '/dev/vfio/') fail('EISDIR');
    const behind = /^\/tmp\/f_(\w+)$/.exec(path)?.[1];
    if (behind !== undefined)
      return process.add(new OpenFile(this.files.get(behind)!, accessOf(step.flags ?? 2)));
    if (path === '/ram/file') return process.add(new OpenFile(new SimulatedFile(this.memory, 1)));
    if (path === '/dev/null') return process.add(new OpenFile('other'));
    if (path === '/dev/vfio/vfio') return process.install(machine.openContainer());
    if (path === '/dev/iommu') return process.install(machine.openIommufd());
    const device = /^\/dev\/vfio\/devices\/(vfio\d+)$/.exec(path)?.[1];
    if (device !== undefined) return this.openCdev(process, device, step);
    const number = /^\/dev\/vfio\/(\d+)$/.exec(path)?.[1] ?? fail('ENOENT');
    return process.install(machine.openGroup(Number(number)));
  }

  /** `v0` names the own file of `d0`. */
  private openCdev(process: Process, name: string, { as, flags = 2 }: VectorStep): number {
    const { vars, machine } = this.recorded;
    const key = Object.keys(vars).find((each) => each.startsWith('v') && vars[each] === name);
    const address = key === undefined ? fail('ENOENT') : vars[key.replace('v', 'd')]!;
    if (as !== undefined) this.addresses.set(as, address);
    return process.install(machine.openDevice(address), accessOf(flags));
  }

  private ioctl(process: Process, step: VectorStep): Success {
    const lookUp = {
      number: (name: string) => this.number(process, name),
      text: (text: string) => this.fill(text),
    };
    const argument = placeArgument(process.mm, this.argumentsEnd, step.arg, lookUp);
    // ioctl(2) takes 32 bits.
    const request = step.nr! % 2 ** 32;
    let ret = -1;
    try {
      const { what } = process.get(this.fd(step));
      ret = isVfio(what) ? callIoctl(process, what, request, argument) : fail('ENOTTY');
    } finally {
      this.nameNew(process, step, argument, ret >= 0);
      this.output = takeArgument(process.mm, step.arg, argument, ret >= 0);
    }
    if (request === GroupIoctl.VFIO_GROUP_GET_DEVICE_FD && step.as) this.nameDevice(step, ret);
    else if (step.as) this.name(process, step.as, ret);
    return { ret };
  }

  /** Descriptors whose numbers a call put into its struct. */
  private nameNew(
    process: Process,
    { arg }: VectorStep,
    address: number,
    succeeded: boolean,
  ): void {
    if (typeof arg !== 'object' || arg.fdOut === undefined || !succeeded) return;
    for (const [offset, name] of arg.fdOut) {
      const bytes = new Uint8Array(4);
      process.mm.copyFrom(address + offset, bytes);
      this.name(process, name, new DataView(bytes.buffer).getInt32(0, true));
    }
  }

  private nameDevice(step: VectorStep, fd: number): void {
    this.name(this.processOf(step), step.as!, fd);
    if (typeof step.arg === 'object' && step.arg.str)
      this.addresses.set(step.as!, this.fill(step.arg.str));
  }

  private mmap(process: Process, step: VectorStep): Success {
    const open = process.get(this.fd(step));
    const isShared = step.kind === 'sharedFd';
    if (open.what instanceof SimulatedFile) {
      const [first, count] = [pageOf(step.addr!), pagesOf(step.size!)];
      const from = pageOf(step.offset ?? 0);
      const kind = memoryKind(step.kind!);
      process.mm.mmap(first, count, kind, protection(step.prot!), open.what, from);
      return {};
    }
    if (!isVfio(open.what)) return fail('ENODEV');
    if ((protection(step.prot!) & ~open.access) !== 0) fail('EACCES');
    open.what.mmap(process, {
      length: step.size!,
      protection: protection(step.prot!),
      flags: isShared ? MAP_SHARED : MAP_PRIVATE,
      offset: Number(step.offset),
    });
    open.references++;
    const pciFunction = functionOf(open.what)!;
    process.mm.mmapDevice(pageOf(step.addr!), pagesOf(step.size!), {
      protection: protection(step.prot!),
      isDecoding: () => memoryEnabled(pciFunction),
      close: () => open.drop(),
    });
    return {};
  }

  private named(step: VectorStep, fd: number): Success {
    if (step.as) this.name(this.processOf(step), step.as, fd);
    return {};
  }

  private processOf({ proc }: VectorStep): Process {
    return this.processes.get(proc ?? MAIN)!;
  }

  private name(process: Process, name: string, fd: number): void {
    this.names.set(name, fd);
    process.closed.delete(name);
  }

  private fd(step: VectorStep): number {
    return this.number(this.processOf(step), step.fd!);
  }

  /** The number of a descriptor; one that was never made, or is closed again, is not open. */
  private number(process: Process, name: string): number {
    return process.closed.has(name) ? -1 : (this.names.get(name) ?? -1);
  }

  /** Puts group numbers and PCI addresses in. */
  private fill(text: string): string {
    return fillNames(text, this.recorded.vars);
  }
}
