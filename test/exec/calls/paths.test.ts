/** Calls that name files of the shadow by paths. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_RDWR } from '../../../src/abi/linux.js';
import type { SystemCall } from '../../../src/exec/arch/index.js';
import { OwnProgram } from './own-program.js';

const DEVICE = '/sys/bus/pci/devices/0000:02:00.0';
const REAL = '/sys/devices/pci0000:02/0000:02:00.0';
const VENDOR = `${REAL}/vendor`;
const CONTAINER = '/dev/vfio/vfio';
/** Where nothing of this process lies. */
const NOWHERE = 16;

let program: OwnProgram;
let group: string;
beforeAll(() => {
  program = new OwnProgram('nvme@0000:02:00.0,size=1M');
  group = `/dev/vfio/${readlinkOf(`${REAL}/iommu_group`).replace(/.*\//, '')}`;
});
beforeEach(() => program.reset());
afterAll(() => program.end());

function readlinkOf(path: string): string {
  const length = program.make('readlinkat', AT_FDCWD, path, buffer(256), 256);
  return textAt(bufferAt, length as number);
}

let bufferAt = 0;
function buffer(bytes: number): number {
  bufferAt = program.room(bytes);
  return program.memory.address + bufferAt;
}
function textAt(at: number, length: number): string {
  return Buffer.from(program.memory.bytes.subarray(at, at + length)).toString('latin1');
}

/** Opens and closes again; what the file holds, or the errno. */
function contentOf(name: SystemCall, ...given: readonly (number | string)[]): string | number {
  const fd = program.make(name, ...given);
  if (typeof fd === 'string') return fd;
  return readFileSync(`/proc/self/fd/${fd}`, 'latin1');
}
/** A descriptor of a directory, opened by the program. */
function folder(path: string): number {
  const fd = program.make('openat', AT_FDCWD, path, program.arch.openFlags.O_DIRECTORY) as number;
  return fd;
}

describe('open', () => {
  test('reads a file of the shadow by each of its calls, and the host’s go on', () => {
    expect(contentOf('openat', AT_FDCWD, VENDOR, 0)).toBe('0x1b36\n');
    expect(contentOf('openat', folder(REAL), 'vendor', 0)).toBe('0x1b36\n');
    const how = program.room(24);
    expect(contentOf('openat2', AT_FDCWD, VENDOR, program.memory.address + how, 24)).toBe(
      '0x1b36\n',
    );
    program.view.setUint32(how, O_RDWR, true);
    expect(program.make('openat2', AT_FDCWD, VENDOR, program.memory.address + how, 24)).toBe(
      'EACCES',
    );
    expect(program.make('openat2', AT_FDCWD, VENDOR, NOWHERE, 24)).toBe('goes on');
    expect(program.make('openat', AT_FDCWD, '/etc/passwd', 0)).toBe('goes on');
    expect(program.make('openat', AT_FDCWD, NOWHERE, 0)).toBe('goes on');
    expect(program.make('openat', AT_FDCWD, '', 0)).toBe('goes on');
  });

  test.runIf(process.arch === 'x64')('by open(2), whose path comes first', () => {
    expect(contentOf('open', VENDOR, 0)).toBe('0x1b36\n');
    expect(program.make('open', '/etc/passwd', 0)).toBe('goes on');
  });

  test('closes on exec where it was asked to, and not otherwise', () => {
    for (const [path, flags] of [
      [VENDOR, 0],
      [CONTAINER, O_RDWR],
    ] as const) {
      const plain = program.make('openat', AT_FDCWD, path, flags) as number;
      const closing = program.make('openat', AT_FDCWD, path, flags | O_CLOEXEC) as number;
      expect([plain, closing].map((fd) => program.closesOnExec(fd))).toEqual([0, 1]);
    }
  });

  test('of a node opens VFIO, under a number of the window', () => {
    const fd = program.make('openat', AT_FDCWD, CONTAINER, O_RDWR);
    expect(fd).toBe(800);
    expect(program.context.files.count).toBe(1);
    expect(program.make('ioctl', fd, 0x3b64, 0)).toBe(0); // VFIO_GET_API_VERSION
    expect(program.make('openat', AT_FDCWD, group, O_RDWR)).toBe(801);
    expect(program.make('openat', AT_FDCWD, group, O_RDWR)).toBe('EBUSY');
  });

  test('with O_PATH of a node stands for a character device, and opens nothing', () => {
    const { O_PATH } = program.arch.openFlags;
    const fd = program.make('openat', AT_FDCWD, group, O_PATH) as number;
    expect(statSync(`/proc/self/fd/${fd}`).isCharacterDevice()).toBe(true);
    expect(program.context.files.count).toBe(0);
  });

  test('of a link itself below a directory of the shadow is the kernel’s', () => {
    const { O_PATH, O_NOFOLLOW } = program.arch.openFlags;
    const inside = folder('/sys/bus/pci/devices');
    expect(program.make('openat', inside, '0000:02:00.0', O_PATH | O_NOFOLLOW)).toBe('goes on');
    expect(program.make('openat', inside, '0000:02:00.0', O_NOFOLLOW)).toBe('ELOOP');
    expect(program.make('openat', AT_FDCWD, DEVICE, O_NOFOLLOW)).toBe('ELOOP');
  });

  test.each<[string, string, number, string]>([
    ['to write a file', VENDOR, O_RDWR, 'EACCES'],
    ['to cut a file', VENDOR, 0o1000, 'EACCES'],
    ['to write a directory', REAL, O_RDWR, 'EISDIR'],
    ['to make what is there', VENDOR, O_CREAT | 0o200, 'EEXIST'],
    ['to make a node', CONTAINER, O_CREAT | 0o200 | O_RDWR, 'EEXIST'],
    ['to read what is write-only', `${REAL}/remove`, 0, 'EACCES'],
    ['a file as a directory', `${VENDOR}/`, 0, 'ENOTDIR'],
    ['a node as a directory', `${CONTAINER}/`, 0, 'ENOTDIR'],
    ['a node with O_DIRECTORY', CONTAINER, 0o200000, 'ENOTDIR'],
  ])('%s is refused', (_, path, flags, error) => {
    expect(program.make('openat', AT_FDCWD, path, flags)).toBe(error);
    expect(program.context.files.count).toBe(0);
  });

  test('of userfaultfd or FUSE says that pages may wait for the program', () => {
    for (const path of ['/dev/null', '/dev/fuse', '/dev/userfaultfd'])
      expect(program.make('openat', AT_FDCWD, path, O_RDWR)).toBe('goes on');
    expect(program.waits).toBe(2);
  });
});

describe('a way out of the shadow', () => {
  const OUTSIDE = '/sys/kernel/mm/transparent_hugepage/enabled';
  test.runIf(existsSync(OUTSIDE))(
    'is opened, read and asked about with the caller’s rights',
    () => {
      const version = readFileSync(OUTSIDE, 'latin1');
      const inside = folder(REAL);
      const path = '../../../kernel/mm/transparent_hugepage/enabled';
      expect(contentOf('openat', inside, path, 0)).toBe(version);
      expect(program.make('faccessat', inside, path, 4)).toBe(0);
      expect(program.make('faccessat', inside, `${path}-not`, 4)).toBe('ENOENT');
      expect(program.make('openat', inside, `${path}-not`, 0)).toBe('ENOENT');
      expect(program.make('openat', inside, path, O_CREAT)).toBe('EACCES');
      expect(program.make('unlinkat', inside, path, 0)).toBe('EACCES');
      expect(program.make('readlinkat', inside, path, buffer(64), 64)).toBe('EINVAL');
    },
  );
});

describe('access', () => {
  const [READ, WRITE, EXECUTE] = [4, 2, 1];
  test.each<[string, number, number | string]>([
    [VENDOR, READ, 0],
    [VENDOR, WRITE, 'EACCES'],
    [VENDOR, EXECUTE, 'EACCES'],
    [VENDOR, 0, 0],
    [`${REAL}/remove`, READ, 'EACCES'],
    [CONTAINER, READ | WRITE, 0],
    [CONTAINER, EXECUTE, 'EACCES'],
    [REAL, READ | EXECUTE, 0],
    ['/sys/bus/pci/drivers/vfio-pci/unbind', WRITE, 0],
    ['/sys/bus/pci/drivers/vfio-pci/unbind', READ, 'EACCES'],
    ['/etc/passwd', WRITE, 'goes on'],
  ])('to %s for %d', (path, mode, answer) => {
    for (const name of ['faccessat', 'faccessat2'] as const)
      expect(program.make(name, AT_FDCWD, path, mode)).toBe(answer);
    if (program.arch.nr.access !== undefined)
      expect(program.make('access', path, mode)).toBe(answer);
  });
});

describe('readlink', () => {
  test('is cut at the size of the buffer, and nothing behind it is written', () => {
    const [at, size] = [buffer(64), 5];
    program.memory.bytes.fill(0x2e, bufferAt, bufferAt + 64);
    expect(program.make('readlinkat', AT_FDCWD, DEVICE, at, size)).toBe(size);
    expect(textAt(bufferAt, 8)).toBe('../.....');
    for (const none of [0, -1])
      expect(program.make('readlinkat', AT_FDCWD, DEVICE, at, none)).toBe('EINVAL');
    expect(program.make('readlinkat', AT_FDCWD, DEVICE, NOWHERE, size)).toBe('EFAULT');
  });

  test('of what is no link is EINVAL, and of the host’s goes on', () => {
    expect(program.make('readlinkat', AT_FDCWD, VENDOR, buffer(64), 64)).toBe('EINVAL');
    expect(program.make('readlinkat', AT_FDCWD, '/etc/mtab', buffer(64), 64)).toBe('goes on');
  });

  test.runIf(process.arch === 'x64')('takes its path first by its older name', () => {
    const length = program.make('readlink', DEVICE, buffer(128), 128) as number;
    expect(textAt(bufferAt, length)).toBe(readlinkOf(DEVICE));
  });

  test('of a descriptor’s link in /proc names the node, and a directory of the shadow', () => {
    const fd = program.make('openat', AT_FDCWD, CONTAINER, O_RDWR);
    const inside = folder(REAL);
    for (const who of ['self', 'thread-self', `${process.pid}`]) {
      expect(readlinkOf(`/proc/${who}/fd/${fd}`)).toBe(CONTAINER);
      expect(readlinkOf(`/proc/${who}/fd/${inside}`)).toBe(REAL);
    }
    expect(program.make('readlinkat', AT_FDCWD, '/proc/self/fd/0', buffer(64), 64)).toBe('goes on');
    expect(program.make('readlinkat', AT_FDCWD, `/proc/1/fd/${fd}`, buffer(64), 64)).toBe(
      'goes on',
    );
  });
});

describe('what would change the shadow is refused', () => {
  test.each<[SystemCall, readonly (number | string)[], string]>([
    ['mkdirat', [AT_FDCWD, REAL, 0o700], 'EEXIST'],
    ['unlinkat', [AT_FDCWD, VENDOR, 0], 'EPERM'],
    ['fchmodat', [AT_FDCWD, VENDOR, 0o777], 'EPERM'],
    ['mkdir', [REAL, 0o700], 'EEXIST'],
    ['rmdir', [REAL], 'EPERM'],
    ['unlink', [VENDOR], 'EPERM'],
    ['chmod', [VENDOR, 0o777], 'EPERM'],
  ])('%s', (name, given, error) => {
    if (program.arch.nr[name] === undefined) return;
    expect(program.make(name, ...given)).toBe(error);
    const others = given.map((each) => (typeof each === 'string' ? '/tmp/iopf-none' : each));
    expect(program.make(name, ...others)).toBe('goes on');
  });

  test('its files have no extended attributes, nor do links that are not followed', () => {
    for (const name of ['getxattr', 'lgetxattr'] as const) {
      expect(program.make(name, VENDOR, 'user.a')).toBe('ENODATA');
      expect(program.make(name, '/etc/passwd', 'user.a')).toBe('goes on');
    }
    for (const name of ['listxattr', 'llistxattr'] as const) {
      expect(program.make(name, VENDOR, 0, 0)).toBe(0);
      expect(program.make(name, '/etc/passwd', 0, 0)).toBe('goes on');
    }
  });
});

describe('stat', () => {
  const AT_SYMLINK_NOFOLLOW = 0x100;
  const AT_EMPTY_PATH = 0x1000;

  /** As this user's umask has it. */
  const directoryMode = (): string => statSync(program.hardware.shadow.host(REAL)).mode.toString(8);

  /** Mode, size, device number and owner, by struct stat and by struct statx. */
  function stats(fd: number, path: string | number, flags: number): unknown[] {
    const { stat } = program.arch;
    const at = program.room(stat.bytes);
    program.memory.bytes.fill(0xff, at, at + stat.bytes);
    const answer = program.make('newfstatat', fd, path, program.memory.address + at, flags);
    if (answer !== 0) return [answer];
    const { view } = program;
    return [
      view.getUint32(at + stat.mode, true).toString(8),
      view.getUint32(at + stat.size, true),
      [view.getUint32(at + stat.rdev, true) >> 8, view.getUint32(at + stat.rdev, true) & 0xff],
      [view.getUint32(at + stat.owner, true), view.getUint32(at + stat.owner + 4, true)],
      view.getUint32(at + stat.blocks, true),
    ];
  }
  function statxOf(fd: number, path: string | number, flags: number): unknown[] {
    const at = program.room(256);
    program.memory.bytes.fill(0xff, at, at + 256);
    const answer = program.make('statx', fd, path, flags, 0x7ff, program.memory.address + at);
    if (answer !== 0) return [answer];
    const { view } = program;
    return [
      view.getUint16(at + 28, true).toString(8),
      view.getUint32(at + 40, true),
      [view.getUint32(at + 128, true), view.getUint32(at + 132, true)],
      [view.getUint32(at + 20, true), view.getUint32(at + 24, true)],
      view.getUint32(at + 48, true),
    ];
  }

  test.each<[string, string, number, unknown[]]>([
    ['a file', VENDOR, 0, ['100444', 4096, [0, 0], [0, 0], 0]],
    ['a link', DEVICE, AT_SYMLINK_NOFOLLOW, ['120777', 0, [0, 0], [0, 0], 0]],
    ['a node', CONTAINER, 0, ['20666', 0, [10, 196], [process.getuid!(), process.getgid!()], 0]],
    ['where a link leads', DEVICE, 0, ['directory', 0, [0, 0], [0, 0], 0]],
  ])('of %s', (_, path, flags, expected) => {
    const right = expected.map((each) => (each === 'directory' ? directoryMode() : each));
    expect(stats(AT_FDCWD, path, flags)).toEqual(right);
    expect(statxOf(AT_FDCWD, path, flags)).toEqual(right);
  });

  test('of an open node is the node’s, by an empty path, by none, and by its number', () => {
    const fd = program.make('openat', AT_FDCWD, CONTAINER, O_RDWR) as number;
    for (const path of ['', 0]) {
      expect(stats(fd, path, AT_EMPTY_PATH)[2]).toEqual([10, 196]);
      expect(statxOf(fd, path, AT_EMPTY_PATH)[2]).toEqual([10, 196]);
      expect(stats(fd, path, 0)).toEqual(['goes on']);
    }
    const at = buffer(program.arch.stat.bytes);
    expect(program.make('fstat', fd, at)).toBe(0);
    expect(program.view.getUint32(bufferAt + program.arch.stat.mode, true)).toBe(0o20666);
    expect(program.make('fstat', 0, at)).toBe('goes on');
    expect(program.make('fstat', 801, at)).toBe('goes on');
  });

  test.runIf(process.arch === 'x64')('follows links by stat(2), and not by lstat(2)', () => {
    const at = buffer(144);
    const mode = (): string => program.view.getUint32(bufferAt + 24, true).toString(8);
    expect([program.make('stat', DEVICE, at), mode()]).toEqual([0, directoryMode()]);
    expect([program.make('lstat', DEVICE, at), mode()]).toEqual([0, '120777']);
    expect(program.make('stat', '/etc/passwd', at)).toBe('goes on');
    expect(program.make('stat', DEVICE, NOWHERE)).toBe('EFAULT');
  });

  test('of what a way out of the shadow leads to is the host’s own', () => {
    const inside = folder(REAL);
    const { ino } = statSync('/sys/kernel/mm');
    const at = buffer(144);
    expect(program.make('newfstatat', inside, '../../../kernel/mm', at, 0)).toBe(0);
    expect(program.view.getBigUint64(bufferAt + 8, true)).toBe(BigInt(ino));
    expect(program.make('newfstatat', inside, '../../../kernel/none', at, 0)).toBe('ENOENT');
    expect(program.make('statx', inside, '../../../kernel/none', 0, 0x7ff, at)).toBe('ENOENT');
  });
});

describe('in a directory of the shadow', () => {
  const statfs = (path: string): Buffer => {
    const at = program.room(120);
    expect(program.make('statfs', path, program.memory.address + at)).toBe(0);
    return Buffer.from(program.memory.bytes.slice(at, at + 8));
  };

  test('the file system is the one that a path would be on', () => {
    const SYSFS_MAGIC = 0x62656572;
    expect(statfs(VENDOR).readUInt32LE()).toBe(SYSFS_MAGIC);
    const at = program.room(120);
    expect(program.make('fstatfs', folder(REAL), program.memory.address + at)).toBe(0);
    expect(program.view.getUint32(at, true)).toBe(SYSFS_MAGIC);
    expect(program.make('statfs', '/etc', program.memory.address + at)).toBe('goes on');
    expect(program.make('fstatfs', 0, program.memory.address + at)).toBe('goes on');
    expect(program.make('statfs', VENDOR, NOWHERE)).toBe('EFAULT');
  });

  test('getcwd tells the program’s path of it, with its end, and ERANGE where that is too long', () => {
    const before = process.cwd();
    const at = buffer(256);
    expect(program.make('getcwd', at, 256)).toBe('goes on');
    process.chdir(program.hardware.shadow.host(REAL));
    try {
      const length = REAL.length + 1;
      expect(program.make('getcwd', at, length)).toBe(length);
      expect(textAt(bufferAt, length + 1)).toBe(`${REAL}\0\0`);
      expect(program.make('getcwd', at, length - 1)).toBe('ERANGE');
      expect(program.make('readlinkat', AT_FDCWD, '/proc/self/cwd', at, 256)).toBe(REAL.length);
      expect(contentOf('openat', AT_FDCWD, 'vendor', 0)).toBe('0x1b36\n');
    } finally {
      process.chdir(before);
    }
  });
});
