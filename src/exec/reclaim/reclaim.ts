/**
 * `--reclaim SIZE`: has the host keep the memory of the processes that use VFIO at a size, so that
 * overcommit can be seen.
 *
 * Terms: the *hand* goes round over the pages of all *areas* that reclaim may take, as a clock's
 * does; a *turn* is once round. A *slice* is what one process_madvise(MADV_PAGEOUT) is asked for.
 * The host neither knows which pages devices use (an I/O page table has no accessed bit that
 * reclaim reads) nor tells which the program uses, so all are taken in their order.
 *
 * The call may take milliseconds, so another thread makes it, like a kernel's own reclaim; the
 * engine finds the next slice, and tells notifiers of the pages that left.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { Errno } from '../../abi/errno.js';
import { formatSize } from '../../input/size.js';
import { UserError } from '../../input/user-error.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { Presence } from '../../mm/process/pagemap.js';
import type { ProcessSpace } from '../../mm/process/space.js';
import type { Area } from '../../mm/process/vmas.js';
import type { Architecture } from '../arch/index.js';
import type { Process, ProcessTable } from '../process/process.js';
import type { BackgroundWork } from '../run/background.js';
import { type PageOut, pageOutRefusal } from './page-out.js';
import { residentBytes } from './resident-memory.js';

/** Pages in memory that a slice has, and pages that are looked at for them at a time. */
const SLICE_PAGES = 128;
const WINDOW_PAGES = 16_384;
/** Windows without a page in memory that a call steps over. */
const WINDOWS = 4;
/** How often the size is looked at while it is not exceeded. */
const LOOK_MS = 10;
/** A turn takes this long at least, and this long where nothing could leave. */
const TURN_MS = 20;
const STUCK_MS = 1000;
/** A turn that takes less than this part of what is too much leads nowhere. */
const LEAST_PART = 64;

/** An area of a process, for one turn. */
interface Place {
  readonly process: Process;
  readonly space: ProcessSpace;
  readonly area: Area;
}

export class Reclaim implements BackgroundWork {
  dueMs = Number.NEGATIVE_INFINITY;
  private readonly places: Place[] = [];
  /** The hand: index of the place, and page. */
  private place = 0;
  private page = 0;
  private turnBegun = Number.NEGATIVE_INFINITY;
  /** Pages that have left in this turn. */
  private left = 0;
  private restUntil = 0;
  /** The slice that is under way, and how many of its pages were in memory. */
  private space: ProcessSpace | null = null;
  private first = 0;
  private end = 0;
  private present = 0;
  /** The file behind the hand's area, so that what is dirty in it can be written; -1: none. */
  private fileFd = -1;
  private told = false;
  private readonly hadSwap = memoryKilobytes('SwapTotal') > 0;

  constructor(
    private readonly processes: ProcessTable,
    private readonly sizeBytes: number,
    private readonly pageOut: PageOut,
    /** Says something to the user. */
    private readonly tell: (text: string) => void,
  ) {}

  run(nowMs: number): void {
    this.dueMs = this.step(nowMs);
  }

  /** Returns when to go on. */
  private step(nowMs: number): number {
    if (this.space !== null) {
      if (!this.pageOut.isDone) return nowMs;
      this.finish(this.space);
    }
    if (nowMs < this.restUntil) return this.restUntil;
    const excess = this.residentBytes() - this.sizeBytes;
    if (excess <= 0) return nowMs + LOOK_MS;
    this.begin(nowMs, excess);
    return Math.max(nowMs, this.restUntil);
  }

  private residentBytes(): number {
    let sum = 0;
    for (const { pid } of this.processes.all) sum += residentBytes(pid);
    return sum;
  }

  /** Moves the hand to the next pages that may leave and has them paged out. */
  private begin(nowMs: number, excess: number): void {
    for (let window = 0; window < WINDOWS; window++) {
      const place = this.places[this.place];
      if (place === undefined) {
        this.turn(nowMs, excess);
        return;
      }
      const { process, space, area } = place;
      const end = Math.min(area.end, this.page + WINDOW_PAGES);
      if (this.page >= area.end || process.space !== space || space.suspect) {
        this.goTo(this.place + 1);
        continue;
      }
      const { pagemap } = space;
      pagemap.find(Presence.PRESENT, this.page, end, SLICE_PAGES);
      const last = pagemap.count === 0 ? end : pagemap.end[pagemap.count - 1]!;
      const first = pagemap.count === 0 ? end : space.nextPinned(false, pagemap.first[0]!, last);
      if (first < last) {
        this.order(place, first, space.nextPinned(true, first, last));
        return;
      }
      this.page = last;
    }
  }

  private order({ process, space, area }: Place, first: number, end: number): void {
    this.space = space;
    this.first = first;
    this.end = this.page = end;
    this.present = presentPages(space, first, end);
    const offset = (area.filePage + first - area.first) * PAGE_SIZE;
    this.pageOut.begin(
      process.pidfd,
      first * PAGE_SIZE,
      (end - first) * PAGE_SIZE,
      this.fileFd,
      offset,
    );
  }

  private finish(space: ProcessSpace): void {
    this.space = null;
    if (!space.alive) return;
    space.dropAbsent(this.first, this.end);
    this.left += Math.max(0, this.present - presentPages(space, this.first, this.end));
    // Locked areas and huge pages answer EINVAL: nothing of the area can leave.
    if (this.pageOut.errno === Errno.EINVAL) this.goTo(this.place + 1);
  }

  /** The hand is round: looks what came of it, and at which areas there are now. */
  private turn(nowMs: number, excess: number): void {
    const isStuck = this.places.length > 0 && this.left * PAGE_SIZE < excess / LEAST_PART;
    this.restUntil = isStuck ? nowMs + STUCK_MS : this.turnBegun + TURN_MS;
    if (isStuck) this.tellStuck(excess);
    this.turnBegun = Math.max(nowMs, this.restUntil);
    this.left = 0;
    this.places.length = 0;
    for (const process of this.processes.all) {
      const { space } = process;
      for (const area of space.evictableAreas()) this.places.push({ process, space, area });
    }
    this.goTo(0);
    if (!this.hadSwap && excess > this.fileBytes()) this.tellStuck(excess);
  }

  /** What may leave without swap, at most. */
  private fileBytes(): number {
    let pages = 0;
    for (const { area } of this.places) if (area.filePage >= 0) pages += area.end - area.first;
    return pages * PAGE_SIZE;
  }

  private goTo(index: number): void {
    this.place = index;
    if (this.fileFd >= 0) closeSync(this.fileFd);
    this.fileFd = -1;
    const place = this.places[index];
    if (place === undefined) return;
    const { process, area } = place;
    this.page = area.first;
    if (!area.isPrivate && area.filePage >= 0) this.fileFd = openBehind(process.pid, area);
  }

  private tellStuck(excess: number): void {
    // A size that is met but for a little needs no word.
    if (this.told || excess < this.sizeBytes / LEAST_PART) return;
    this.told = true;
    const size = formatSize(this.sizeBytes);
    this.tell(
      `--reclaim: memory stays at ${formatSize(this.sizeBytes + excess)}, not ${size}: ${whyStuck()}`,
    );
  }
}

function presentPages({ pagemap }: ProcessSpace, first: number, end: number): number {
  pagemap.find(Presence.PRESENT, first, end);
  let pages = 0;
  for (let region = 0; region < pagemap.count; region++)
    pages += pagemap.end[region]! - pagemap.first[region]!;
  return pages;
}

/**
 * The file that an area maps, or -1 where it may not be opened; then what is dirty waits for the
 * host to write it.
 */
function openBehind(pid: number, { first, end }: Area): number {
  const [from, to] = [first, end].map((page) => (page * PAGE_SIZE).toString(16));
  try {
    return openSync(`/proc/${pid}/map_files/${from}-${to}`, 'r');
  } catch {
    return -1;
  }
}

/** A program that cannot be brought to its size: why nothing more leaves, and what to do. */
function whyStuck(): string {
  if (memoryKilobytes('SwapTotal') === 0)
    return (
      'this host has no swap, so that only memory on files can leave; add swap (modprobe zram, zramctl, mkswap, swapon), ' +
      'or put the memory on a file (QEMU: -object memory-backend-file,share=on)'
    );
  if (memoryKilobytes('SwapFree') < 1024)
    return 'the swap of this host is full (/proc/swaps); add some';
  return 'the rest is program text, or locked, pinned, or shared with another process, or its cgroup has no swap left';
}

/** A figure of this host's /proc/meminfo. */
function memoryKilobytes(name: string): number {
  const memory = readFileSync('/proc/meminfo', 'latin1');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(memory)?.[1]);
}

/** Whether the host lets iopf take memory of the program away. Throws UserError. */
export function checkMayReclaim(arch: Architecture, pid: number): void {
  const refusal = pageOutRefusal(pid, arch);
  if (refusal === null) return;
  throw new UserError(
    `--reclaim cannot page memory out: ${refusal}; or have the kernel do it, ` +
      'say in a cgroup (systemd-run --user -p MemoryHigh=300M iopf exec …), and give --reclaim-scan, which needs no privilege',
  );
}
