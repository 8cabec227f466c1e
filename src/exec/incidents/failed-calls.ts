import { Errno } from '../../abi/errno.js';
import type { FileKind } from '../live/call-log.js';
import type { Unreadable } from '../process/unreadable.js';
import type { Listener } from '../seccomp/listener.js';
import type { IncidentLog } from './incident-log.js';

/** Counts the calls on VFIO's files that fail. */
export class FailedCalls {
  /** The sort of file that the current call is about; null: none of VFIO's, as far as is known. */
  kind: FileKind | null = null;

  constructor(
    private readonly call: Listener,
    private readonly ioctl: number,
    private readonly incidents: IncidentLog,
    private readonly unreadable: Unreadable,
  ) {}

  begin(): void {
    this.kind = null;
  }

  /** The current call has been answered. */
  end(): void {
    const { call, kind } = this;
    if (kind === null || !(call.outcome < 0)) return;
    const request = call.nr === this.ioctl ? call.uint(1) : 0;
    if (call.outcome === -Errno.EFAULT) this.unreadable.suspect(call.tid);
    this.incidents.callFailed(kind, call.nr, request, -call.outcome);
  }
}
