import type { Architecture, SystemCall } from '../arch/index.js';
import type { FailedCalls } from '../incidents/failed-calls.js';
import type { CallLog } from '../live/call-log.js';
import type { DeviceNodes } from '../machine/device-node.js';
import { CallingProcess } from '../process/calling-process.js';
import { Descriptors } from '../process/descriptors.js';
import type { Eventfds } from '../process/eventfds.js';
import type { GuardReport } from '../process/guard-report.js';
import { OpenFiles } from '../process/open-files.js';
import type { ProcessTable } from '../process/process.js';
import type { Unreadable } from '../process/unreadable.js';
import type { EventSet } from '../seccomp/event-set.js';
import type { DescriptorWindow } from '../seccomp/filter.js';
import type { Listener } from '../seccomp/listener.js';
import { RefusedMappings } from '../trap/refused-mappings.js';

/** What the handlers of system calls are made from. */
export interface CallParts {
  /** The current call: its arguments, and its answer. */
  readonly call: Listener;
  readonly architecture: Architecture;
  readonly window: DescriptorWindow;
  readonly nodes: DeviceNodes;
  readonly processes: ProcessTable;
  readonly events: EventSet;
  readonly eventfds: Eventfds;
  readonly guard: GuardReport;
  /** Where VFIO's calls are noted, if anybody looks. */
  readonly log: CallLog | null;
  readonly failed: FailedCalls;
  readonly unreadable: Unreadable;
  /** From now on a page of the program may be one that only the program can bring. */
  readonly pagesMayWait: () => void;
  /** Tells the user something. */
  readonly tell: (text: string) => void;
}

/** What they share. */
export interface CallContext extends CallParts {
  readonly files: OpenFiles;
  readonly descriptors: Descriptors;
  readonly caller: CallingProcess;
  readonly refused: RefusedMappings;
}

export function callContext(parts: CallParts): CallContext {
  const { architecture, call, eventfds, events, nodes, processes, window } = parts;
  const files = new OpenFiles();
  const descriptors = new Descriptors(call, window, files, nodes);
  const caller = new CallingProcess(call, processes, descriptors, eventfds, events);
  const noTraps = architecture.traps
    ? 'nothing traps with --traps off'
    : `nothing traps on ${architecture.name}, whose instructions are not known here`;
  const refused = new RefusedMappings(parts.tell, noTraps);
  return { ...parts, files, descriptors, caller, refused };
}

/**
 * Puts the current call aside, so that others can be answered that are not on VFIO's files; the
 * function takes it up again.
 */
export function setAside({ call, caller, failed, files, log }: CallContext): () => void {
  const received = call.setAside();
  const takeUpCaller = caller.setAside();
  const { isBusy } = files;
  const { kind } = failed;
  const isPaused = log?.isPaused ?? false;
  files.isBusy = true;
  if (log !== null) log.isPaused = true;
  return () => {
    call.takeUp(received);
    takeUpCaller();
    files.isBusy = isBusy;
    failed.kind = kind;
    if (log !== null) log.isPaused = isPaused;
  };
}

/** Each answers the current call, or throws VfioError for an errno that answers it. */
export type Handlers = Readonly<Partial<Record<SystemCall, () => void>>>;

/** Handlers by system call number. */
export type HandlerTable = readonly ((() => void) | undefined)[];

/** Each looks at the current call first; true: it has its answer, and no handler is asked. */
export type FirstLooks = Readonly<Partial<Record<SystemCall, () => boolean>>>;

/** Calls that the architecture does not have drop out. */
export function handlersByNumber(
  { nr }: Architecture,
  rooms: readonly { readonly handlers: Handlers }[],
  first: FirstLooks,
  proceed: () => void,
): HandlerTable {
  const highest = Math.max(...Object.values(nr));
  const table: ((() => void) | undefined)[] = new Array(highest + 1).fill(undefined);
  for (const { handlers } of rooms)
    for (const [name, handler] of Object.entries(handlers)) {
      const number = nr[name as SystemCall];
      if (number !== undefined) table[number] = handler;
    }
  for (const [name, look] of Object.entries(first)) {
    const number = nr[name as SystemCall];
    if (number === undefined) continue;
    const handler = table[number] ?? proceed;
    table[number] = () => {
      if (!look()) handler();
    };
  }
  return table;
}
