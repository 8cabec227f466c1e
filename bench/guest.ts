/**
 * How long a Linux guest with our nvme takes from the start of `iopf exec` to its shell, with I/O
 * page faults and without.
 */
import { readFileSync } from 'node:fs';
import { Guest, guestKernel } from '../test/exec/guest.js';
import { median } from './figures.js';

const NVME = '0000:02:00.0';
const MEMORY_MIB = 1024;

/** USER_HZ, in which /proc counts processor time. */
const TICKS_PER_SECOND = 100;

interface Boot {
  readonly seconds: number;
  /** Of processors, user and system, of QEMU and iopf. */
  readonly processorSeconds: number;
  /** Resident memory of QEMU at the shell. */
  readonly residentBytes: number;
  readonly pinnedBytes: number;
  /** From a SIGKILL of QEMU to the end of iopf. */
  readonly endMs: number;
}

function processorSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Of the process itself, utime and stime (proc(5), fields 14 and 15).
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

async function boot(kernel: string, mode: string): Promise<Boot> {
  const began = performance.now();
  const guest = await Guest.boot({
    kernel,
    memoryMib: MEMORY_MIB,
    iopf: ['--iopf', mode, '--device', `nvme@${NVME},size=64M`],
    devices: { [NVME]: '' },
  });
  try {
    const seconds = (performance.now() - began) / 1000;
    const processor = processorSeconds(guest.processes());
    const { residentBytes } = guest;
    const killed = performance.now();
    process.kill(guest.qemuPid, 'SIGKILL');
    const { summary, stderr } = await guest.ended;
    const endMs = performance.now() - killed;
    if (!summary) throw new Error(stderr);
    return {
      seconds,
      processorSeconds: processor,
      residentBytes,
      pinnedBytes: summary.pinnedBytesPeak,
      endMs,
    };
  } finally {
    await guest.dispose();
  }
}

export async function benchGuest(rounds: number): Promise<void> {
  const kernel = guestKernel();
  if (kernel === null) return;
  const boots: Record<'auto' | 'off', Boot[]> = { auto: [], off: [] };
  for (let round = 0; round < rounds; round++) {
    // Who goes first changes, so that what a boot leaves in the host's caches favours neither.
    const order = round % 2 === 0 ? (['auto', 'off'] as const) : (['off', 'auto'] as const);
    for (const mode of order) boots[mode].push(await boot(kernel, mode));
  }
  console.log(
    `\nboot of a Linux guest of ${MEMORY_MIB} MiB in QEMU (TCG), median of ${rounds} pairs`,
  );
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const of = (mode: 'auto' | 'off', figure: 'seconds' | 'processorSeconds'): string =>
    median(boots[mode].map((each) => each[figure])).toFixed(2);
  for (const mode of ['auto', 'off'] as const) {
    const { residentBytes, pinnedBytes } = boots[mode][0]!;
    console.log(
      `  --iopf ${mode.padEnd(5)} ${of(mode, 'seconds')} s, ${of(mode, 'processorSeconds')} s of processors   ` +
        `QEMU resident ${mib(residentBytes)}, pinned ${mib(pinnedBytes)}`,
    );
  }
  const ratio = (figure: 'seconds' | 'processorSeconds'): string =>
    median(boots.auto.map((each, round) => each[figure] / boots.off[round]![figure])).toFixed(3);
  console.log(
    `  auto / off    ${ratio('seconds')}, processors ${ratio('processorSeconds')} (medians of the pairs' ratios)`,
  );
  const ends = [...boots.auto, ...boots.off].map(({ endMs }) => endMs);
  console.log(
    `  iopf ends ${median(ends).toFixed(0)} ms after a SIGKILL of QEMU (at most ${Math.max(...ends).toFixed(0)} ms)`,
  );
}
