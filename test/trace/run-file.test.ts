/** A file that is written while a run goes on. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { UserError } from '../../src/input/user-error.js';
import { getLimit, RLIMIT_FSIZE, setLimit } from '../../src/mm/process/limits.js';
import { RunFile } from '../../src/trace/run-file.js';

const folder = mkdtempSync(join(tmpdir(), 'test-run-file-'));
const path = join(folder, 'file');
const openFiles = (): number => readdirSync('/proc/self/fd').length;
beforeEach(() => rmSync(path, { force: true }));
afterAll(() => rmSync(folder, { recursive: true }));

const piece = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const content = (): number[] => [...readFileSync(path)];

describe('a file that is there', () => {
  test('stays until the first piece, of one byte as well', () => {
    writeFileSync(path, 'what was there');
    const file = new RunFile('trace', path);
    expect(readFileSync(path, 'latin1')).toBe('what was there');
    file.write(piece(7));
    expect(content()).toEqual([7]);
    file.write(piece(8, 9));
    file.close();
    expect([content(), file.complaint]).toEqual([[7, 8, 9], null]);
  });

  test('is empty after a run that wrote nothing, and as it was where nothing ran', () => {
    writeFileSync(path, 'before');
    new RunFile('trace', path).discard();
    expect(readFileSync(path, 'latin1')).toBe('before');
    new RunFile('trace', path).close();
    expect(content()).toEqual([]);
  });
});

test('a new file goes where nothing ran, unless something was written', () => {
  new RunFile('trace', path).discard();
  expect(readdirSync(folder)).toEqual([]);
  const file = new RunFile('trace', path);
  file.write(piece(1));
  file.discard();
  expect(content()).toEqual([1]);
});

test('a file that takes no more ends at its last whole piece, and is told of once', () => {
  const limit = getLimit(RLIMIT_FSIZE);
  const file = new RunFile('trace', path);
  setLimit(RLIMIT_FSIZE, { soft: 10, hard: limit.hard });
  try {
    file.write(piece(1, 2, 3, 4, 5, 6));
    file.write(piece(7, 8, 9, 10, 11, 12));
  } finally {
    setLimit(RLIMIT_FSIZE, limit);
  }
  file.write(piece(13));
  file.close();
  expect(content()).toEqual([1, 2, 3, 4, 5, 6]);
  expect(file.complaint).toBe(`the trace ${path} is incomplete: EFBIG`);
});

test('no descriptor stays open', () => {
  const before = openFiles();
  for (let at = 0; at < 3; at++) new RunFile('trace', path).close();
  new RunFile('trace', path).discard();
  expect(openFiles()).toBe(before);
});

test('what is no file is refused, with its path', () => {
  expect(() => new RunFile('trace', folder)).toThrow(UserError);
  expect(() => new RunFile('trace', folder)).toThrow(`cannot write the trace ${folder}: EISDIR`);
});
