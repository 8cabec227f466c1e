/** Debian's dpdk-testpmd, spoken to by its command line, which shows no prompt to a pipe. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { RunSummary } from '../../src/exec/run/summary.js';
import { iopf } from './run-iopf.js';

const address = '0000:03:00.0';
/** What EAL takes, and maps for DMA. */
export const MEMORY_MIB = 128;
/** A command that changes nothing, and its answer: what was asked before is done then. */
const NOTHING = 'set burst 32';
const NOTHING_DONE = 'Number of packets per burst set to 32\n';

/** Between two looks at its counters. */
const LOOK_MS = 20;

export class Testpmd {
  private readonly folder = mkdtempSync(join(tmpdir(), 'test-testpmd-'));
  private readonly child: ChildProcess;
  private readonly ended: Promise<number | null>;
  /** What it has said since the last command. */
  private said = '';
  /** Everything that it has written to standard output, and to standard error. */
  output = '';
  errors = '';
  private heard: () => void = () => {};
  private isOver = false;

  /**
   * `device`: options of the card, with a comma in front; `words` are EAL's; `preload`: a library
   * that testpmd gets; `devices`: other cards in the place of that one, `KIND@BDF,key=value…`.
   */
  constructor(
    device: string,
    options: readonly string[],
    testpmd: readonly string[],
    {
      words = [],
      preload = '',
      devices = [`virtio-net@${address}${device}`],
    }: { words?: readonly string[]; preload?: string; devices?: readonly string[] } = {},
  ) {
    const environment = [`LD_PRELOAD=${preload}`, `RUNTIME_DIRECTORY=${this.folder}`];
    const flags = `--no-huge -m ${MEMORY_MIB} --iova-mode=va --no-telemetry -l 0,1`;
    this.child = spawn(
      process.execPath,
      [
        ...[iopf, 'exec', '--json', join(this.folder, 'summary.json'), ...options],
        ...devices.flatMap((each) => ['--device', each]),
        ...[
          ...['--', 'env', ...environment, 'stdbuf', '-oL', 'dpdk-testpmd'],
          ...[
            ...flags.split(' '),
            ...words,
            ...devices.flatMap((each) => ['-a', each.split(/[@,]/)[1]!]),
          ],
        ],
        ...['--', '-i', '--total-num-mbufs=4096', ...testpmd],
      ],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    const hear = (text: string): void => {
      this.said += text;
      this.heard();
    };
    this.child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.output += text;
      hear(text);
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.errors += text;
      hear(text);
    });
    this.ended = new Promise((done) =>
      this.child.on('close', (code) => {
        this.isOver = true;
        this.heard();
        done(code);
      }),
    );
  }

  /** Carries a command out; returns what was said meanwhile. */
  async command(text: string): Promise<string> {
    this.child.stdin!.write(`${text}\n${NOTHING}\n`);
    while (!this.said.includes(NOTHING_DONE)) {
      if (this.isOver) throw new Error(`testpmd has ended: ${this.said}`);
      await new Promise<void>((done) => {
        this.heard = done;
      });
    }
    const [said, ...rest] = this.said.split(NOTHING_DONE);
    this.said = rest.join(NOTHING_DONE);
    return said!;
  }

  /** Packets that a port has received and sent since they were last cleared. */
  async packets(port = 0): Promise<{ received: number; sent: number }> {
    // Asked without a pause it would take a processor from the card.
    await setTimeout(LOOK_MS);
    const text = await this.command(`show port stats ${port}`);
    return {
      received: Number(/RX-packets: (\d+)/.exec(text)![1]),
      sent: Number(/TX-packets: (\d+)/.exec(text)![1]),
    };
  }

  /** Ends it; returns how, and the summary of the run. */
  async quit(): Promise<{ code: number | null; said: string; summary: RunSummary }> {
    this.child.stdin!.end('quit\n');
    const code = await this.ended;
    const summary = JSON.parse(readFileSync(join(this.folder, 'summary.json'), 'utf8'));
    return { code, said: this.said, summary };
  }

  /** After a test, however it ended. */
  async close(): Promise<void> {
    if (!this.isOver) this.child.kill('SIGKILL');
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
