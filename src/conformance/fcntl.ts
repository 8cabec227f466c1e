/**
 * fcntl(2) of a replayed process, as far as recordings use it. No visible recording does: the
 * format follows the other calls'.
 */

import { fail } from '../abi/errno.js';
import { O_RDWR } from '../abi/linux.js';
import { isVfio, type Process } from './process.js';
import type { VectorStep } from './vectors.js';

const commands: Readonly<Record<string, number>> = {
  F_DUPFD: 0,
  F_GETFD: 1,
  F_SETFD: 2,
  F_GETFL: 3,
  F_SETFL: 4,
  F_DUPFD_CLOEXEC: 1030,
};
const openedByCalls = new Set(['device', 'fault-queue', 'iommufd-test']);
const O_LARGEFILE = 0x8000;

/** The number of a step's command. */
export function fcntlCommand(step: VectorStep): number {
  return step.cmdNr ?? step.nr ?? commands[step.cmd ?? ''] ?? fail('EINVAL');
}

/** Answers the call. Throws VfioError. */
export function fcntl(process: Process, fd: number, command: number): number {
  const { what } = process.get(fd);
  // Files that calls open are close-on-exec, and without O_LARGEFILE, which open(2) adds.
  const isDevice = isVfio(what) && openedByCalls.has(what.kind);
  switch (command) {
    case commands['F_DUPFD']:
    case commands['F_DUPFD_CLOEXEC']:
      return process.dup(fd);
    case commands['F_GETFD']:
      return isDevice ? 1 : 0;
    case commands['F_GETFL']:
      return isDevice ? O_RDWR : O_RDWR | O_LARGEFILE;
    case commands['F_SETFD']:
    case commands['F_SETFL']:
      return 0;
    default:
      return fail('EINVAL');
  }
}
