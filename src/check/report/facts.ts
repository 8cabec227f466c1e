/** What can be said about a world at one time, each thing with its name. */
import type { IommuDevice } from '../../iommu/device.js';
import { READ, WRITE } from '../../mm/address-space.js';
import { foreignHandler } from '../world/foreign-handler.js';
import { hex, IOVA, VADDR } from '../world/operation.js';
import type { World } from '../world/world.js';

export type Facts = ReadonlyMap<string, string>;

/**
 * Pages that are told one by one; of more, only those that differ from page to page would be read.
 */
const PAGES_TOLD = 16;

const ACCESS = ['none', 'read', 'write', 'read/write'] as const;

export function factsOf(world: World): Facts {
  const facts = new Map<string, string>();
  const iopf = world.space.iopf;
  facts.set('IOPF', iopf.enabled ? 'on' : 'off');
  facts.set('dirty log', world.type1.log !== null ? 'on' : 'off');
  for (const { iommu } of world.devices) addDevice(world, facts, iommu);
  for (let mapping = world.space.mappings.firstFrom(0); mapping !== null; ) {
    const { lockedPages } = mapping.source;
    const account = `pinned, ${lockedPages} ${lockedPages === 1 ? 'page' : 'pages'} in the account`;
    const kind = mapping.pinned ? account : 'faulted in';
    facts.set(`mapping ${hex(mapping.iovaPage)}+${mapping.pages}`, kind);
    mapping = world.space.mappings.after(mapping);
  }
  const pages = Math.min(world.pages, PAGES_TOLD);
  for (let page = 0; page < pages; page++) {
    world.space.domains.forEach((domain, i) => {
      const frame = domain.frameAt(IOVA + page);
      const name = `${hex(IOVA + page)} in ${world.space.domains.length > 1 ? `domain ${i + 1}` : 'the domain'}`;
      if (frame >= 0)
        facts.set(name, `frame ${frame}, ${ACCESS[domain.permissionAt(IOVA + page)]}`);
    });
    for (const { mm } of world.programs) {
      const owner = world.programs.length > 1 ? ` of process ${mm.id + 1}` : '';
      const frame = mm.frameAt(VADDR + page);
      const there = frame < 0 ? 'not there' : `frame ${frame}`;
      const going = mm.isInvalidating(VADDR + page) ? ', going' : '';
      facts.set(
        `page ${hex(VADDR + page)}${owner}`,
        `${there}${going}, ${ACCESS[mm.protectionAt(VADDR + page)]}`,
      );
    }
    if (world.ledger.written[page] !== 0)
      facts.set(`${hex(IOVA + page)} since the last report`, 'written by a device');
  }
  return facts;
}

function addDevice(world: World, facts: Map<string, string>, device: IommuDevice): void {
  const { address, handlers } = device;
  const handler = handlers.flat ?? handlers.stage2;
  const owner =
    handler === null ? 'none' : handler === foreignHandler ? "somebody else's" : "the container's";
  facts.set(`handler of ${address}`, owner);
  if (handlers.stage1 !== null) facts.set(`stage 1 handler of ${address}`, 'a fault queue');
  facts.set(`page requests of ${address}`, device.iopfEnabled ? 'on' : 'off');
  facts.set(`domain of ${address}`, device.domain === null ? 'none' : 'there');
  if (device.queue.pendingCount !== 0)
    facts.set(`pending at ${address}`, `${device.queue.pendingCount}`);
  if (device.handlersInside !== 0)
    facts.set(`handlers at work for ${address}`, `${device.handlersInside}`);
  for (let page = 0; page < Math.min(world.pages, PAGES_TOLD); page++) {
    for (const access of [READ, WRITE]) {
      const frame = device.iotlb.lookup(IOVA + page, access);
      if (frame >= 0)
        facts.set(
          `${ACCESS[access]} of ${hex(IOVA + page)} in the IOTLB of ${address}`,
          `frame ${frame}`,
        );
    }
  }
}
