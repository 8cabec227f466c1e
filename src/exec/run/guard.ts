/**
 * What stays when iopf is killed with SIGKILL: a small shell that then ends the run's processes and
 * removes its directory.
 *
 * It reads lines (`directory PATH`, `process PID STARTTIME`, `end`) from a pipe that only iopf
 * holds. End of file without `end` means that iopf is gone. It compares start times, because a
 * number may be another process's by then.
 */

import { constants } from 'node:fs';
import { AT_FDCWD, F_SETFD } from '../../abi/linux.js';
import type { Architecture } from '../arch/index.js';
import { CallList } from '../process/call-list.js';
import { startChild } from '../process/child.js';

const script = `
directory= processes=
while read -r what value start; do
  case $what in
    directory) directory=$value ;;
    process) processes="$processes $value:$start" ;;
    end) exit 0 ;;
  esac
done
for round in 1 2; do
  for process in $processes; do
    pid=\${process%%:*}
    stat=$(cat /proc/"$pid"/stat 2>/dev/null) || continue
    set -- \${stat##*) }
    [ "\${20}" = "\${process##*:}" ] || continue
    for child in $(cat /proc/"$pid"/task/*/children 2>/dev/null); do
      kill -KILL "$child" 2>/dev/null
    done
    kill -KILL "$pid" 2>/dev/null
  done
done
case $directory in */iopf-*) rm -rf "$directory" ;; esac
`;

const NOT_RUN = 127;
const CALLS = 16;
const OTHER_BYTES = 256;

/**
 * Starts the guard; it listens on `readFd`, the read end of its pipe. Without a shell there is no
 * guard, and all else works.
 */
export function startGuard(arch: Architecture, readFd: number): void {
  const { nr } = arch;
  const list = new CallList(CALLS, script.length + OTHER_BYTES);
  list.call(nr.setsid); // a terminal's Ctrl-C must not reach it
  list.call(nr.chdir, list.text('/'));
  list.call(nr.dup3, readFd, 0, 0);
  list.call(nr.fcntl, 0, F_SETFD, 0); // it may have been 0 already
  const open = list.call(nr.openat, AT_FDCWD, list.text('/dev/null'), constants.O_RDWR);
  open.storeAt(list.call(nr.dup3, 0, 1, 0).argumentAt(0));
  list.call(nr.dup3, 1, 2, 0);
  const path = list.text('/bin/sh');
  const words = ['sh', '-c', script, 'iopf-guard'].map((word) => list.text(word));
  const environment = list.words(list.text('PATH=/usr/bin:/bin'), 0);
  list.call(nr.execve, path, list.words(...words, 0), environment);
  list.call(nr.exit_group, NOT_RUN);
  startChild(arch, list);
}
