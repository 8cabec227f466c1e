import type { Hardware } from '../machine/hardware.js';
import { openUnbind } from '../machine/unbind.js';
import { ProcFiles } from '../process/proc-files.js';
import type { Traps } from '../trap/traps.js';
import {
  type CallContext,
  type FirstLooks,
  type HandlerTable,
  handlersByNumber,
} from './context.js';
import { DescriptorCalls } from './descriptor-calls.js';
import { DirectoryCalls } from './directory-calls.js';
import { EventfdCalls } from './eventfd-calls.js';
import { FileCalls } from './file-calls.js';
import { LockCalls } from './lock-calls.js';
import { MemoryCalls } from './memory-calls.js';
import { PathArguments } from './path-arguments.js';
import { PathCalls } from './path-calls.js';
import { StatCalls } from './stat-calls.js';

export { type CallContext, callContext, setAside } from './context.js';

/** The handlers of every call that a run answers, by number. */
export function handlersOf(
  context: CallContext,
  { machine, shadow }: Pick<Hardware, 'machine' | 'shadow'>,
  first: FirstLooks = {},
  traps: Traps | null = null,
): HandlerTable {
  const { architecture, call, descriptors, events, files, processes } = context;
  const locks = new LockCalls(context);
  const memory = new MemoryCalls(context, locks);
  const file = new FileCalls(context, memory, locks, traps);
  const paths = new PathArguments(context, shadow);
  const path = new PathCalls(
    context,
    paths,
    (device, found, closeOnExec, name) => file.open(device, found, closeOnExec, name),
    new ProcFiles(processes, files, descriptors),
    () => openUnbind(machine, events),
  );
  return handlersByNumber(
    architecture,
    [
      memory,
      locks,
      path,
      new StatCalls(context, paths),
      new DirectoryCalls(context, paths),
      file,
      new DescriptorCalls(context),
      new EventfdCalls(context),
    ],
    first,
    () => call.proceed(),
  );
}
