/**
 * The files behind a program's memory, as descriptors of the engine's: of memory that is shared
 * (memfd, tmpfs, hugetlbfs, a file on a disk), and of all that a process has (/proc/PID/mem).
 */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { O_CLOEXEC, O_RDONLY, O_RDWR } from '../../abi/linux.js';
import type { MemoryFile } from '../../device/vfio-user/host.js';
import { type AddressSpace, PAGE_SIZE, WRITE } from '../../mm/address-space.js';
import { FileMemory } from '../../mm/process/file-memory.js';
import { close, open } from '../../mm/process/libc.js';
import { ProcessSpace } from '../../mm/process/space.js';
import type { Area } from '../../mm/process/vmas.js';

/** As `PeerHost.fileOf`. */
export function fileOf(
  mm: AddressSpace,
  first: number,
  count: number,
  permission: number,
): MemoryFile | null {
  if (mm instanceof FileMemory) {
    const fd = open(`/proc/self/fd/${mm.fd}`, O_RDWR | O_CLOEXEC, 0);
    return fd < 0 ? null : { fd, offset: first * PAGE_SIZE, place: `file ${mm.id} ${first}` };
  }
  if (!(mm instanceof ProcessSpace)) return null;
  const area = areaOf(mm, first, count, permission);
  if (area === null) return null;
  const fd = openFile(mm, area, (permission & WRITE) === 0 ? O_RDONLY : O_RDWR);
  const page = area.filePage + first - area.first;
  const place = `${area.fileSystem} ${area.inode} ${page}`;
  return fd < 0 ? null : { fd, offset: page * PAGE_SIZE, place };
}

/** As `PeerHost.memoryOf`. */
export function memoryOf(mm: AddressSpace): MemoryFile | null {
  if (!(mm instanceof ProcessSpace)) return null;
  const fd = open(`/proc/${mm.task}/mem`, O_RDWR | O_CLOEXEC, 0);
  return fd < 0 ? null : { fd, offset: 0, place: 'memory' };
}

/** The area that pages begin in, where all of them are one shared file's, in order. */
function areaOf(mm: ProcessSpace, first: number, count: number, permission: number): Area | null {
  let begin: Area | null = null;
  for (let page = first; page < first + count; ) {
    const area = mm.areaAt(page);
    if (area === null || area.inode === 0 || area.isPrivate || area.device !== null) return null;
    if ((area.permission & permission) !== permission) return null;
    begin ??= area;
    const isNext =
      area.inode === begin.inode &&
      area.fileSystem === begin.fileSystem &&
      area.filePage - area.first === begin.filePage - begin.first;
    if (!isNext) return null;
    page = area.end;
  }
  return begin;
}

/** A descriptor of an area's file, or -1. */
function openFile(mm: ProcessSpace, area: Area, flags: number): number {
  const { task } = mm;
  const name = `${hex(area.first * PAGE_SIZE)}-${hex(area.end * PAGE_SIZE)}`;
  // The sure way takes CAP_CHECKPOINT_RESTORE.
  const fd = openSame(`/proc/${task}/map_files/${name}`, area, flags);
  return fd >= 0 ? fd : openByDescriptor(task, area, flags);
}

/** Opens the file by a descriptor that the process has of it, or by its name. */
function openByDescriptor(task: number, area: Area, flags: number): number {
  try {
    for (const name of readdirSync(`/proc/${task}/fd`)) {
      const fd = openSame(`/proc/${task}/fd/${name}`, area, flags);
      if (fd >= 0) return fd;
    }
    const start = `${hex(area.first * PAGE_SIZE)}-`;
    const line = readFileSync(`/proc/${task}/maps`, 'latin1')
      .split('\n')
      .find((each) => each.startsWith(start));
    const path = line?.slice(line.indexOf('/'));
    if (path?.startsWith('/') === true) return openSame(`/proc/${task}/root${path}`, area, flags);
  } catch {
    // The process is gone, or lets nobody look.
  }
  return -1;
}

/** Opens a path if it is an area's file: regular files alone, for other opens do things. */
function openSame(path: string, { inode, fileSystem }: Area, flags: number): number {
  const isSame = (at: string): boolean => {
    const stat = statSync(at, { throwIfNoEntry: false });
    return stat?.isFile() === true && stat.ino === inode && fileSystemOf(stat.dev) === fileSystem;
  };
  try {
    if (!isSame(path)) return -1;
    const fd = open(path, flags | O_CLOEXEC, 0);
    if (fd < 0 || isSame(`/proc/self/fd/${fd}`)) return fd;
    close(fd);
  } catch {
    // Not there, or not for us.
  }
  return -1;
}

/** A device number as /proc/PID/maps has it, in its numbers. */
function fileSystemOf(device: number): string {
  return `${(device >>> 8) & 0xfff}:${(device & 0xff) | ((device >>> 12) & 0xfff00)}`;
}

const hex = (address: number): string => address.toString(16);
