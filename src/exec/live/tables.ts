/**
 * What the I/O page tables and mappings of a run look like at the moment: the engine's answers to a
 * live view.
 */

import type { IoSpace } from '../../ioas/io-space.js';
import type { Mapping } from '../../ioas/mapping.js';
import type { IommuDevice } from '../../iommu/device.js';
import {
  LIVE_TABLE_ENTRIES_MOST,
  type LiveDevice,
  type LiveMapColumn,
  type LiveSegment,
  type LiveTable,
  type LiveTableEntry,
} from '../../live/live.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import type { ProcessMemory } from '../../mm/process/memory.js';
import type { HeatMap } from '../../trace/heat.js';
import type { Machine } from '../../vfio/machine.js';

const RANGES_MOST = 64;

/** `faults` returns a device's page requests, which the observer of the run counts. */
export function devicesOf(machine: Machine, faults: (device: IommuDevice) => number): LiveDevice[] {
  const spaces = machine.ioSpaces();
  return machine.groups.flatMap((group) =>
    group.boundDevices.map(({ pciFunction, isOpen, space }) => {
      const { address, kind, iommu } = pciFunction;
      return {
        address,
        kind,
        group: group.number,
        space:
          space === null
            ? null
            : { container: spaces.indexOf(space), ioas: space.ioas?.id ?? null },
        open: isOpen,
        faulting: iommu.iopfEnabled,
        pending: iommu.queue.pendingCount,
        faults: faults(iommu),
        dmaBytesRead: iommu.dmaBytesRead,
        dmaBytesWritten: iommu.dmaBytesWritten,
      };
    }),
  );
}

/**
 * Mapped IOVAs as [first byte, bytes], by address. Where there are too many ranges the smallest
 * gaps between them are closed.
 */
export function mappedRanges(machine: Machine): [first: number, bytes: number][] {
  const ranges: { first: number; end: number }[] = [];
  for (const { mappings } of machine.ioSpaces())
    for (let at = mappings.firstFrom(0); at !== null; at = mappings.after(at))
      ranges.push({ first: at.iovaPage, end: at.iovaEnd });
  ranges.sort((a, b) => a.first - b.first);
  let merged = closeGaps(ranges, 0);
  if (merged.length > RANGES_MOST) {
    const gaps = merged.slice(1).map((range, index) => range.first - merged[index]!.end);
    merged = closeGaps(merged, gaps.sort((a, b) => b - a)[RANGES_MOST - 1]!);
  }
  return merged.map(({ first, end }) => [first * PAGE_SIZE, (end - first) * PAGE_SIZE]);
}

function closeGaps(
  ranges: readonly { first: number; end: number }[],
  widest: number,
): { first: number; end: number }[] {
  const merged: { first: number; end: number }[] = [];
  for (const { first, end } of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && first - last.end <= widest) last.end = Math.max(last.end, end);
    else merged.push({ first, end });
  }
  return merged;
}

/** `machine` null: nothing is mapped any more. */
export function mapColumn(
  { first, pages, rows: asked }: LiveSegment,
  machine: Machine | null,
  heat: HeatMap,
): LiveMapColumn {
  const pagesPerRow = Math.ceil(pages / asked);
  const rows = Math.ceil(pages / pagesPerRow);
  const mapped = new Array<number>(rows).fill(0);
  const resident = new Array<number>(rows).fill(0);
  const end = first + pagesPerRow * rows;
  for (const { mappings } of machine === null ? [] : machine.ioSpaces()) {
    let at = mappings.firstFrom(first);
    for (; at !== null && at.iovaPage < end; at = mappings.after(at)) {
      const stop = Math.min(at.iovaEnd, end);
      for (let page = Math.max(at.iovaPage, first); page < stop; ) {
        const row = Math.floor((page - first) / pagesPerRow);
        const to = Math.min(stop, first + (row + 1) * pagesPerRow);
        mapped[row]! += to - page;
        resident[row]! += residentPages(at, page, to);
        page = to;
      }
    }
  }
  const heatRows = heat.rows(first, pagesPerRow, rows);
  return { first, pagesPerRow, pagesPerCell: heat.pagesPerCell, mapped, resident, ...heatRows };
}

function residentPages(mapping: Mapping, first: number, end: number): number {
  if (mapping.pinned) return end - first;
  return mapping.mapped.countIn(first - mapping.iovaPage, end - mapping.iovaPage);
}

export function tableOf(
  first: number,
  pages: number,
  machine: Machine,
  memory: ProcessMemory,
): LiveTable {
  const entries: LiveTableEntry[] = [];
  const present = new Set<number>();
  let around: LiveTable['mapping'] = null;
  const end = first + pages;
  for (const [container, space] of machine.ioSpaces().entries()) {
    const covering = space.mappings.covering(first);
    if (covering !== null) around ??= describe(covering);
    for (const [domain, table] of space.domains.entries()) {
      for (
        let page = table.nextPresent(first, end);
        page < end;
        page = table.nextPresent(page + 1, end)
      ) {
        present.add(page);
        if (entries.length === LIVE_TABLE_ENTRIES_MOST) continue;
        const { pid, page: vaddrPage } = memory.placeOf(table.frameAt(page));
        const mapping = space.mappings.covering(page);
        entries.push({
          container,
          ioas: space.ioas?.id ?? null,
          domain,
          iova: page * PAGE_SIZE,
          pid,
          vaddr: vaddrPage * PAGE_SIZE,
          permission: permissionText(table.permissionAt(page)),
          dirty: mapping === null ? null : writtenIn(space, mapping, page),
        });
      }
    }
  }
  return { mapping: around, entries, absent: pages - present.size };
}

/** Since the last report; null where no dirty log is on. */
function writtenIn({ logs }: IoSpace, mapping: Mapping, page: number): boolean | null {
  if (logs.length === 0) return null;
  return logs.some((log) => log.of(mapping).test(page - mapping.iovaPage));
}

function describe(mapping: Mapping): LiveTable['mapping'] {
  return {
    iova: mapping.iovaPage * PAGE_SIZE,
    bytes: mapping.pages * PAGE_SIZE,
    vaddr: mapping.vaddrPage * PAGE_SIZE,
    permission: permissionText(mapping.permission),
    pinned: mapping.pinned,
  };
}

function permissionText(permission: number): string {
  return `${(permission & READ) === 0 ? '' : 'r'}${(permission & WRITE) === 0 ? '' : 'w'}`;
}
