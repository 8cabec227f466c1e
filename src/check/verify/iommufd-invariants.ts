/** What must hold of an iommufd and its objects, beside what holds of every I/O address space. */
import type { UserPages } from '../../ioas/user-pages.js';
import type { Iommufd } from '../world/iommufd.js';
import { hex, IOVA } from '../world/operation.js';
import type { World } from '../world/world.js';
import { checkTables } from './translations.js';
import { Invariant, violated } from './violation.js';

const { ACCOUNT, DIRTY, QUEUE } = Invariant;

export function checkIommufd(world: World, iommufd: Iommufd): void {
  for (const { space } of iommufd.spaces()) checkTables(world, space);
  checkLogs(world, iommufd);
  checkQueues(iommufd);
  checkPins(world, iommufd);
}

/** What a device has written is in the log of its page table. */
function checkLogs({ pages }: World, iommufd: Iommufd): void {
  for (const { id, table, log } of iommufd.logs())
    for (let page = 0; page < pages; page++) {
      const mapping = table.ioas.space.mappings.covering(IOVA + page);
      if (mapping === null || mapping.pinned || !iommufd.hasWritten(id, page)) continue;
      if (!log.of(mapping).test(IOVA + page - mapping.iovaPage))
        violated(DIRTY, 'R6.3', `page table ${id}: ${hex(IOVA + page)} was written and is clean`);
    }
}

/** Where a program answers, it is the device's one handler. */
function checkQueues(iommufd: Iommufd): void {
  for (const bound of iommufd.bound) {
    const { device, group } = bound;
    const hwpt = bound.hwpt();
    if (hwpt === null || hwpt.fault === null || group.lock.isHeld) continue;
    const { fault, ioas } = hwpt;
    if (device.handlers.flat !== fault.queue || ioas.space.iopf.enabledDevices.includes(device))
      violated(QUEUE, 'R1.2', `${device.address} has another handler than its fault queue`);
  }
}

/** A page is pinned and charged once, however many mappings want it. */
function checkPins(world: World, iommufd: Iommufd): void {
  const { counters, memory } = world;
  const held = new Map<UserPages, Set<number>>();
  let resident = 0;
  for (const { space } of iommufd.spaces())
    for (const mapping of space.mappings) {
      resident += mapping.pinned ? mapping.pages : mapping.mapped.count;
      const { source, sourcePage, pages } = mapping;
      if (!held.has(source)) held.set(source, new Set());
      if (mapping.pinned)
        for (let page = sourcePage; page < sourcePage + pages; page++) held.get(source)!.add(page);
    }
  let pinned = 0;
  let charged = 0;
  for (const [source, pages] of held) {
    pinned += pages.size;
    charged += source.lockedPages;
  }
  const account = world.isLimited ? iommufd.locks.pages : charged;
  if (charged !== pinned || account !== pinned)
    violated(
      ACCOUNT,
      'R5.8',
      `${charged} pages are charged, and ${account} to their user, where` + ` ${pinned} are pinned`,
    );
  if (memory.pinned !== pinned || counters.pinnedPages !== pinned)
    violated(ACCOUNT, 'R5.8', `${memory.pinned} frames are pinned where mappings pin ${pinned}`);
  if (counters.residentPages !== resident)
    violated(
      ACCOUNT,
      'R6.1',
      `${counters.residentPages} pages are counted as resident, and ${resident} are`,
    );
}
