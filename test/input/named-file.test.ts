import { execFileSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  checkDistinct,
  readBeginning,
  readNamed,
  TEXT_MOST_BYTES,
} from '../../src/input/named-file.js';
import { checkOutput, openOutput, writeOutput } from '../../src/input/output-file.js';
import { packageFile } from '../../src/input/package-file.js';
import { printable, printableLines } from '../../src/input/printable.js';
import { UserError } from '../../src/input/user-error.js';
import { available } from '../skip.js';

const folder = mkdtempSync(join(tmpdir(), 'test-files-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
execFileSync('mkfifo', [at('fifo')]);
writeFileSync(at('a'), 'old');
symlinkSync('a', at('link'));
linkSync(at('a'), at('hard'));

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

describe('what is read', () => {
  test.each([
    ['fifo', 'a pipe'],
    ['.', 'a directory'],
  ])('is a file: %s is refused at once, and nothing waits', (name, kind) => {
    expect(() => readNamed({ what: 'the input', path: at(name) }, 99)).toThrow(
      new UserError(`cannot read the input ${at(name)}: it is ${kind}; a file is needed`),
    );
  });

  test('is a file and no device, which may have no end', () => {
    expect(() => readNamed({ what: 'the input', path: '/dev/zero' }, 99)).toThrow('a device');
  });

  test('has a bound', () => {
    const file = { what: 'a scenario', path: at('a') };
    expect(() => readNamed(file, 2)).toThrow(
      `${at('a')} is too large for a scenario: more than 0 MiB`,
    );
    expect(readNamed(file, 3).toString()).toBe('old');
    writeFileSync(at('large'), '');
    truncateSync(at('large'), 3 * 2 ** 20);
    expect(() => readNamed({ ...file, path: at('large') }, 2.5 * 2 ** 20)).toThrow('than 2 MiB');
    truncateSync(at('large'), TEXT_MOST_BYTES + 1);
    expect(() => readNamed({ ...file, path: at('large') }, TEXT_MOST_BYTES)).toThrow('than 4 MiB');
    // It says that it is empty.
    const version = { what: 'a scenario', path: '/proc/version' };
    const text = readFileSync('/proc/version', 'utf8');
    expect(readNamed(version, 9999).toString()).toBe(text);
    expect(() => readNamed(version, text.length)).toThrow('is too large');
    expect(readNamed(version, text.length + 1).toString()).toBe(text);
  });

  test('can be read from its beginning as far as it goes', () => {
    const file = { what: 'a scenario', path: at('a') };
    expect([2, 3, 9].map((most) => readBeginning(file, most).toString())).toEqual([
      'ol',
      'old',
      'old',
    ]);
    // Which a file of /proc gives a page at a time.
    expect(readBeginning({ ...file, path: '/proc/self/smaps' }, 20_000)).toHaveLength(20_000);
  });
});

describe('what is written', () => {
  test('takes the old file’s place when it is whole, with its mode, through a link', () => {
    chmodSync(at('a'), 0o600);
    const output = openOutput(at('link'));
    output.put('new');
    expect(readFileSync(at('a'), 'utf8')).toBe('old');
    output.commit();
    expect(readFileSync(at('a'), 'utf8')).toBe('new');
    expect(statSync(at('a')).mode & 0o777).toBe(0o600);
  });

  test('leaves nothing behind where it is given up', () => {
    const before = readdirSync(folder).sort();
    const descriptors = readdirSync('/proc/self/fd').length;
    const output = openOutput(at('b'));
    output.put('half');
    output.discard();
    expect(readdirSync(folder).sort()).toEqual(before);
    // In place, and beside an old file.
    writeOutput('/dev/zero', 'x');
    writeOutput(at('b'), 'x');
    readBeginning({ what: 'the input', path: at('b') }, 1);
    expect(readdirSync('/proc/self/fd')).toHaveLength(descriptors);
    // Nobody executes it.
    expect(statSync(at('b')).mode & 0o111).toBe(0);
    rmSync(at('b'));
  });

  const sysctl = '/proc/sys/kernel';
  const mayWrite = available(
    canWrite(`${sysctl}/hostname`),
    'files that root may not write',
    'this user may not write sysctls',
  );
  // What root may not write either: sysctls that are to be read, and new ones beside them.
  test.skipIf(!mayWrite)(
    'may be there in a folder where nothing new may be; else it is refused before the run',
    () => {
      checkOutput(`${sysctl}/hostname`);
      for (const path of [`${sysctl}/ostype`, `${sysctl}/new-one`])
        expect(() => checkOutput(path)).toThrow(`cannot write ${path}: EACCES`);
    },
  );

  test('leaves nothing behind where its name was taken meanwhile', () => {
    const output = openOutput(at('b'));
    mkdirSync(at('b'));
    expect(() => output.commit()).toThrow(`cannot write ${at('b')}: EISDIR`);
    output.discard();
    expect(readdirSync(folder).filter((name) => name.includes('~'))).toEqual([]);
    rmdirSync(at('b'));
  });

  test('goes into no pipe that nobody may read', () => {
    expect(() => writeOutput(at('fifo'), 'x')).toThrow('it is a pipe; a file is needed');
  });

  test.each(['stdout', 'stderr'])('goes to what %s is, which may be a pipe', (name) => {
    expect(() => checkOutput(`/dev/${name}`)).not.toThrow();
  });

  test('goes to devices as it is', () => {
    writeOutput('/dev/null', 'x');
    expect(() => writeOutput('/dev/full', 'x')).toThrow('cannot write /dev/full: ENOSPC');
    expect(statSync('/dev/full').isCharacterDevice()).toBe(true);
  });
});

describe('a file', () => {
  const json = { what: '--json', path: at('c') };
  test.each([
    ['is input or output, by any of its names', { what: 'the input', path: at('link') }],
    ['is input or output, by a second name', { what: 'the input', path: at('hard') }],
  ])('%s', (_, input) => {
    writeFileSync(at('a'), 'x');
    rmSync(at('hard'));
    linkSync(at('a'), at('hard'));
    const output = { what: '--output', path: at('a') };
    expect(() => checkDistinct([output], [input])).toThrow('which would write over it');
  });

  test('that is not there yet is named once', () => {
    const html = { what: '--html', path: join(folder, 'x', '..', 'c') };
    expect(() => checkDistinct([json, { ...html, path: at('./c') }], [])).toThrow(
      /is named twice, as --json and as --html$/,
    );
  });

  test('may be model and input, but no input twice', () => {
    const input = { what: 'an input', path: at('a') };
    checkDistinct([json], [input, { what: '--model', path: at('a') }]);
    expect(() => checkDistinct([], [input, input])).toThrow('named twice');
  });
});

test('a file of the package is found from anywhere below it', () => {
  const { name } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8'));
  expect(name).toBe('iopf');
});

test('what others wrote does nothing to a terminal, and is one line', () => {
  expect(printable('\x9f\xa0\xff\u0100\u061c')).toBe('\\x9f\xa0\xff\u0100\\u061c');
  expect(printableLines('a\nb\r')).toBe('a\nb\\x0d');
  expect(printable('a\x1b]0;x\x07\n9.9 map\u202e\ttab')).toBe(
    'a\\x1b]0;x\\x07\\x0a9.9 map\\u202e\ttab',
  );
});
