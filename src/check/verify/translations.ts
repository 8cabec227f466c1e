/** What the page tables of a space say, against its mappings, the programs' memory and its log. */
import type { IoSpace } from '../../ioas/io-space.js';
import type { Mapping } from '../../ioas/mapping.js';
import { WRITE } from '../../mm/address-space.js';
import { ZERO_FRAME } from '../../mm/simulated-memory.js';
import { hex, IOVA } from '../world/operation.js';
import type { ProgramSpace } from '../world/program-actor.js';
import type { World } from '../world/world.js';
import { Invariant, violated } from './violation.js';

const { DIRTY, GONE, PERMISSION, SAME } = Invariant;

/** The translations of a space's domains are what its mappings and the programs have. */
export function checkTables(world: World, space: IoSpace): void {
  const { pages } = world;
  const { domains } = space;
  for (let page = 0; page < pages; page++) {
    const iovaPage = IOVA + page;
    const mapping = space.mappings.covering(iovaPage);
    let present = -1;
    for (let i = 0; i < domains.length; i++) {
      const domain = domains[i]!;
      const frame = domain.frameAt(iovaPage);
      if (frame < 0) {
        if (mapping?.pinned)
          violated(SAME, 'R7.2', `pinned page ${hex(iovaPage)} is not in a domain`);
        continue;
      }
      present = frame;
      if (mapping?.pinned || !mapping?.driverPins?.pages.test(iovaPage - mapping.iovaPage))
        checkTranslation(world, mapping, iovaPage, frame, domain.permissionAt(iovaPage));
    }
    const isHeld = mapping?.driverPins?.pages.test(iovaPage - mapping.iovaPage) ?? false;
    if (isHeld) checkHeld(world, space, mapping!, iovaPage);
    if (mapping !== null && !mapping.pinned) {
      const bit = mapping.mapped.test(iovaPage - mapping.iovaPage);
      if (bit !== present >= 0) {
        violated(
          SAME,
          'R3.2',
          `the bit of ${hex(iovaPage)} is ${bit ? 'set' : 'clear'}, its page is ${bit ? 'not ' : ''}mapped`,
        );
      }
      if (world.type1.log !== null) checkDirty(world, mapping, page);
    }
  }
}

/** A page that a driver has pinned is there for its device, which may not be able to wait. */
function checkHeld(world: World, space: IoSpace, mapping: Mapping, iovaPage: number): void {
  const { frame } = mapping.driverPins!.get(iovaPage - mapping.iovaPage)!;
  if (frame !== ZERO_FRAME && !world.memory.isPinned(frame))
    violated(GONE, 'R6.2', `a driver has pinned ${hex(iovaPage)} and its frame is not`);
  const { log } = world.type1;
  if (log !== null && !log.of(mapping).test(iovaPage - mapping.iovaPage))
    violated(DIRTY, 'R6.3', `a driver has pinned ${hex(iovaPage)} and its bit is clear`);
  if (mapping.pinned) return;
  for (const domain of space.domains)
    if (domain.translate(iovaPage, mapping.permission) !== frame)
      violated(
        SAME,
        'R6.2',
        `a driver has pinned ${hex(iovaPage)} and a domain does not lead to its frame`,
      );
}

/** A translation that a device could use now. */
function checkTranslation(
  world: World,
  mapping: Mapping | null,
  iovaPage: number,
  frame: number,
  permission: number,
): void {
  if (mapping === null)
    violated(GONE, 'R3.3', `${hex(iovaPage)} is translated and no mapping covers it`);
  if ((permission & ~mapping.permission) !== 0)
    violated(
      PERMISSION,
      'R2.1',
      `${hex(iovaPage)} is mapped ${bits(permission)}, its mapping is ${bits(mapping.permission)}`,
    );
  if (mapping.pinned) {
    if (frame !== ZERO_FRAME && !world.memory.isPinned(frame))
      violated(GONE, 'R7.2', `pinned page ${hex(iovaPage)} leads to a frame that is not pinned`);
    return;
  }
  const mm = mapping.mm as ProgramSpace;
  const page = mapping.vaddrPage + iovaPage - mapping.iovaPage;
  if (mm.frameAt(page) !== frame)
    violated(
      GONE,
      'R3.3',
      `${hex(iovaPage)} leads to frame ${frame}, the program has frame ${mm.frameAt(page)} there`,
    );
  if (mm.isInvalidating(page))
    violated(
      GONE,
      'R3.3',
      `${hex(iovaPage)} is translated while the host takes page ${hex(page)} away`,
    );
  if ((permission & ~mm.protectionAt(page)) !== 0)
    violated(
      PERMISSION,
      'R2.1',
      `${hex(iovaPage)} is mapped ${bits(permission)}, the program may only ${bits(mm.protectionAt(page))}`,
    );
}

function checkDirty(world: World, mapping: Mapping, page: number): void {
  const index = IOVA + page - mapping.iovaPage;
  const dirty = world.type1.log!.of(mapping).test(index);
  if (world.ledger.written[page] !== 0 && !dirty)
    violated(DIRTY, 'R6.3', `${hex(IOVA + page)} was written and its bit is clear`);
  if (dirty && world.ledger.writeAsked[page] === 0 && !world.ledger.everPinned)
    violated(DIRTY, 'R6.3', `the bit of ${hex(IOVA + page)} is set and nobody asked to write it`);
  if (dirty) return;
  for (const domain of world.space.domains) {
    if ((domain.permissionAt(IOVA + page) & WRITE) !== 0)
      violated(
        DIRTY,
        'R6.3',
        `${hex(IOVA + page)} can be written without a fault and is not dirty`,
      );
  }
}

function bits(permission: number): string {
  return ['none', 'read', 'write', 'read/write'][permission & 3]!;
}
