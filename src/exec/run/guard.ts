/**
 * What stays when iopf is killed with SIGKILL: a small shell that then ends the run's processes and
 * removes its directory.
 *
 * It reads lines (`directory PATH`, `process PID STARTTIME`, `end`) from a pipe that only iopf
 * holds. End of file without `end` means that iopf is gone. It compares start times, because a
 * number may be another process's by then.
 */
import { type ChildProcess, spawn } from 'node:child_process';

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

/** Starts the guard; it listens on `readFd`, the read end of its pipe. */
export function startGuard(readFd: number): ChildProcess {
  const guard = spawn('/bin/sh', ['-c', script, 'iopf-guard'], {
    stdio: [readFd, 'ignore', 'ignore'],
    detached: true, // a terminal's Ctrl-C must not reach it
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/',
  });
  guard.on('error', () => undefined); // without a shell there is no guard, and all else works
  guard.unref();
  return guard;
}
