/**
 * Runs commands in a container of this machine's own root file system, by crun(1), which is what
 * Podman runs too: with the rules of Docker's default profile (docker-rules.json) and its default
 * capabilities, or without rules.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { available, have } from '../../skip.js';
import { repository } from '../run-iopf.js';

export interface ContainerOptions {
  /** Docker's rules are in force. */
  readonly rules: boolean;
  /** Who runs in it; 0 unless given. */
  readonly user?: number;
  readonly noNewPrivileges?: boolean;
  readonly pidsLimit?: number;
  /** RLIMIT_NOFILE, soft and hard. */
  readonly openFiles?: number;
  /** Programs in /tmp can be run, and have room there, unlike with Docker's --tmpfs. */
  readonly roomyTmp?: boolean;
  /** System calls that are denied besides Docker's, with EPERM. */
  readonly denied?: readonly string[];
  /** Whoever starts the container has no privilege: root in it is an ordinary user outside. */
  readonly rootless?: boolean;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where the package, and the folder that the host shares with it, are in the container. */
export const IOPF = '/tmp/iopf';
export const SHARED = '/tmp/shared';

/** What Docker leaves to a container. */
const dockerCapabilities = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
].map((name) => `CAP_${name}`);

/** The ordinary user outside. */
const UNPRIVILEGED = 1000;

interface Rules {
  readonly rules: readonly { errno: 'EPERM' | 'ENOSYS'; calls: readonly string[] }[];
}

const errnos = { EPERM: 1, ENOSYS: 38 };

/** linux.seccomp of an OCI configuration. */
function profile(denied: readonly string[]): object {
  const file = join(repository, 'test/exec/container/docker-rules.json');
  const { rules } = JSON.parse(readFileSync(file, 'utf8')) as Rules;
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [...rules, { errno: 'EPERM' as const, calls: denied }].map(({ errno, calls }) => ({
      names: calls,
      action: 'SCMP_ACT_ERRNO',
      errnoRet: errnos[errno],
    })),
  };
}

/** An OCI configuration (config.json): read-only but for /tmp, no network but the loopback. */
function configuration(
  root: string,
  shared: string,
  command: readonly string[],
  options: ContainerOptions,
): object {
  const user = options.user ?? 0;
  // As Docker has it: another user than root has none in force.
  const granted = user === 0 ? dockerCapabilities : [];
  const mount = (destination: string, type: string, ...more: string[]) => ({
    destination,
    type,
    source: type,
    options: more,
  });
  const bind = (destination: string, source: string, ...more: string[]) => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', ...more],
  });
  const tmp = options.roomyTmp ? [] : ['noexec', 'size=65536k'];
  const id = [{ containerID: 0, hostID: UNPRIVILEGED, size: 1 }];
  return {
    ociVersion: '1.0.0',
    process: {
      user: { uid: user, gid: user },
      args: command,
      env: [`PATH=${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`],
      cwd: '/',
      capabilities: {
        bounding: dockerCapabilities,
        permitted: granted,
        effective: granted,
        inheritable: [],
        ambient: [],
      },
      noNewPrivileges: options.noNewPrivileges ?? false,
      rlimits:
        options.openFiles === undefined
          ? []
          : [{ type: 'RLIMIT_NOFILE', soft: options.openFiles, hard: options.openFiles }],
    },
    root: { path: root, readonly: true },
    mounts: [
      mount('/proc', 'proc'),
      mount('/dev', 'tmpfs', 'nosuid', 'mode=755'),
      mount('/dev/shm', 'tmpfs', 'nosuid', 'nodev', 'mode=1777'),
      mount('/sys', 'sysfs', 'nosuid', 'noexec', 'nodev', 'ro'),
      mount('/tmp', 'tmpfs', 'nosuid', 'nodev', 'mode=1777', ...tmp),
      bind(IOPF, repository, 'ro'),
      bind(SHARED, shared),
    ],
    linux: {
      namespaces: [
        ...['pid', 'network', 'ipc', 'uts', 'mount'],
        ...(options.rootless ? ['user'] : []),
      ].map((type) => ({ type })),
      ...(options.rootless ? { uidMappings: id, gidMappings: id } : {}),
      ...(options.rules ? { seccomp: profile(options.denied ?? []) } : {}),
      ...(options.pidsLimit === undefined
        ? {}
        : { resources: { pids: { limit: options.pidsLimit } } }),
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

/** Whether containers can run here; says why not. */
export function canRunContainers(skipped: string): boolean {
  return (
    available(process.getuid!() === 0, skipped, 'it takes root to start containers') &&
    have('crun', skipped) &&
    have('unshare', skipped) &&
    available(trial().status === 0, skipped, `crun starts none here: ${trial().stderr.trim()}`)
  );
}

let tried: { status: number | null; stderr: string } | null = null;

/** Starts a container that does nothing, once. */
function trial(): { status: number | null; stderr: string } {
  if (tried !== null) return tried;
  const folder = mkdtempSync(join(tmpdir(), 'test-container-'));
  try {
    const [command, ...words] = prepare(folder, folder, ['true'], { rules: true });
    tried = spawnSync(command!, words, { encoding: 'utf8' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return tried;
}

/**
 * Runs a command in a container to its end. `shared`: the folder that is shared with it. `stdio`
 * 'inherit': what it prints is not kept.
 */
export async function runInContainer(
  options: ContainerOptions,
  shared: string,
  command: readonly string[],
  stdio: 'pipe' | 'inherit' = 'pipe',
): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), 'test-container-'));
  try {
    const [file, ...words] = prepare(folder, shared, command, options);
    const child = spawn(file!, words, { stdio: ['ignore', stdio, stdio] });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (text) => {
      stdout += text;
    });
    child.stderr?.on('data', (text) => {
      stderr += text;
    });
    const code = await new Promise<number | null>((done) => child.on('close', done));
    return { code, stdout, stderr };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Writes the bundle and returns the command that runs it: in a mount name space of its own, where
 * the machine's root file system has a second place (crun moves its root, and cannot move ours),
 * and where version 2 of control groups is not beside version 1, which crun refuses.
 */
function prepare(
  folder: string,
  shared: string,
  command: readonly string[],
  options: ContainerOptions,
): string[] {
  const root = join(folder, 'root');
  const state = join(folder, 'state');
  mkdirSync(root);
  mkdirSync(state);
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify(configuration(root, shared, command, options)),
  );
  const groups = options.pidsLimit === undefined ? 'disabled' : 'cgroupfs';
  const crun = `crun --root "$2" --cgroup-manager=${groups} run --bundle "$3" "iopf-test-$$"`;
  const asUser = `chown -R ${UNPRIVILEGED} "$3/state" && chmod 755 "$3" && exec setpriv --reuid ${UNPRIVILEGED} --regid ${UNPRIVILEGED} --clear-groups`;
  const script = [
    'mount --bind / "$1"',
    '! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified',
    `${options.rootless ? asUser : 'exec'} ${crun}`,
  ].join(' && ');
  return ['unshare', '--mount', '--propagation', 'private'].concat([
    'sh',
    '-c',
    script,
    'sh',
    root,
    state,
    folder,
  ]);
}
