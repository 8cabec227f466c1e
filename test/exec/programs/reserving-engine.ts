/**
 * A worker that answers a program's calls as the engine does, but /dev/vfio/vfio is a file of its
 * own, whose ioctls put descriptors into their argument.
 */
import { openSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { Errno, VfioError } from '../../../src/abi/errno.js';
import { architecture } from '../../../src/exec/arch/index.js';
import { callContext, handlersOf, setAside } from '../../../src/exec/calls/index.js';
import { FailedCalls } from '../../../src/exec/incidents/failed-calls.js';
import { IncidentLog } from '../../../src/exec/incidents/incident-log.js';
import { containerNode } from '../../../src/exec/machine/device-node.js';
import { ShadowTree } from '../../../src/exec/machine/shadow.js';
import { Child } from '../../../src/exec/process/child.js';
import { Eventfds } from '../../../src/exec/process/eventfds.js';
import { GuardReport } from '../../../src/exec/process/guard-report.js';
import { ProcessTable } from '../../../src/exec/process/process.js';
import { Unreadable } from '../../../src/exec/process/unreadable.js';
import { ResidentMemory } from '../../../src/exec/reclaim/resident-memory.js';
import { Background } from '../../../src/exec/run/background.js';
import type { Launched } from '../../../src/exec/run/launch.js';
import { LaunchReport } from '../../../src/exec/run/launch-report.js';
import { EventSet } from '../../../src/exec/seccomp/event-set.js';
import { Listener } from '../../../src/exec/seccomp/listener.js';
import { Supervisor } from '../../../src/exec/seccomp/supervisor.js';
import type { Caller } from '../../../src/file/caller.js';
import type { VfioFile } from '../../../src/file/file.js';
import { ProcessMemory } from '../../../src/mm/process/memory.js';
import { ReserveIoctl, window } from './reserve-ioctl.js';

/** Files that are open, ever. */
let [opened, released] = [0, 0];

/** Each ioctl reserves a number for another of these and writes it, before anything else. */
function reservingFile(): VfioFile {
  opened++;
  const refuse = (): never => {
    throw new VfioError(Errno.EINVAL);
  };
  return {
    kind: 'container',
    name: '/dev/vfio/vfio',
    ioctl(caller: Caller, request: number, argument: number): number {
      const file = reservingFile();
      try {
        const reserved = caller.reserve(file);
        if (
          !caller.mm.copyTo(argument, Uint8Array.of(reserved.number & 0xff, reserved.number >> 8))
        ) {
          reserved.cancel();
          throw new VfioError(Errno.EFAULT);
        }
        const between = request === ReserveIoctl.ASIDE ? reserveAside(file) : 7;
        if (request !== ReserveIoctl.CANCEL) reserved.install();
        else {
          reserved.cancel();
          file.release();
        }
        return between;
      } catch (error) {
        file.release();
        throw error;
      }
    },
    read: refuse,
    write: refuse,
    mmap: refuse,
    release() {
      released++;
    },
  };
}

/** The number that another call of the process gets while the current one is put aside. */
function reserveAside(file: VfioFile): number {
  const takeUp = setAside(context);
  context.caller.enter();
  const reserved = context.caller.reserve(file);
  reserved.cancel();
  takeUp();
  return reserved.number;
}

const { launched, signalFd } = workerData as { launched: Launched; signalFd: number };
const arch = architecture(process.arch)!;
const listener = new Listener(new LaunchReport(launched).takeListener(arch));
const events = new EventSet(arch, signalFd, 50);
const child = new Child(launched.pid);
child.watch(arch, events);
const guard = new GuardReport(openSync('/dev/null', 'w'));
const processes = new ProcessTable({
  architecture: arch,
  memory: new ProcessMemory(),
  events,
  space: { deviceFiles: new Map(), sharesZeroPage: false, taskSize: 2 ** 47 },
  guard,
  residentMemory: new ResidentMemory(),
});
const shadow = new ShadowTree();
shadow.device('/dev/vfio/vfio', containerNode);
const unreadable = new Unreadable(() => undefined);
const failed = new FailedCalls(listener, arch.nr.ioctl, new IncidentLog(() => 0), unreadable);
const context = callContext({
  call: listener,
  architecture: arch,
  window,
  nodes: {
    open: reservingFile,
    functionOf: () => null,
    backing: () => {
      throw new Error('no device is open');
    },
  },
  processes,
  events,
  eventfds: new Eventfds(arch, 0, () => undefined),
  guard,
  log: null,
  failed,
  unreadable,
  pagesMayWait: () => undefined,
  tell: () => undefined,
});
new Supervisor({
  listener,
  events,
  handlers: handlersOf(context, { machine: null as never, shadow }),
  processes,
  files: context.files,
  guard,
  program: child,
  signals: { take: () => false },
  nowMs: () => performance.now(),
  housekeeping: () => undefined,
  background: new Background([]),
  log: null,
  failed,
  setAside: () => setAside(context),
}).run();
shadow.remove();
parentPort!.postMessage({ end: child.reap(true), opened, released });
