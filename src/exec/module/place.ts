/** Where in an author's files an error comes from. */
import { dirname, relative } from 'node:path';
import { packageFile } from '../../input/package-file.js';

/** `ring.ts:24`; null: in no file of the module's folder. */
export function placeOf(error: unknown, module: string): string | null {
  const { message = '', stack = '' } = (error ?? {}) as Partial<Error>;
  // A parser has no frames there, and says the place in its message.
  for (const [, file, line] of `${stack}\n${message}`.matchAll(/(\/[^\s():]+):(\d+):\d+/g))
    if (isOf(file!, module)) return shownPlace(file!, Number(line));
  return null;
}

/** Whether a file is the author's: beside the module or below, and nobody else's package. */
export function isOf(file: string, module: string): boolean {
  const folder = `${dirname(module)}/`;
  if (!file.startsWith(folder) || file.slice(folder.length).includes('node_modules/')) return false;
  return !['dist/bundle/', 'dist/src/', 'src/'].some((own) => file.startsWith(packageFile(own)));
}

export function shownPlace(file: string, line: number): string {
  return `${shownFile(file)}:${line}`;
}

/** As the user would type it. */
export function shownFile(file: string): string {
  const path = relative(process.cwd(), file);
  return path.startsWith('../../') ? file : path;
}

/** What was thrown, in a line. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error) && typeof (error as Error)?.message !== 'string')
    return `throws ${String(error)}`;
  const { message, name } = error as Error;
  const [first = ''] = message.replace(/^ParseError: /, 'syntax error: ').split('\n');
  const isPlain = name === 'Error' || message.startsWith('ParseError');
  return isPlain ? first.trim() : `${name}: ${first.trim()}`;
}
