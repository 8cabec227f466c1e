import { beforeEach, expect, test } from 'vitest';
import { makeBacking } from '../../src/exec/process/backing.js';
import { OpenFiles } from '../../src/exec/process/open-files.js';
import { noIoctl, noMapping, noTransfer, type VfioFile } from '../../src/file/file.js';
import { close } from '../../src/mm/process/libc.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';

const [THREAD, OTHER] = [10, 20];

let files: OpenFiles;
let released: number;

beforeEach(() => {
  files = new OpenFiles();
  released = 0;
});

/** A file that a program has open; returns its descriptor. */
function open(): number {
  const backing = makeBacking('file', 0);
  const { fd, lock } = files.describe(backing);
  const file = {
    kind: 'iommufd' as const,
    name: 'file',
    ioctl: noIoctl,
    read: noTransfer,
    write: noTransfer,
    mmap: noMapping,
    release: () => {
      released++;
    },
  };
  files.add({ file, node: null, pciFunction: null, backing }, lock);
  return fd;
}

test.each([
  ['its own', THREAD],
  ['another thread’s', OTHER],
])('a file is released by the first call after its close, %s, whoever looked before', (_, tid) => {
  const fd = open();
  files.mayClose(THREAD);
  files.tick();
  files.settle(OTHER);
  expect(released).toBe(0);
  close(fd);
  files.settle(tid);
  expect([released, files.count]).toEqual([1, 0]);
});

test('a thread whose close took seconds finds the file released all the same', () => {
  const fd = open();
  files.mayClose(THREAD);
  for (let tick = 0; tick < 100; tick++) files.tick();
  close(fd);
  files.settle(OTHER);
  expect(released).toBe(0);
  files.settle(THREAD);
  expect(released).toBe(1);
});

test('a file is released once, and one that is held stays', () => {
  const [one, two] = [open(), open()];
  files.suspect();
  close(one);
  for (const tid of [THREAD, OTHER]) files.settle(tid);
  expect([released, files.count]).toEqual([1, 1]);
  close(two);
  files.tick();
  expect([released, files.count]).toEqual([2, 0]);
});

test('files that were ever opened are counted, devices apart', () => {
  const backing = makeBacking('device', 4096);
  const { fd, lock } = files.describe(backing);
  const pciFunction = {} as PciFunction;
  const file = { kind: 'device', release: () => {} } as unknown as VfioFile;
  files.add({ file, node: null, pciFunction, backing }, lock);
  const other = open();
  expect([files.opens, files.deviceOpens, files.count]).toEqual([2, 1, 2]);
  expect(files.openFunctions).toEqual([pciFunction]);
  expect(files.deviceFile(pciFunction)).toBe(file);
  for (const each of [fd, other]) close(each);
  files.reap();
  expect([files.opens, files.deviceOpens, files.count]).toEqual([2, 1, 0]);
  expect([files.openFunctions, files.deviceFile(pciFunction)]).toEqual([[], null]);
});
