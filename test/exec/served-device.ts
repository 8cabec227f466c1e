/** A device of iopf's behind a socket, `iopf serve`, for tests of its clients. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { iopf } from './run-iopf.js';

const LOOK_MS = 10;

export class ServedDevice {
  readonly folder = mkdtempSync(join(tmpdir(), 'test-served-'));
  readonly socket = join(this.folder, 'socket');
  readonly child: ChildProcess;
  /** What the server says. */
  said = '';
  readonly ended: Promise<number | null>;
  private isOver = false;

  /** `kind`: as `iopf serve` takes it. */
  constructor(kind: string, options: readonly string[] = []) {
    this.child = spawn(
      process.execPath,
      [iopf, 'serve', kind, '--socket-path', this.socket, ...options],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.child.stderr!.on('data', (text) => {
      this.said += text;
    });
    this.ended = new Promise((done) =>
      this.child.on('close', (code) => {
        this.isOver = true;
        done(code);
      }),
    );
  }

  /** Returns when it listens. */
  async listening(): Promise<this> {
    while (!existsSync(this.socket)) {
      if (this.isOver) throw new Error(`the server has ended: ${this.said}`);
      await setTimeout(LOOK_MS);
    }
    return this;
  }

  /** `--device` of the client at a PCI address. */
  device(address: string, more = ''): string[] {
    return ['--device', `vfio-user@${address},socket=${this.socket}${more}`];
  }

  /** Ends it as an administrator does. */
  async close(): Promise<void> {
    if (!this.isOver) {
      this.child.kill('SIGCONT');
      this.child.kill('SIGTERM');
    }
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
