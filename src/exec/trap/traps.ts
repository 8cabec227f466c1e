/**
 * Registers that answer: loads and stores of mapped BARs reach the devices. What the other rooms of
 * exec see of it.
 *
 * Pages that are no plain memory are PROT_NONE in the program. An access to one raises SIGSEGV; a
 * handler that was put into the program (injection.ts) makes one system call; the engine does the
 * instruction in the program's place (x64/), and the handler returns behind it.
 */
import { Errno, VfioError } from '../../abi/errno.js';
import type { MappedPart, MmapRequest } from '../../file/file.js';
import { copyFromProcess } from '../../mm/process/remote-memory.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import type { CallContext, FirstLooks } from '../calls/context.js';
import type { Listener } from '../seccomp/listener.js';
import { Errands } from './errands.js';
import { FaultCalls } from './fault-calls.js';
import { Injection } from './injection.js';
import { MappingCalls } from './mapping-calls.js';
import { SignalCalls } from './signal-calls.js';
import { prepareDecoder } from './x64/decode.js';
import { SignalFrame } from './x64/frame.js';

export class Traps {
  readonly first: FirstLooks;
  private readonly injection: Injection;
  private readonly mappings: MappingCalls;
  private readonly faults: FaultCalls;

  /** `functions`: every function of the machine. */
  constructor(
    private readonly context: CallContext,
    private readonly functions: readonly PciFunction[],
  ) {
    const { architecture, call } = context;
    const frame = new SignalFrame();
    const errands = new Errands(call, architecture.nr.tkill);
    const injection = new Injection(call, architecture, context.window);
    const mappings = new MappingCalls(call, architecture, errands);
    const processOf = (tid: number): number => context.processes.processOf(tid);
    const signals = new SignalCalls(call, architecture, errands, frame, processOf);
    const faults = new FaultCalls(context, errands, frame, functions);
    this.injection = injection;
    this.mappings = mappings;
    this.faults = faults;
    const look = (at: () => void) => (): boolean => {
      at();
      return false;
    };
    this.first = {
      tuxcall: () => faults.ask(),
      execve: look(() => injection.expect()),
      execveat: look(() => injection.expect()),
      rt_sigaction: () => signals.action(),
      rt_sigprocmask: () => signals.mask(),
      fork: look(() => signals.fork(false)),
      vfork: look(() => signals.fork(true)),
      clone: look(() => signals.clone(call.uint(0))),
      clone3: look(() => signals.clone(cloneFlags(call))),
      mprotect: () => mappings.protect(),
      pkey_mprotect: () => mappings.protect(),
      mremap: () => mappings.move(),
      munmap: look(() => mappings.unmap(call.argument(0), call.argument(1))),
    };
  }

  /** Accesses to registers that were answered. */
  get count(): number {
    return this.faults.count;
  }

  /** Takes a call that is part of an injection, or begins one; true: it has its answer. Hot. */
  take(): boolean {
    return this.injection.take();
  }

  /**
   * The current call is an mmap of a device file that may be made, and parts of it must trap, or
   * are of other files. True: it has its answer; false: it is made by an errand, with no access to
   * those parts. EINVAL: its process takes no traps.
   */
  map(pciFunction: PciFunction, request: MmapRequest, parts: readonly MappedPart[]): boolean {
    const { mappings, context, injection } = this;
    const { call, refused } = context;
    if (mappings.isOurs) return false;
    const device = this.functions.indexOf(pciFunction);
    const trapped = parts.filter(({ file }) => file === undefined);
    const files = parts.flatMap((part) => (part.file ? [{ ...part, file: part.file }] : []));
    if (!mappings.map({ device, trapped, files })) {
      const reason = `process ${context.caller.enter().pid} takes no traps: ${injection.reason(call.tid)}`;
      refused.note(pciFunction, request.offset, request.length, reason);
      throw new VfioError(Errno.EINVAL);
    }
    // Now, and not at the first access: the program waits for its mapping anyway.
    prepareDecoder();
    return true;
  }

  /** The current call is an mmap that takes away what lies at its address. */
  replaceMapping(): void {
    const { call } = this.context;
    this.mappings.unmap(call.argument(0), call.argument(1));
  }
}

/** The low half of clone3's flags, which are in memory; 0 where they cannot be read. */
function cloneFlags(call: Listener): number {
  const words = new Uint32Array(1);
  copyFromProcess(call.tid, call.argument(0), new Uint8Array(words.buffer));
  return words[0]!;
}
