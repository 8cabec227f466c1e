/** What a round of the soak runs: drawn from its seed alone. */
import { Random } from '../../src/abi/random.js';
import { iopf, repository } from '../exec/run-iopf.js';

/** What rounds find prepared. */
export interface Prepared {
  /** The compiled test/soak/programs, or null where there is no compiler. */
  readonly hostile: string | null;
  /** A recording by `--record` of a run with DMA, or null where there is none. */
  readonly recording: Buffer | null;
  readonly isRoot: boolean;
}

export interface Round {
  readonly kind: Kind;
  /** Shell text that ends in `exec "$@"` or the like; the rest are its words. */
  readonly shell: string;
  readonly words: readonly string[];
  /** How long it may work on purpose, in ms. */
  readonly workMs: number;
  /** Exit codes that are right, or null where any is. A signal N is 128 + N. */
  readonly codes: readonly number[] | null;
  /** What stdout must be where the exit code is 7. */
  readonly says: string | null;
  readonly kill: { readonly signal: NodeJS.Signals; readonly afterMs: number } | null;
  /** Files that the round finds in its folder. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

export type Kind = 'hostile' | 'killed' | 'full disk' | 'damaged recording' | 'stranger';
/** A kind is drawn as often as it stands here. */
const often: readonly Kind[] = [
  ...Array<Kind>(8).fill('hostile'),
  ...Array<Kind>(5).fill('killed'),
  ...Array<Kind>(2).fill('full disk'),
  ...Array<Kind>(3).fill('damaged recording'),
  ...Array<Kind>(2).fill('stranger'),
];
/** What may go wrong on purpose, so that the soak is seen to find it. */
export type Canary = 'byte' | 'hang' | 'process' | 'file' | 'descriptors' | 'stack';
export const canaries: readonly Canary[] = [
  'byte',
  'hang',
  'process',
  'file',
  'descriptors',
  'stack',
];

const EXEC = 'exec "$@"';
/** The exit code of an exec that began nothing. */
const REFUSED = 125;
const registers = `${repository}/examples/registers/registers.yaml`;
export const devices = [
  ...['--device', 'edu@0000:00:04.0'],
  ...['--device', 'nvme@0000:02:00.0,size=16M,cmb=64K'],
  ...['--device', `recorded@0000:05:00.0,file=${registers}`],
];
const command = (...words: string[]): string[] => [process.execPath, iopf, ...words];

/** The seed of a round, so that neighbours have nothing in common. */
export const roundSeed = (seed: number, index: number): number =>
  new Random((seed ^ Math.imul(index + 1, 0x9e3779b1)) >>> 0).below(2 ** 31);

/** The round of this seed. */
export function drawRound(seed: number, prepared: Prepared): Round {
  const random = new Random(seed);
  let kind = pick(random, often);
  if (prepared.hostile === null && kind !== 'stranger') kind = 'damaged recording';
  if (prepared.recording === null && kind === 'damaged recording') kind = 'stranger';
  if (kind === 'hostile') return hostile(random, prepared.hostile!);
  if (kind === 'killed') return killed(random, prepared.hostile!);
  if (kind === 'full disk') return fullDisk(random, prepared);
  if (kind === 'damaged recording') return damaged(random, prepared.recording!);
  return stranger(random, prepared);
}

const pick = <T>(random: Random, list: readonly T[]): T => list[random.below(list.length)]!;
const plain = { kill: null, files: {}, says: null } as const;

/** The hostile program with up to four attacks; which of them can go together. */
function attack(random: Random, hostileProgram: string, ends: boolean): Round {
  const mode = pick(random, ['auto', 'auto', 'auto', 'ask', 'off']);
  const traps = random.below(6) > 0;
  const all = ['memory', 'forks', 'descriptors'];
  if (traps) all.push('nvme', 'registers');
  else all.push('ioctls');
  if (traps && random.below(2) === 0) all[all.indexOf('registers')] = 'ioctls';
  if (mode === 'auto') all.push('userfault'); // else its memory cannot be pinned: EFAULT
  if (ends) all.push('end');
  const attacks = new Set(Array.from({ length: 1 + random.below(4) }, () => pick(random, all)));
  if (random.below(3) === 0) {
    attacks.add('signals');
    // Without SA_RESTART; no call may fail by them, but where nothing traps (docs/limits.md).
    if (traps && random.below(2) === 0) attacks.add('interrupt');
  }
  if (random.below(8) === 0) attacks.add('leader');
  const workMs = 200 + random.below(1200);
  const options = [
    ...['--iopf', mode, '--kernel', pick(random, ['6.1', '6.12', '7.2'])],
    ...['--premap', `${pick(random, [1, 1, 7, 512])}`],
    ...(traps ? [] : ['--traps', 'off']),
    ...(random.below(4) === 0 ? ['--record', 'recording'] : []),
    ...(random.below(4) === 0 ? ['--trace', pick(random, ['trace.txt', 'trace.json'])] : []),
    ...(random.below(6) === 0 ? ['--html', 'run.html'] : []),
    ...(mode !== 'off' && random.below(6) === 0 ? ['--reclaim-scan', '5'] : []),
    ...(random.below(3) === 0 ? ['--quiet'] : ['--json', 'run.json']),
  ];
  return {
    ...plain,
    kind: 'hostile',
    shell: EXEC,
    words: [
      ...command('exec', ...options, ...devices, '--', hostileProgram),
      ...[`${random.below(2 ** 31)}`, `${workMs}`, ...attacks],
    ],
    workMs,
    codes: attacks.has('end') ? [7, 9, 128 + 6, 128 + 9, 128 + 11] : [7],
    says: 'ok\n',
  };
}

const hostile = (random: Random, program: string): Round =>
  attack(random, program, random.below(4) === 0);

function killed(random: Random, program: string): Round {
  const round = attack(random, program, false);
  return {
    ...round,
    kind: 'killed',
    codes: null,
    kill: {
      signal: pick(random, ['SIGKILL', 'SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']),
      afterMs: random.below(round.workMs + 1200),
    },
  };
}

/** `full/` has no more than some KiB; what a user names lies there. */
function fullDisk(random: Random, { hostile: program, isRoot }: Prepared): Round {
  const sizeKib = 4 * (1 + random.below(30));
  const options = pick(random, [
    ['--record', 'full/recording'],
    ['--trace', 'full/trace.txt'],
    ['--trace', 'full/trace.json'],
    ['--html', 'full/run.html'],
    ['--json', 'full/run.json', '--record', 'full/recording'],
    ['--device', 'nvme@0000:06:00.0,size=1M,file=full/disk'],
  ]);
  // Only root mounts; a file-size limit is what others can have.
  const small = `mount -t tmpfs -o size=${sizeKib}k none full`;
  const workMs = 300 + random.below(500);
  return {
    ...plain,
    kind: 'full disk',
    shell: isRoot
      ? `mkdir full; exec unshare -m sh -c '${small} && exec "$@"' sh "$@"`
      : `mkdir full; ulimit -f ${sizeKib * 2}; ${EXEC}`,
    words: [
      ...command('exec', ...options, ...devices, '--', program!, `${random.below(2 ** 31)}`),
      ...[`${workMs}`, 'memory', 'descriptors'],
    ],
    workMs,
    codes: [REFUSED, 7],
    says: 'ok\n',
  };
}

/** A recording with bytes changed, cut, doubled or left out. */
function damaged(random: Random, recording: Buffer): Round {
  let bytes: Buffer = Buffer.from(recording);
  for (let times = 1 + random.below(5); times > 0; times--) {
    const at = random.below(random.below(2) === 0 ? Math.min(bytes.length, 512) : bytes.length);
    const length = 1 + random.below(random.below(2) === 0 ? 8 : 4096);
    const way = random.below(6);
    if (way === 0) bytes = bytes.subarray(0, at);
    else if (way === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    else if (way === 2) bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    else if (way === 3) bytes.fill(random.below(256), at, Math.min(at + length, bytes.length));
    else if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << random.below(8));
  }
  const words = pick(random, [
    ['trace', 'damaged'],
    ['trace', '--check', 'damaged'],
    ['trace', '--export', 'chrome', '--output', 'out.json', 'damaged'],
    ['trace', '--export', 'kernel', '--output', 'out.txt', 'damaged'],
    ['compare', 'damaged', '--json', 'out.json'],
  ]);
  return {
    ...plain,
    kind: 'damaged recording',
    shell: EXEC,
    words: command(...words),
    workMs: 10_000,
    codes: [0, 1, 2],
    files: { damaged: bytes },
  };
}

/** Command lines, environments and limits as a stranger has them: shell, exit code. */
const strange: readonly (readonly [shell: string, codes: readonly number[]])[] = [
  ['exec "$@" <&-', [0]],
  ['exec "$@" >&-', [0, 1]],
  ['exec "$@" 2>&-', [0]],
  ['exec "$@" <&- >&- 2>&-', [0, 1]],
  ['"$@" | head -1', [0]],
  ['"$@" | true', [0]],
  ['exec "$@" >/dev/full', [0, 1]],
  ['exec "$@" 2>/dev/full', [0]],
  ['ulimit -n 80; exec "$@"', [REFUSED]],
  ['ulimit -n 256; exec "$@"', [0]],
  ['ulimit -s 512; exec "$@"', [0]],
  ['ulimit -c 0; ulimit -l 0; exec "$@"', [0]],
  ['ulimit -f 16; exec "$@"', [0, REFUSED]],
  ['mkdir gone; cd gone; rmdir ../gone; exec "$@"', [REFUSED]],
  ['unset HOME PATH; exec "$@"', [0]],
  ['exec env -i TMPDIR="$TMPDIR" "$@"', [0]],
  ['TMPDIR=/nonexistent exec "$@"', [REFUSED]],
  ['TMPDIR=/dev/null exec "$@"', [REFUSED]],
  ['LC_ALL=xx_YY.nonsense LANG=$(printf "\\377") exec "$@"', [0]],
  ['exec timeout 60 "$@"', [0]],
  ['exec nohup "$@"', [0]],
  ['exec setsid -w "$@"', [0]],
  ['exec nice -n 19 "$@"', [0]],
  ['trap "" PIPE INT TERM HUP CHLD; exec "$@"', [0]],
  ['umask 777; exec "$@"', [0]],
  ['exec "$@" "$(printf "\\377\\376")"', [0]],
  ['exec "$@" "$(head -c 100000 /dev/zero | tr "\\0" x)" ""', [0]],
  ['exec 4<. 5</dev/null 9>/dev/null; exec "$@"', [0]],
];

function stranger(random: Random, { isRoot }: Prepared): Round {
  const unprivileged = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"';
  const [shell, codes] = pick(random, isRoot ? [...strange, [unprivileged, [0]]] : strange);
  return {
    ...plain,
    kind: 'stranger',
    shell,
    words: command('exec', ...devices, '--', '/bin/echo', 'here'),
    workMs: 0,
    codes,
  };
}

/** A round that goes wrong in this way. */
export function plant(canary: Canary, { hostile: program }: Prepared): Round {
  const run = (...words: string[]): string[] =>
    command('exec', '--quiet', ...devices, '--', ...words);
  const round = { ...plain, kind: 'hostile', shell: EXEC, workMs: 0, codes: [7] } as const;
  const ends = run('sh', '-c', 'exit 7');
  if (canary === 'byte')
    return { ...round, words: run(program!, '1', '100', 'canary-byte'), says: 'ok\n' };
  if (canary === 'hang') return { ...round, words: run(program!, '1', '100', 'canary-hang') };
  if (canary === 'descriptors')
    return { ...round, words: run(program!, '1', '3000', 'descriptors', 'canary-descriptors') };
  if (canary === 'process') return { ...round, shell: `sleep 1000 & ${EXEC}`, words: ends };
  if (canary === 'file')
    return { ...round, shell: `mkdir "$TMPDIR/iopf-left"; ${EXEC}`, words: ends };
  return { ...round, shell: `echo "    at serve (engine.js:1:1)" >&2; ${EXEC}`, words: ends };
}
