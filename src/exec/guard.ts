/**
 * What stays when iopf is killed with SIGKILL: a small shell that then ends the run's processes and removes its directory.
 *
 * It reads lines (`directory PATH`, `process PID`, `end`) from a pipe that only we hold. End of file without `end` means that
 * we are gone. It kills only processes that run under a seccomp filter, because a number may be another's by then.
 */
import { type ChildProcess, spawn } from 'node:child_process';

const script = `
directory= processes=
while read -r what value; do
  case $what in
    directory) directory=$value ;;
    process) processes="$processes $value" ;;
    end) exit 0 ;;
  esac
done
for round in 1 2; do
  for process in $processes; do
    children=$(cat /proc/"$process"/task/*/children 2>/dev/null)
    for victim in $children $process; do
      grep -q '^Seccomp:[^0-9]*2' /proc/"$victim"/status 2>/dev/null && kill -KILL "$victim" 2>/dev/null
    done
    processes="$processes $children"
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
