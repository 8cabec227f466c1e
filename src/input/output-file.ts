/**
 * Files that a command writes when it is done. The new content is written beside the old one and
 * takes its name when it is whole: a command that is refused, killed or out of space leaves the
 * file as it was.
 */
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  openSync,
  realpathSync,
  renameSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { codeOf, notAFile, statNamed } from './named-file.js';
import { UserError } from './user-error.js';

const STANDARD_OUTPUTS = [1, 2];

/** Looks whether a file can be written, and leaves it alone. Throws UserError. */
export function checkOutput(path: string): void {
  try {
    planOf(path);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** Writes a whole file. Throws UserError. */
export function writeOutput(path: string, text: string): void {
  const output = openOutput(path);
  try {
    output.put(text);
    output.commit();
  } catch (error) {
    output.discard();
    throw error;
  }
}

/** A file on its way; ended by `commit` or `discard`. */
export interface OutputFile {
  /** Throws UserError. */
  put(text: string): void;
  /** What was put is the file from now on. Throws UserError. */
  commit(): void;
  /** The file stays as it was, as far as it is one. */
  discard(): void;
}

/** Throws UserError. */
export function openOutput(path: string): OutputFile {
  try {
    const plan = planOf(path);
    if (plan.fd !== null) return inPlace(path, plan.fd, false);
    if (plan.beside === null)
      return inPlace(path, openSync(path, WRITE_FLAGS | constants.O_TRUNC), true);
    return beside(path, plan.target, plan.beside, plan.mode);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** Writes all of it, also where a pipe is full. Throws what write(2) does. */
export function writeAll(fd: number, text: string): void {
  for (let rest = Buffer.from(text); rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN') throw error;
      Atomics.wait(pause, 0, 0, FULL_PIPE_MS);
    }
  }
}

const WRITE_FLAGS = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
const FULL_PIPE_MS = 2;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** How a name is written to. */
interface Plan {
  /** A standard output that it leads to. */
  readonly fd: number | null;
  /** The file, links followed. */
  readonly target: string;
  /** The name of the new content until it is whole; null: only the file itself can be written. */
  readonly beside: string | null;
  /** Of the file that is there. */
  readonly mode: number | null;
}

function planOf(path: string): Plan {
  const stat = statNamed(path);
  const fd = stat === null ? null : descriptorOf(path, stat);
  const plan = { fd, target: path, beside: null, mode: null };
  if (fd !== null) return plan;
  if (stat !== null) {
    // It would wait for a reader.
    if (stat.isDirectory() || stat.isFIFO() || stat.isSocket())
      throw new UserError(`cannot write ${path}: it is ${notAFile(stat)}; a file is needed`);
    accessSync(path, constants.W_OK);
    if (!stat.isFile()) return plan;
  }
  const target = stat === null ? path : realpathSync(path);
  const folder = dirname(target);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    if (stat === null) throw error;
    return plan; // A file that may be written, in a folder that may not.
  }
  return {
    fd,
    target,
    beside: join(folder, `.${basename(target)}.${process.pid}~`),
    mode: stat === null ? null : stat.mode & 0o7777,
  };
}

/** A descriptor of this process that a name leads to: `/dev/stdout`, a shell's `>(…)`; or null. */
function descriptorOf(path: string, { dev, ino }: Stats): number | null {
  const number = /^\/(?:dev|proc\/self)\/fd\/(\d+)$/.exec(path)?.[1];
  if (number !== undefined) return Number(number);
  for (const fd of STANDARD_OUTPUTS) {
    try {
      const stat = fstatSync(fd);
      if (stat.dev === dev && stat.ino === ino) return fd;
    } catch {
      // It is closed.
    }
  }
  return null;
}

function inPlace(path: string, fd: number, closes: boolean): OutputFile {
  const end = (): void => {
    if (closes) closeSync(fd);
  };
  return {
    put: (text) => forUser(path, () => writeAll(fd, text)),
    commit: () => forUser(path, end),
    discard: end,
  };
}

function beside(path: string, target: string, other: string, mode: number | null): OutputFile {
  const fd = openSync(other, WRITE_FLAGS | constants.O_CREAT | constants.O_TRUNC, 0o666);
  let open = true;
  const close = (): void => {
    open = false;
    closeSync(fd);
  };
  return {
    put: (text) => forUser(path, () => writeAll(fd, text)),
    commit: () =>
      forUser(path, () => {
        close();
        if (mode !== null) chmodSync(other, mode);
        renameSync(other, target);
      }),
    discard() {
      try {
        if (open) close();
        unlinkSync(other);
      } catch {
        // It is gone already, or cannot be helped.
      }
    },
  };
}

function forUser(path: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

function cannotWrite(path: string, error: unknown): UserError {
  if (error instanceof UserError) return error;
  return new UserError(`cannot write ${path}: ${codeOf(error)}`);
}
