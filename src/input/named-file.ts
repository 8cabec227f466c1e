/**
 * Files that users name: what they are is looked at before they are opened, so that no FIFO or
 * device makes a command wait; and no command reads and writes one file, or writes one twice.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UserError } from './user-error.js';

/** No text that a person writes is longer. */
export const TEXT_MOST_BYTES = 4 * 2 ** 20;

/** A name that the user gave, and what for: `--json`, `the input`. */
export interface NamedFile {
  readonly what: string;
  readonly path: string;
}

/** What stands in the place of a regular file, in words; null: it is one. */
export function notAFile(stat: Stats): string | null {
  if (stat.isFile()) return null;
  if (stat.isDirectory()) return 'a directory';
  if (stat.isFIFO()) return 'a pipe';
  if (stat.isSocket()) return 'a socket';
  return 'a device';
}

/** Errno's name of what a call on a file threw. */
export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

/** The file as stat(2) sees it; null: there is none. Throws what stat does else. */
export function statNamed(path: string): Stats | null {
  return statSync(path, { throwIfNoEntry: false }) ?? null;
}

/**
 * Opens a regular file for reading; `what` is how errors call it. Never waits. Throws UserError.
 */
function openNamed({ what, path }: NamedFile): { fd: number; size: number } {
  try {
    // Opening alone does something to some devices.
    const kind = notAFile(statSync(path));
    if (kind !== null)
      throw new UserError(`cannot read ${what} ${path}: it is ${kind}; a file is needed`);
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    return { fd, size: fstatSync(fd).size };
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`cannot read ${what} ${path}: ${codeOf(error)}`);
  }
}

/** Up to `most` bytes from the beginning of a file. Throws UserError. */
export function readBeginning(file: NamedFile, most: number): Buffer {
  const { fd } = openNamed(file);
  try {
    const bytes = Buffer.alloc(most);
    let length = 0;
    for (;;) {
      const got = readSync(fd, bytes, length, most - length, length);
      length += got;
      if (got === 0 || length === most) return bytes.subarray(0, length);
    }
  } catch (error) {
    throw new UserError(`cannot read ${file.what} ${file.path}: ${codeOf(error)}`);
  } finally {
    closeSync(fd);
  }
}

/** A whole file of at most `most` bytes. Throws UserError. */
export function readNamed(file: NamedFile, most: number): Buffer {
  const { fd, size } = openNamed(file);
  closeSync(fd);
  const tooMuch = (): UserError =>
    new UserError(
      `${file.path} is too large for ${file.what}: more than ${Math.floor(most / 2 ** 20)} MiB`,
    );
  if (size > most) throw tooMuch();
  // Files of /proc say that they are empty.
  const bytes = readBeginning(file, size === 0 ? most : size);
  if (bytes.length === most && size === 0) throw tooMuch();
  return bytes;
}

/**
 * Throws UserError where an output is an input, or a file is named twice. Devices and pipes may be
 * outputs twice: `--json /dev/stdout --html /dev/null`.
 */
export function checkDistinct(outputs: readonly NamedFile[], inputs: readonly NamedFile[]): void {
  const seen = new Map<string, NamedFile & { readonly isInput: boolean }>();
  const look = ({ what, path }: NamedFile, isInput: boolean): void => {
    const identity = identityOf(path);
    if (identity === null) return;
    const before = seen.get(identity);
    if (before !== undefined && !(isInput && before.isInput && before.what !== what))
      throw new UserError(
        `${path} is named twice, as ${before.what} and as ${what}` +
          (before.isInput && !isInput ? ', which would write over it' : ''),
      );
    seen.set(identity, { what, path, isInput });
  };
  for (const input of inputs) look(input, true);
  for (const output of outputs) look(output, false);
}

/** The same for two names of one file; null: what is there is no file. */
function identityOf(path: string): string | null {
  try {
    const stat = statNamed(path);
    if (stat !== null) return stat.isFile() ? `${stat.dev}:${stat.ino}` : null;
    return `name:${join(realpathSync(dirname(path)), basename(path))}`;
  } catch {
    return `name:${path}`; // What is wrong with it is said where it is opened.
  }
}
