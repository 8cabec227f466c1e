/**
 * What the author of a scenario uses of a world: its actors' operations, and nothing else, as an
 * actor may not look into the world.
 *
 * An operation is a flow: `yield* world.devices[0]!.write(0)`. Pages count from 0; `access` is
 * `READ`, `WRITE` or both. A call of a program returns `ok` or an errno's name.
 */
import type { Flow } from '../../flow/flow.js';
import type { WorldOptions } from './world-options.js';

/**
 * A small program of several actors. An actor is a flow over the world's operations; every order of
 * their steps is run. Between operations an actor may only use what operations returned to it: it
 * may not read the world.
 */
export interface ScenarioOf<W> {
  /** Lower case, words with hyphens: the name on the command line. */
  readonly name: string;
  /** One sentence for the report. */
  readonly about: string;
  /** Rows of docs/series.md that it covers. */
  readonly rows: readonly string[];
  readonly world?: WorldOptions;
  /** What has happened before: run as one step. */
  readonly setup?: (world: W) => Flow<unknown>;
  readonly actors: Readonly<Record<string, (world: W) => Flow<unknown>>>;
  /** What must hold when every actor has ended, beyond the invariants: throws an Error. */
  readonly after?: (world: W) => void;
  /**
   * The same over more pages and devices, for `--bound`; its own size gives what stands above. What
   * cannot grow stays as it is.
   */
  readonly scaled?: (size: Size) => Pick<ScenarioOf<W>, 'world' | 'setup' | 'actors'>;
}

/** Pages that a run is about, and devices: at least one of each. */
export interface Size {
  readonly pages: number;
  readonly devices: number;
}

export interface ScenarioWorld {
  readonly programs: readonly ScenarioProgram[];
  readonly devices: readonly ScenarioDevice[];
  readonly host: ScenarioHost;
  /** Null: the devices are in a container. */
  readonly iommufd: ScenarioIommufd | null;
  /** The driver of a group's devices, which pins pages itself; made in `setup`. */
  driver(group: number): ScenarioDriver;
  /** The guest above a nested device. */
  guest(device: number): ScenarioGuest;
  /** A first stage that the program owns, before a nested device. */
  firstStage(device: number): ScenarioFirstStage;
}

export interface MapOptions {
  /** Page of the program's memory; default: as the IOVA's. */
  readonly to?: number;
  /** READ, WRITE, or both, which is the default. */
  readonly permission?: number;
  readonly pinned?: boolean;
}

/** A process with the container open. */
export interface ScenarioProgram {
  /** VFIO_IOMMU_MAP_DMA of `count` pages from `page` on. */
  map(page: number, count: number, options?: MapOptions): Flow<string>;
  /** VFIO_IOMMU_UNMAP_DMA. */
  unmap(page: number, count: number): Flow<string>;
  /** VFIO_IOMMU_ENABLE_IOPF. */
  enable(): Flow<string>;
  /** VFIO_IOMMU_DISABLE_IOPF. */
  disable(): Flow<string>;
  /** VFIO_GROUP_SET_CONTAINER. */
  attach(group: number): Flow<string>;
  /** VFIO_GROUP_UNSET_CONTAINER. */
  detach(group: number): Flow<string>;
  /** Starts the dirty log, or stops it. */
  logDirty(on: boolean): Flow<string>;
  /** Reports the dirty pages, which are clean from then on. */
  reportDirty(): Flow<string>;
  /** The container's descriptor is closed: every group leaves, and everything goes. */
  close(): Flow<string>;
  /** The program writes pages of its own memory. */
  touch(page: number, count?: number): Flow<string>;
}

/** A device that does DMA. */
export interface ScenarioDevice {
  /** Translated, or asked for and tried again, three times at most. True: it reached memory. */
  read(page: number): Flow<boolean>;
  write(page: number): Flow<boolean>;
  access(page: number, access: number): Flow<boolean>;
  /** Reports a page request and does nothing with its answer. */
  fault(page: number, access: number): Flow<boolean>;
  /** Page requests for several pages, answered once, with a code. `group`: 256 to 511. */
  faultGroup(pages: readonly number[], access: number, group: number): Flow<number | null>;
  /** A page request at a level, as it is reported; returns the errno. `group`: 256 to 511. */
  report(
    page: number,
    access: number,
    level: 'flat' | 'stage1' | 'stage2',
    group: number,
  ): Flow<number>;
  /** Function-level reset: it waits for no answer any more. */
  reset(): Flow<void>;
}

/** The host's memory management; between telling and doing there is a window. */
export interface ScenarioHost {
  /** Another frame behind a page, as migration and compaction do. */
  migrate(page: number, count?: number): Flow<void>;
  /** MADV_DONTNEED. */
  discard(page: number, count?: number): Flow<void>;
  /** munmap(2) by another thread of the program. */
  munmap(page: number, count?: number): Flow<void>;
  /** mprotect(2) by another thread of the program. */
  protect(page: number, count: number, protection: number): Flow<void>;
  /** Takes a page to swap. */
  pageOut(page: number, count?: number): Flow<void>;
  /** The program forks, and its child ends at once. */
  fork(): Flow<void>;
  /** Devices of a group come in another order from now on. */
  rescan(group: number): Flow<void>;
}

/** Reads page requests of a nested device and answers them. */
export interface ScenarioGuest {
  /** Makes the fault queue of the device's first stage. */
  open(): Flow<void>;
  /** Returns the cookie of the first group, or 0. */
  read(): Flow<number>;
  /** `code` 0: SUCCESS, 1: INVALID. */
  respond(cookie: number, code: number): Flow<string>;
  /** Reads, and answers the group that came first. */
  answer(code: number): Flow<string>;
}

/** The table of a nested device, in pages 0 and 1 of the program. */
export interface ScenarioFirstStage {
  attach(): Flow<string>;
  detach(): Flow<string>;
  /** The table's entry leads to the container's pages. */
  mend(): Flow<void>;
  /** The entry goes, and its translations with it. */
  revoke(): Flow<void>;
  closeQueue(): Flow<void>;
  /** The device goes through the table. True: it reached memory. */
  access(page: number, access: number): Flow<boolean>;
}

/** The driver of a group's devices. */
export interface ScenarioDriver {
  /** vfio_pin_pages. */
  pin(page: number, count: number, access?: number): Flow<string>;
  /** vfio_unpin_pages, of what it still has. */
  unpin(page: number, count: number): Flow<void>;
}

/** Objects by id, in order from the devices' on; queues by their place, from 0. */
export interface ScenarioIommufd {
  ioas(): Flow<string>;
  map(ioas: number, page: number, count: number): Flow<string>;
  unmap(ioas: number, page: number, count: number): Flow<string>;
  copy(from: number, to: number, page: number, count: number): Flow<string>;
  queue(): Flow<string>;
  /** A page table of an IOAS, with a fault queue or a dirty log. */
  hwpt(ioas: number, options: { readonly queue?: number; readonly dirty?: boolean }): Flow<string>;
  destroy(id: number): Flow<string>;
  /** Attaches a device, or moves it. */
  attach(device: number, id: number): Flow<string>;
  detach(device: number): Flow<string>;
  /** Returns the cookie of the first group, or 0. */
  read(queue: number): Flow<number>;
  /** `code` 0: SUCCESS, 1: INVALID. */
  answer(queue: number, cookie: number, code: number): Flow<string>;
  closeQueue(queue: number): Flow<void>;
  logDirty(hwpt: number, on: boolean): Flow<string>;
  reportDirty(hwpt: number): Flow<string>;
}
