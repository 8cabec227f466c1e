/**
 * What /proc/PID/maps says: which pages may be read and written. Cached, because a page-in asks
 * each time.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { Errno } from '../../abi/errno.js';
import { getLong, setLong } from '../../abi/long.js';
import { PAGE_SIZE, READ, WRITE } from '../address-space.js';
import { allocateNative, errno, ioctl } from './libc.js';

/**
 * PROCMAP_QUERY and its struct (linux/fs.h, Linux 6.11): one area by address, where the text lists
 * them all.
 */
const PROCMAP_QUERY = 0xc0686611;
const QUERY_BYTES = 104;
const VMA_READABLE = 1;
const VMA_WRITABLE = 2;
const VMA_SHARED = 8;
/** Of a device's pages, whatever maps shows: those that trap allow nothing there. */
const DEVICE_PERMISSION = READ | WRITE;
const query = allocateNative(QUERY_BYTES);
const queryWords = new Uint32Array(query.bytes.buffer, 0, QUERY_BYTES / 4);
let canQuery = true;

const chunk = Buffer.allocUnsafe(1 << 16);

/** A device whose registers processes map. */
export interface MappedDevice {
  /** Whether its memory is decoded: pages that it does not decode cannot be accessed. */
  readonly isDecoding: () => boolean;
}

/** Pages [first, end) with one permission. */
export interface Area {
  readonly first: number;
  readonly end: number;
  readonly permission: number;
  /** MAP_PRIVATE: a fork shares its pages until one side writes. */
  readonly isPrivate: boolean;
  /** Whose registers they are, which is no ordinary memory; null: nobody's. */
  readonly device: MappedDevice | null;
  /** Page of its file at `first`; -1: there is no file behind it. */
  readonly filePage: number;
  /** Its file's number, and the file system's device as `major:minor`. */
  readonly inode: number;
  readonly fileSystem: string;
}

/** A file's identity as maps shows it: device and inode. */
export const fileKey = (major: number, minor: number, inode: number): string =>
  `${major}:${minor}:${inode}`;

export class VmaCache {
  /** The areas known, ascending. */
  private areas: Area[] = [];
  private fd: number;

  /** `deviceFiles`: devices by the `fileKey` of the files behind them. */
  constructor(
    path: string,
    private readonly deviceFiles: ReadonlyMap<string, MappedDevice>,
  ) {
    // Opened at once: the descriptor means this memory, whatever the process execs later.
    this.fd = openOrGone(path);
  }

  /** Whether the memory still exists: an old one reads as empty. */
  alive(): boolean {
    try {
      return this.fd >= 0 && readSync(this.fd, chunk, 0, 1, 0) > 0;
    } catch {
      return false;
    }
  }

  /**
   * How many pages from `first` on, at most `count`, allow `access`; with access 0, how many are
   * there.
   */
  allowed(first: number, count: number, access: number): number {
    let known = this.run(first, count, access);
    // Areas appear without notice (mmap does not take memory away), so a miss asks the kernel.
    while (known < count && this.learn(first + known)) {
      const more = this.run(first, count, access);
      if (more === known) break;
      known = more;
    }
    return known;
  }

  /** Whether a page, which is there, belongs to a device. */
  isDevicePage(page: number): boolean {
    const { areas } = this;
    for (let index = 0; index < areas.length; index++) {
      const area = areas[index]!;
      if (page >= area.first && page < area.end) return area.device !== null;
    }
    return (
      this.learn(page) &&
      this.areas.some((area) => page >= area.first && page < area.end && area.device !== null)
    );
  }

  /** Whether pages of a device are among [first, first + count), up to the first that is none. */
  hasDevicePages(first: number, count: number): boolean {
    const end = first + this.allowed(first, count, 0);
    return this.known(first, end).some((area) => area.device !== null);
  }

  /** How many pages from `first` on, at most `count`, are known to be one device's. */
  devicePages(first: number, count: number): number {
    const area = this.areas[this.indexOf(first)];
    if (area === undefined || area.first > first || area.device === null) return 0;
    return Math.min(area.end - first, count);
  }

  /** The areas as the kernel has them now; a copy, because an invalidation drops the cache. */
  all(): Area[] {
    this.reload();
    return this.areas.slice();
  }

  /** The areas that are known of those with the pages [first, end), ascending. */
  known(first: number, end: number): Area[] {
    return this.areas.filter((area) => area.first < end && area.end > first);
  }

  /** Forgets everything: protections or areas are about to change. */
  drop(): void {
    this.areas.length = 0;
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
    this.drop();
  }

  /** Index of the first known area that ends behind a page. */
  private indexOf(page: number): number {
    let low = 0;
    let high = this.areas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.areas[middle]!.end <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private run(first: number, count: number, access: number): number {
    let page = first;
    const end = first + count;
    for (let index = this.indexOf(first); index < this.areas.length && page < end; index++) {
      const area = this.areas[index]!;
      if (area.first > page || (area.permission & access) !== access) break;
      if (access !== 0 && area.device?.isDecoding() === false) break;
      page = area.end;
    }
    return Math.min(page, end) - first;
  }

  /**
   * Asks for the area that covers a page; false where there is none. Kernels before 6.11 are asked
   * for all of them.
   */
  private learn(page: number): boolean {
    if (!canQuery) {
      this.reload();
      return true;
    }
    queryWords.fill(0, 0, QUERY_BYTES / 4);
    queryWords[0] = QUERY_BYTES;
    setLong(queryWords, 4, page * PAGE_SIZE);
    if (ioctl(this.fd, PROCMAP_QUERY, query.address) !== 0) {
      if (errno() !== Errno.ENOTTY) return false;
      canQuery = false;
      return this.learn(page);
    }
    const flags = queryWords[10]!;
    const inode = getLong(queryWords, 16);
    const device = this.deviceOf(queryWords[18]!, queryWords[19]!, inode);
    this.insert({
      first: getLong(queryWords, 6) / PAGE_SIZE,
      end: getLong(queryWords, 8) / PAGE_SIZE,
      permission:
        device !== null
          ? DEVICE_PERMISSION
          : ((flags & VMA_READABLE) !== 0 ? READ : 0) | ((flags & VMA_WRITABLE) !== 0 ? WRITE : 0),
      isPrivate: (flags & VMA_SHARED) === 0,
      inode,
      fileSystem: `${queryWords[18]!}:${queryWords[19]!}`,
      device,
      filePage: inode === 0 ? -1 : getLong(queryWords, 14) / PAGE_SIZE,
    });
    return true;
  }

  private deviceOf(major: number, minor: number, inode: number): MappedDevice | null {
    return this.deviceFiles.get(fileKey(major, minor, inode)) ?? null;
  }

  /** Of a line of the text: range, permission, offset, device, inode, path. */
  private fileOfLine(line: string): Pick<Area, 'device' | 'filePage' | 'inode' | 'fileSystem'> {
    const [, , offset = '', file = '', number = ''] = line.split(/ +/, 5);
    const [major, minor] = file.split(':').map((hex) => Number.parseInt(hex, 16)) as [
      number,
      number,
    ];
    const inode = Number(number);
    return {
      device: this.deviceOf(major, minor, inode),
      filePage: inode === 0 ? -1 : Number.parseInt(offset, 16) / PAGE_SIZE,
      inode,
      fileSystem: `${major}:${minor}`,
    };
  }

  /**
   * Puts an area in its place, instead of all that it overlaps: areas merge and grow without
   * notice.
   */
  private insert(area: Area): void {
    let from = 0;
    while (from < this.areas.length && this.areas[from]!.end <= area.first) from++;
    let to = from;
    while (to < this.areas.length && this.areas[to]!.first < area.end) to++;
    this.areas.splice(from, to - from, area);
  }

  private reload(): void {
    this.areas.length = 0;
    if (this.fd < 0) return;
    try {
      let text = '';
      for (let position = 0; ; ) {
        const got = readSync(this.fd, chunk, 0, chunk.length, position);
        if (got === 0) break;
        text += chunk.toString('latin1', 0, got);
        position += got;
      }
      for (const line of text.split('\n')) {
        const dash = line.indexOf('-');
        if (dash < 0) continue;
        const space = line.indexOf(' ', dash);
        const file = this.fileOfLine(line);
        const permission =
          (line[space + 1] === 'r' ? READ : 0) | (line[space + 2] === 'w' ? WRITE : 0);
        this.areas.push({
          first: Number.parseInt(line.slice(0, dash), 16) / PAGE_SIZE,
          end: Number.parseInt(line.slice(dash + 1, space), 16) / PAGE_SIZE,
          permission: file.device !== null ? DEVICE_PERMISSION : permission,
          isPrivate: line[space + 4] === 'p',
          ...file,
        });
      }
    } catch {
      // The process is gone: nothing is allowed any more.
      this.areas.length = 0;
    }
  }
}

/** A file of /proc, or -1 where the process is gone or lets nobody look. */
export function openOrGone(path: string): number {
  try {
    return openSync(path, 'r');
  } catch {
    return -1;
  }
}
