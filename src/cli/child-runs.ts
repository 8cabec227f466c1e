/** Runs in an `iopf exec` of their own, for commands that do many. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import type { RunSummary } from '../exec/run/summary.js';

/** What `--json` of a run wrote; null: nothing ran. */
export function readSummary(path: string): RunSummary | null {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as RunSummary;
  } catch {
    return null;
  }
}

/** The exit code, or 128 + signal. Rejects where it cannot be started. */
function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) =>
      resolve(signal === null ? (code ?? 0) : 128 + constants.signals[signal]),
    );
  });
}

/** A signal that asks to end goes to the runs that are under way, and no other follows. */
export class Stop {
  signal: NodeJS.Signals | null = null;
  private readonly children = new Set<ChildProcess>();
  private readonly handlers = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(
    (signal) =>
      [
        signal,
        () => {
          this.signal = signal;
          // A terminal tells the whole group.
          if (signal !== 'SIGINT') for (const child of this.children) child.kill(signal);
        },
      ] as const,
  );

  constructor() {
    for (const [signal, handler] of this.handlers) process.on(signal, handler);
  }

  /** The child's exit code, once it is over. */
  async over(child: ChildProcess): Promise<number> {
    this.children.add(child);
    try {
      return await exitOf(child);
    } finally {
      this.children.delete(child);
    }
  }

  end(): void {
    for (const [signal, handler] of this.handlers) process.off(signal, handler);
  }
}
