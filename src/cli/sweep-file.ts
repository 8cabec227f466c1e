/** `--resume`: the results of a sweep, a line of JSON each, so that a later one goes on. */
import { appendFileSync, readFileSync, truncateSync } from 'node:fs';
import { UserError } from '../input/user-error.js';
import type { SweepRequest, SweepStart } from './sweep.js';
import type { SweepRun } from './sweep-outcome.js';
import { version } from './version.js';

/** The first line. */
interface Head {
  readonly sweep: string;
  readonly start: SweepStart;
}

export class SweepFile {
  /** Of the sweep that the file is of; null: it is new. */
  readonly start: SweepStart | null = null;
  readonly runs: readonly SweepRun[] = [];
  /** What makes two sweeps the same. */
  private readonly identity: string;

  /** Throws UserError where the file is of another sweep. */
  constructor(
    private readonly path: string,
    words: readonly string[],
    { check, limitSeconds, rules }: SweepRequest,
  ) {
    this.identity = JSON.stringify([version(), words, rules, check, limitSeconds]);
    const { bytes, lines } = readLines(path);
    const [first, ...others] = lines;
    if (first === undefined) return;
    const head = first as Partial<Head>;
    if (head.sweep !== this.identity || head.start === undefined)
      throw new UserError(`--resume ${path}: it has the results of another sweep; name a new file`);
    this.start = head.start;
    this.runs = others as SweepRun[];
    truncateSync(path, bytes);
  }

  /** The run without a fault is over. */
  begin(start: SweepStart): void {
    if (this.start === null) this.append({ sweep: this.identity, start } satisfies Head);
  }

  add(run: SweepRun): void {
    this.append(run);
  }

  private append(line: object): void {
    try {
      appendFileSync(this.path, `${JSON.stringify(line)}\n`);
    } catch (error) {
      throw new UserError(`cannot write --resume ${this.path}: ${(error as Error).message}`);
    }
  }
}

/** Whole lines alone, and their bytes: the last may have been cut. */
function readLines(path: string): { bytes: number; lines: unknown[] } {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { bytes: 0, lines: [] };
    throw new UserError(`cannot read --resume ${path}: ${(error as Error).message}`);
  }
  try {
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const lines = whole.split('\n').slice(0, -1);
    return { bytes: Buffer.byteLength(whole), lines: lines.map((line) => JSON.parse(line)) };
  } catch {
    throw new UserError(`--resume ${path}: it is no file of results; name a new one`);
  }
}
