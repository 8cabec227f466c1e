/**
 * What must be true whenever no path is inside one of its atomic steps, and what must be left when
 * everything has ended.
 *
 * Each check throws a `Violation` that names the invariant and the row of docs/series.md it comes
 * from.
 */
import { runDirect } from '../../flow/direct.js';
import type { IommuDevice } from '../../iommu/device.js';
import { READ, WRITE } from '../../mm/address-space.js';
import { INPUT } from '../world/first-stage.js';
import { foreignHandler } from '../world/foreign-handler.js';
import { hex, IOVA } from '../world/operation.js';
import type { ProgramSpace } from '../world/program-actor.js';
import type { World } from '../world/world.js';
import { checkIommufd } from './iommufd-invariants.js';
import { checkTables } from './translations.js';
import { Invariant, violated } from './violation.js';

const { ACCOUNT, HANDLER, ONCE, RELEASED, SAME, UNDONE } = Invariant;

export function checkStep(world: World): void {
  // The gravest first: a count that is wrong, too, says less than a translation that nobody has.
  for (let i = 0; i < world.devices.length; i++) checkDevice(world, world.devices[i]!.iommu);
  checkTables(world, world.space);
  for (let i = 0; i < world.devices.length; i++) checkIotlb(world, world.devices[i]!.iommu);
  if (world.iommufd === null) checkAccount(world);
  else checkIommufd(world, world.iommufd);
}

/** Everybody has ended: what is still there is closed, and nothing may be left. */
export function checkEnd(world: World): void {
  if (world.ledger.requests.length !== 0)
    violated(
      ONCE,
      'R1.4',
      `${world.ledger.requests.length} page request groups never got an answer`,
    );
  if (!world.closed) runDirect(world.close());
  checkStep(world);
  const { counters, memory, space } = world;
  nothingLeft(counters.pinnedPages, 'pinned pages');
  nothingLeft(memory.pinned, 'pins on frames');
  nothingLeft(counters.residentPages, 'resident pages');
  nothingLeft(counters.mappedPages, 'mapped pages');
  nothingLeft(space.domains.length, 'domains');
  nothingLeft(space.iopf.watchedSpaces, 'watched address spaces');
  if (world.iommufd !== null) {
    nothingLeft([...world.iommufd.objects()].length, 'objects');
    nothingLeft(world.iommufd.locks.pages, "pages in the user's account");
  }
  for (const { mm } of world.programs) {
    nothingLeft(mm.notifierCount, 'notifiers', mm);
    nothingLeft(mm.lockedPages, 'locked pages', mm);
  }
}

function nothingLeft(count: number, what: string, mm: ProgramSpace | null = null): void {
  if (count !== 0)
    violated(
      ACCOUNT,
      'R5.11',
      `${count} ${what}${mm === null ? '' : ` of process ${mm.id}`} are left`,
    );
}

function checkAccount(world: World): void {
  let pinned = 0;
  let locked = 0;
  let twice = 0;
  let resident = 0;
  for (let mapping = world.space.mappings.firstFrom(0); mapping !== null; ) {
    const driverPins = mapping.driverPins?.pages.count ?? 0;
    pinned += mapping.pinned ? mapping.pages : driverPins;
    if (mapping.pinned) twice += driverPins;
    resident += mapping.pinned ? mapping.pages : mapping.mapped.count;
    locked += mapping.source.lockedPages;
    mapping = world.space.mappings.after(mapping);
  }
  let account = 0;
  for (let i = 0; i < world.programs.length; i++) account += world.programs[i]!.mm.lockedPages;
  const { counters, memory } = world;
  if (account !== pinned || locked !== pinned)
    violated(
      ACCOUNT,
      'R5.8',
      `${account} pages are in the account where ${pinned} are pinned mappings'`,
    );
  if (memory.pinned > pinned + twice || counters.pinnedPages !== pinned)
    violated(
      ACCOUNT,
      'R5.8',
      `${memory.pinned} frames are pinned where mappings pin ${pinned} pages`,
    );
  if (counters.residentPages !== resident)
    violated(
      ACCOUNT,
      'R6.1',
      `${counters.residentPages} pages are counted as resident, and ${resident} are`,
    );
}

function checkDevice(world: World, device: IommuDevice): void {
  const { handlers } = device;
  const iopf = world.space.iopf;
  const handler = device.nested ? handlers.stage2 : handlers.flat;
  if (device.domain === null) {
    if (device.handlersInside !== 0 || device.queue.pendingCount !== 0)
      violated(
        RELEASED,
        'R5.6',
        `${device.address} has left the container and a handler is at work for it`,
      );
    if (handlers.has(iopf.handler))
      violated(RELEASED, 'R5.6', `${device.address} has left the container and has its handler`);
    return;
  }
  if (device.iopfEnabled && handler === null)
    violated(
      HANDLER,
      world.ledger.handled[world.numberOf(device)] ? 'R5.2 down' : 'R5.2 up',
      `${device.address} reports page requests and nobody is there to handle them`,
    );
  if (handler === null && (device.handlersInside !== 0 || device.queue.pendingCount !== 0))
    violated(
      RELEASED,
      'R5.6',
      `the handler of ${device.address} is off while it handles a request`,
    );
  if (handler === foreignHandler && !device.iopfEnabled)
    violated(UNDONE, 'R5.3', `${device.address} was switched on by somebody else and is off`);
  if (iopf.changing || !world.inContainer.has(device.group!)) return;
  const ours = handler === iopf.handler;
  if (!iopf.enabled && ours && !world.changingGroups)
    violated(UNDONE, 'R5.3', `IOPF is off and ${device.address} still has the container's handler`);
  if (ours && !device.iopfEnabled && !world.changingGroups)
    violated(
      UNDONE,
      'R5.3',
      `${device.address} has the container's handler and page requests are off`,
    );
}

function checkIotlb(world: World, device: IommuDevice): void {
  for (let iovaPage = IOVA; iovaPage < IOVA + world.pages; iovaPage++) {
    for (let access = READ; access <= WRITE; access++) {
      const cached = device.iotlb.lookup(iovaPage, access);
      if (cached < 0) continue;
      const walked = device.domain === null ? -1 : device.domain.translate(iovaPage, access);
      if (cached !== walked)
        violated(
          SAME,
          'R3.1',
          `the IOTLB of ${device.address} holds ${hex(iovaPage)} to frame ${cached}, the page table ${walked}`,
        );
    }
  }
  if (device.stage1 !== null) checkBothStages(world, device);
}

/**
 * What went through both stages is what the second has now; the first may have changed until it is
 * invalidated.
 */
function checkBothStages(world: World, device: IommuDevice): void {
  for (let page = IOVA; page < IOVA + world.pages; page++) {
    for (let access = READ; access <= WRITE; access++) {
      const cached = device.iotlb.lookup(INPUT + page, access);
      if (cached >= 0 && cached !== device.domain!.translate(page, access))
        violated(
          SAME,
          'R8.1',
          `the IOTLB of ${device.address} holds ${hex(INPUT + page)} to a page that has changed`,
        );
    }
  }
}
