/**
 * What /proc shows of a process that uses VFIO, where the host's answer would show that VFIO is
 * emulated.
 */
import { readFileSync } from 'node:fs';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { Descriptors } from './descriptors.js';
import type { OpenFiles } from './open-files.js';
import type { Process, ProcessTable } from './process.js';

const PATH = /^\/proc\/(self|thread-self|\d+)\/(status|fd\/(\d+))$/;
const ACCOUNTS = /^(VmLck|VmPin):\s+(\d+) kB$/gm;
/** Width of the numbers in `status`. */
const DIGITS = 8;

export class ProcFiles {
  constructor(
    private readonly processes: ProcessTable,
    private readonly files: OpenFiles,
    private readonly descriptors: Descriptors,
  ) {}

  /**
   * The text of a `status` file with what VFIO has locked and pinned added (VmLck, VmPin); null:
   * the host's is right.
   */
  status(path: string, tid: number): string | null {
    const match = PATH.exec(path);
    if (match === null || match[2] !== 'status') return null;
    const process = this.process(match[1]!, tid);
    if (process === null) return null;
    this.files.reap(); // what was closed is accounted no more
    const { accountedPages, pinnedPages } = process.space;
    if (accountedPages === 0 && pinnedPages === 0) return null;
    try {
      return readFileSync(`/proc/${process.task}/status`, 'latin1').replace(
        ACCOUNTS,
        (_, name: string, host: string) => {
          const added = (name === 'VmLck' ? accountedPages : pinnedPages) * (PAGE_SIZE / 1024);
          return `${name}:\t${`${Number(host) + added}`.padStart(DIGITS)} kB`;
        },
      );
    } catch {
      return null; // It has exited; the kernel says so.
    }
  }

  /** Where a link below `fd` leads if it is a VFIO file; null: the host's is right. */
  link(path: string, tid: number): string | null {
    const match = PATH.exec(path);
    if (match?.[3] === undefined) return null;
    const process = this.process(match[1]!, tid);
    if (process === null) return null;
    const opened = this.descriptors.lookUp(process, Number(match[3]));
    return opened === null || opened === 'other' ? null : opened.file.name;
  }

  private process(name: string, tid: number): Process | null {
    return /\d/.test(name) ? this.processes.withPid(Number(name)) : this.processes.known(tid);
  }
}
