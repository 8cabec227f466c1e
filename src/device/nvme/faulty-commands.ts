/** Commands with faults on purpose: what the arbiter has in place of those that carry them out. */
import type { DmaList } from '../dma-list.js';
import { CommandFault, type CommandFaults } from '../faults.js';
import type { AdminCommands } from './admin-commands.js';
import type { AdminExecutor, IoExecutor } from './arbiter.js';
import type { Batch } from './batch.js';
import { Sqe } from './command.js';
import type { IoCommands } from './io-commands.js';
import { LateCompletions } from './late-completions.js';
import { NO_COMPLETION, Status } from './status.js';

export function faultyCommands(
  faults: CommandFaults,
  batch: Batch,
  admin: AdminCommands,
  io: IoCommands,
): { admin: AdminExecutor; io: IoExecutor; late: LateCompletions } {
  const { events, logs } = admin;
  const opcodeAt = (at: number): number => batch.commands[at + Sqe.HEAD]! & 0xff;
  const late = new LateCompletions(faults);
  /** The command is carried out; of its completion there is something to say. */
  const mark = (fault: number, at: number): void => {
    if (fault === CommandFault.NONE) return;
    if (fault === CommandFault.LATE) batch.withhold(false);
    const ms = fault === CommandFault.LATE ? faults.lateMs : 0;
    late.mark(batch.commands[at + Sqe.HEAD]! >>> 16, ms);
  };
  let adminResult = 0;
  let ioResult = 0;
  return {
    late,
    admin: {
      events,
      logs,
      get result() {
        return adminResult;
      },
      execute(at: number): number {
        const fault = faults.command(0, opcodeAt(at));
        adminResult = 0;
        if (fault > 0) return fault;
        if (fault === CommandFault.NEVER) return NO_COMPLETION;
        if (fault === CommandFault.FATAL) {
          batch.withhold(true);
          return Status.SUCCESS;
        }
        const status = admin.execute(at);
        if (status !== NO_COMPLETION) mark(fault, at);
        adminResult = admin.result;
        return status;
      },
    },
    io: {
      get result() {
        return ioResult;
      },
      prefetch: (at: number, slot: number, lists: DmaList) => io.prefetch(at, slot, lists),
      settle: () => io.settle(),
      execute(at: number, slot: number): number {
        const fault = batch.isFatal
          ? CommandFault.FATAL
          : faults.command(batch.queue, opcodeAt(at));
        ioResult = 0;
        if (fault > 0) return fault;
        if (fault === CommandFault.NEVER || fault === CommandFault.FATAL) {
          batch.withhold(fault === CommandFault.FATAL);
          return Status.SUCCESS;
        }
        mark(fault, at);
        const status = io.execute(at, slot);
        ioResult = io.result;
        return status;
      },
    },
  };
}
