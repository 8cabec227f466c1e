/**
 * A file that is written while a run goes on. What is there already stays until the run has begun;
 * a file that takes no more ends at the last whole piece, and the run goes on without it.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { codeOf, notAFile, statNamed } from '../input/named-file.js';
import { UserError } from '../input/user-error.js';

const { O_WRONLY, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;

export class RunFile {
  /** Errno's name of what ended the writing; null: all was written so far. */
  failure: string | null = null;
  private readonly fd: number;
  private readonly isNew: boolean;
  private readonly isRegular: boolean;
  private begun = false;
  /** Bytes that were written in whole pieces. */
  private length = 0;

  /** @param what how errors call it: `trace`. Throws UserError. */
  constructor(
    private readonly what: string,
    private readonly path: string,
  ) {
    try {
      const there = statNamed(path);
      // A pipe takes what its reader takes, and a run waits for nobody.
      if (there?.isFIFO() === true || there?.isSocket() === true)
        throw new UserError(
          `cannot write the ${what} ${path}: it is ${notAFile(there)}; a file is needed`,
        );
      this.isNew = there === null;
      this.fd = openSync(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0o666);
      this.isRegular = fstatSync(this.fd).isFile();
    } catch (error) {
      if (error instanceof UserError) throw error;
      throw new UserError(`cannot write the ${what} ${path}: ${codeOf(error)}`);
    }
  }

  /** Writes a piece, whole or not at all. */
  write(piece: Uint8Array): void {
    if (this.failure !== null) return;
    try {
      this.begin();
      for (let rest = piece; rest.length > 0; ) rest = rest.subarray(writeSync(this.fd, rest));
      this.length += piece.length;
    } catch (error) {
      this.fail(error);
    }
  }

  /** The run is over. */
  close(): void {
    try {
      if (this.failure === null) this.begin();
      closeSync(this.fd);
    } catch (error) {
      this.failure ??= codeOf(error);
    }
  }

  /** Nothing ran: the file is as it was. */
  discard(): void {
    try {
      closeSync(this.fd);
      if (this.isNew && !this.begun) unlinkSync(this.path);
    } catch {
      // Nothing was written: nothing is lost.
    }
  }

  /** One sentence about what is missing, or null. */
  get complaint(): string | null {
    return this.failure === null
      ? null
      : `the ${this.what} ${this.path} is incomplete: ${this.failure}`;
  }

  private begin(): void {
    if (this.begun) return;
    this.begun = true;
    if (this.isRegular) ftruncateSync(this.fd, 0);
  }

  private fail(error: unknown): void {
    this.failure = codeOf(error);
    try {
      if (this.isRegular) ftruncateSync(this.fd, this.length);
    } catch {
      // It ends in the middle of a piece, which its readers stand.
    }
  }
}
