/**
 * Which pages of a device's regions its client shares.
 *
 * The descriptor of a region leads to all of it. What a client is not told to map is memory of this
 * process alone: whatever somebody writes there, the device never sees it.
 */
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../abi/linux.js';
import { gapsOf } from '../device/pci/region-gaps.js';
import type { DmaBuffer } from '../mm/frame-memory.js';
import { mmap, must } from '../mm/process/libc.js';
import type { RegionArea } from '../vfio/pci-function.js';

/** Takes all but `areas`, in whole pages and ascending, away from who has the descriptor. */
export function keepPrivate(region: DmaBuffer, areas: readonly RegionArea[]): void {
  for (const { offset, size } of gapsOf(areas, region.bytes.length)) replace(region, offset, size);
}

function replace({ address, bytes }: DmaBuffer, offset: number, length: number): void {
  const before = bytes.slice(offset, offset + length);
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  must('mmap', mmap(address + offset, length, PROT_READ | PROT_WRITE, flags, -1, 0));
  bytes.set(before, offset);
}
