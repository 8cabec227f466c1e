/**
 * A Linux guest in Debian's unmodified QEMU under `iopf exec`, with devices of ours passed through
 * (vfio-pci), or in QEMU alone. Emulated (TCG), so that no KVM is needed and every machine does the
 * same. Its console is a shell that runs what a test types; its monitor speaks QMP.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { RunSummary } from '../../src/exec/run/summary.js';
import { available, have } from '../skip.js';
import { iopf, program } from './run-iopf.js';

const QEMU = 'qemu-system-x86_64';

/** How long a command, or the boot of a guest, may take on a busy machine. */
const PATIENCE_MS = 120_000;

/**
 * A kernel with nvme and ext4 built in, such as Debian's linux-image-cloud-amd64; null where there
 * is none.
 */
export function guestKernel(): string | null {
  const installed = existsSync('/boot')
    ? readdirSync('/boot').filter((name) => /^vmlinuz-.*cloud/.test(name))
    : [];
  const kernel =
    process.env['IOPF_GUEST_KERNEL'] ??
    (installed[0] === undefined ? null : `/boot/${installed[0]}`);
  available(kernel !== null, 'a guest', 'no /boot/vmlinuz-*cloud*; IOPF_GUEST_KERNEL is not set');
  const tools = ['qemu-system-x86_64', 'busybox', 'cpio'].every((command) =>
    have(command, 'a guest'),
  );
  return tools ? kernel : null;
}

/**
 * The command of a QEMU that knows iommufd (since 9.0): the one in IOPF_QEMU, where a package of
 * Debian's was unpacked, or the installed one; null where there is none.
 */
export function qemuWithIommufd(): readonly string[] | null {
  const folder = process.env['IOPF_QEMU'];
  const roms = ['-L', `${folder}/usr/share/qemu`, '-L', '/usr/share/seabios'];
  const command =
    folder === undefined ? [QEMU] : [join(folder, 'usr/bin/qemu-system-x86_64'), ...roms];
  const { stdout } = spawnSync(command[0]!, ['-object', 'help'], { encoding: 'utf8' });
  const why = 'QEMU has no -object iommufd; IOPF_QEMU is not set';
  return available(`${stdout}`.includes('iommufd'), 'a guest over iommufd', why) ? command : null;
}

/** The command of a QEMU that is a client of vfio-user (since 10.1); null where there is none. */
export function qemuWithVfioUser(skipped: string): readonly string[] | null {
  const command = process.env['IOPF_QEMU_VFIO_USER'] ?? QEMU;
  const { stdout } = spawnSync(command, ['-device', 'vfio-user-pci,help'], { encoding: 'utf8' });
  const why = 'QEMU has no vfio-user-pci; IOPF_QEMU_VFIO_USER is not set';
  return available(`${stdout}`.includes('socket'), skipped, why) ? [command] : null;
}

/** Runs each line that comes over the console and says its exit code behind it. */
const init = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
stty -echo -onlcr
echo; echo '<up>'
while read -r line; do eval "$line" 2>&1; echo "<exit $?>"; done
`;

function makeInitrd(folder: string, files: Readonly<Record<string, Uint8Array>>): string {
  const root = join(folder, 'root');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'mnt', 'tmp'])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  writeFileSync(join(root, 'init'), init);
  chmodSync(join(root, 'init'), 0o755);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content, { mode: 0o755 });
  }
  const path = join(folder, 'initrd');
  execFileSync('sh', ['-c', `find . | cpio -o -H newc --quiet > ${path}`], { cwd: root });
  return path;
}

export interface GuestOptions {
  /** Of `iopf exec`: devices, mode. Absent: QEMU runs by itself. */
  readonly iopf?: readonly string[];
  /**
   * PCI addresses that are passed through, each with what `-device vfio-pci` gets besides
   * (`,id=…`).
   */
  readonly devices?: Readonly<Record<string, string>>;
  readonly kernel: string;
  readonly memoryMib?: number;
  /** What the guest finds in its root directory. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** A line for the shell that runs beside QEMU, also under iopf. */
  readonly beside?: string;
  /** Absent: the installed QEMU. */
  readonly command?: readonly string[];
  /** What else QEMU is told. */
  readonly qemu?: readonly string[];
  /** What else the guest's kernel is told. */
  readonly append?: string;
}

export interface GuestEnd {
  readonly code: number | null;
  readonly stderr: string;
  /** What `--json` wrote; null where the run had no end of its own. */
  readonly summary: RunSummary | null;
}

/** A guest that has booted. */
export class Guest {
  readonly ended: Promise<GuestEnd>;
  /** All that came over the console. */
  console = '';
  #stderr = '';
  #seen = 0;
  #wake: () => void = () => undefined;
  #monitor: Monitor | null = null;
  #hasEnded = false;
  readonly #child: ChildProcess;

  private constructor(
    readonly folder: string,
    child: ChildProcess,
  ) {
    this.#child = child;
    child.stdout!.setEncoding('latin1').on('data', (text: string) => {
      this.console += text;
      this.#wake();
    });
    child.stderr!.on('data', (text) => {
      this.#stderr += text;
    });
    this.ended = new Promise((done) => {
      child.on('close', (code) => {
        this.#hasEnded = true;
        this.#wake();
        this.#monitor?.close();
        const summary = readSummary(join(folder, 'summary.json'));
        done({ code, stderr: this.#stderr, summary });
      });
    });
  }

  /** Boots a guest up to its shell. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const { kernel, memoryMib = 256, files = {}, beside, qemu = [], append = '' } = options;
    const { devices = {}, iopf: words } = options;
    const folder = mkdtempSync(join(tmpdir(), 'guest-'));
    const temporary = join(folder, 'tmp');
    mkdirSync(temporary);
    const passed = Object.entries(devices).flatMap(([address, rest]) => [
      '-device',
      `vfio-pci,host=${address}${rest}`,
    ]);
    const machine = ['-accel', 'tcg', '-m', `${memoryMib}M`, '-nic', 'none', '-display', 'none'];
    const lines = [
      '-serial',
      'stdio',
      '-monitor',
      'none',
      '-qmp',
      `unix:${folder}/qmp,server=on,wait=off`,
    ];
    const boot = ['-kernel', kernel, '-initrd', makeInitrd(folder, files)];
    const told = ['-append', `console=ttyS0 quiet panic=-1 ${append}`];
    const json = ['--json', join(folder, 'summary.json')];
    const run = words ? [process.execPath, iopf, 'exec', ...json, ...words, '--'] : [];
    const { command = [QEMU] } = options;
    const program =
      beside === undefined ? command : ['sh', '-c', `{ ${beside}; } & exec "$0" "$@"`, ...command];
    const all = [...run, ...program, ...machine, ...lines, ...boot, ...told, ...qemu, ...passed];
    const child = spawn(all[0]!, all.slice(1), {
      stdio: 'pipe',
      env: { ...process.env, TMPDIR: temporary },
    });
    const guest = new Guest(folder, child);
    try {
      await guest.untilUp();
    } catch (error) {
      await guest.dispose();
      throw error;
    }
    return guest;
  }

  /** The boot, or the boot after a reset, has come to the shell. */
  async untilUp(): Promise<void> {
    await this.says(/<up>\n/);
  }

  /**
   * Runs a line in the guest's shell and returns what it printed. Throws where its exit code is not
   * 0.
   */
  async run(line: string): Promise<string> {
    const from = this.console.length;
    this.type(line);
    const [, code] = await this.says(/<exit (\d+)>\n/);
    const text = this.console.slice(from, this.#seen);
    const said = text.slice(0, text.lastIndexOf('<exit ')).trim();
    if (code !== '0') throw new Error(`the guest's "${line}" ended with ${code}:\n${said}`);
    return said;
  }

  /** Types a line and does not wait. */
  type(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /**
   * Waits until the console, from where the last wait ended, has this. Throws where the run ends
   * before.
   */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = pattern.exec(this.console.slice(this.#seen));
      if (found) {
        this.#seen += found.index + found[0].length;
        return found;
      }
      const tail = `${this.console.slice(-2000)}\n${this.#stderr}`;
      if (this.#hasEnded) throw new Error(`the guest ended before it said ${pattern}:\n${tail}`);
      if (Date.now() > deadline) throw new Error(`the guest did not say ${pattern}:\n${tail}`);
      await new Promise<void>((woken) => {
        const timer = setTimeout(woken, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          woken();
        };
      });
    }
  }

  /** QEMU's monitor (QMP). */
  async monitor(): Promise<Monitor> {
    this.#monitor ??= await Monitor.open(join(this.folder, 'qmp'));
    return this.#monitor;
  }

  /** Switches the guest off from inside, and waits for the end of the run. */
  async powerOff(): Promise<GuestEnd> {
    this.type('poweroff -f');
    return this.ended;
  }

  /** The process of `iopf exec`. */
  get iopfPid(): number {
    return this.#child.pid!;
  }

  /** The process of QEMU, a child of iopf. */
  get qemuPid(): number {
    const children = readFileSync(`/proc/${this.iopfPid}/task/${this.iopfPid}/children`, 'latin1');
    const pid = children
      .trim()
      .split(' ')
      .find((child) => readFileSync(`/proc/${child}/comm`, 'latin1').startsWith('qemu-system'));
    return Number(pid);
  }

  /** Where QEMU has the guest's memory, if that is on the file of `memoryOnFile`. */
  get memory(): { readonly start: number; readonly bytes: number } {
    const maps = readFileSync(`/proc/${this.qemuPid}/maps`, 'latin1');
    const match = /^([0-9a-f]+)-([0-9a-f]+) rw-s .*guest-memory/m.exec(maps);
    const [start = 0, end = 0] = match!.slice(1).map((address) => Number.parseInt(address, 16));
    return { start, bytes: end - start };
  }

  /** Resident memory of QEMU in bytes. */
  get residentBytes(): number {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(
      readFileSync(`/proc/${this.qemuPid}/status`, 'latin1'),
    );
    return Number(match![1]) * 1024;
  }

  /** Every process of the run, by number. */
  processes(): number[] {
    const found = [this.iopfPid];
    for (const pid of found) {
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
      if (children !== '') found.push(...children.split(' ').map(Number));
    }
    return found;
  }

  /** What the run has in its TMPDIR: nothing, after its end. */
  temporaryFiles(): string[] {
    return readdirSync(join(this.folder, 'tmp'));
  }

  /** Ends the run whatever it does, and removes what we made for it: for a test's clean-up. */
  async dispose(): Promise<void> {
    if (!this.#hasEnded) this.#child.kill('SIGKILL');
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

function readSummary(path: string): RunSummary | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as RunSummary;
  } catch {
    return null;
  }
}

interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

/** A connection to QEMU's monitor. */
export class Monitor {
  readonly #messages: QmpMessage[] = [];
  #wake: () => void = () => undefined;

  private constructor(private readonly socket: Socket) {
    let text = '';
    socket.setEncoding('utf8').on('data', (piece) => {
      text += piece;
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) this.#messages.push(JSON.parse(line) as QmpMessage);
      this.#wake();
    });
    socket.on('error', () => undefined);
  }

  static async open(path: string): Promise<Monitor> {
    const socket = createConnection(path);
    await new Promise((done, failed) => socket.once('connect', done).once('error', failed));
    const monitor = new Monitor(socket);
    await monitor.execute('qmp_capabilities');
    return monitor;
  }

  /** A command's answer; throws what it says against it. */
  async execute(command: string, words: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    this.socket.write(`${JSON.stringify({ execute: command, arguments: words })}\n`);
    const answer = await this.#take(
      ({ return: value, error }) => value !== undefined || error !== undefined,
    );
    if (answer.error) throw new Error(`QEMU's ${command}: ${answer.error.desc}`);
    return answer.return;
  }

  /** Waits for an event, or takes one that came already. */
  async event(name: string): Promise<QmpMessage> {
    return this.#take(({ event }) => event === name);
  }

  close(): void {
    this.socket.destroy();
  }

  async #take(wanted: (message: QmpMessage) => boolean): Promise<QmpMessage> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const index = this.#messages.findIndex(wanted);
      if (index >= 0) return this.#messages.splice(index, 1)[0]!;
      if (Date.now() > deadline) throw new Error(`QEMU's monitor said nothing of it: ${wanted}`);
      await new Promise<void>((woken) => {
        const timer = setTimeout(woken, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          woken();
        };
      });
    }
  }
}

/**
 * For `qemu`: the guest's memory is a shared file, which the host can take away without swap. On a
 * disk, as tmpfs needs swap.
 */
export function memoryOnFile(memoryMib: number, folder = '/var/tmp'): string[] {
  return [
    '-object',
    // A directory: QEMU makes a file in it that has no name any more.
    `memory-backend-file,id=guest-memory,size=${memoryMib}M,mem-path=${folder},share=on`,
    '-machine',
    'memory-backend=guest-memory',
  ];
}

/**
 * The host takes guest memory away, again and again. The returned function ends it and tells how
 * many bytes went.
 */
export function takeMemoryAway(running: Guest): () => Promise<number> {
  const { start, bytes } = running.memory;
  const words = [running.qemuPid, start, bytes].map(String);
  const child = spawn(process.execPath, [program('page-out'), ...words], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (piece) => {
    text += piece;
  });
  const ended = new Promise((done) => child.on('close', done));
  return async () => {
    child.stdin.end();
    await ended;
    return Number(text);
  };
}
