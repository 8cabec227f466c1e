import { REGION_OFFSET } from '../../abi/vfio.js';
import type { PciFunction } from '../../vfio/pci-function.js';

/** Tells the user, once for each BAR, of a mapping that was refused because nothing traps. */
export class RefusedMappings {
  private readonly told = new Set<string>();

  constructor(
    private readonly tell: (text: string) => void,
    /** Why no mapping of the run traps. */
    private readonly noTraps: string,
  ) {}

  /** A mapping was refused. In a run in which nothing traps that is why, if it is in the BAR. */
  noteSparse(pciFunction: PciFunction, offset: number, length: number): void {
    const region = pciFunction.regions[Math.floor(offset / REGION_OFFSET)];
    const end = (offset % REGION_OFFSET) + length;
    if (region?.sparse !== undefined && end <= region.size)
      this.note(pciFunction, offset, length, this.noTraps);
  }

  /** `reason`: why nothing traps. `offset` and `length`: the mmap's, in bytes of the file. */
  note(pciFunction: PciFunction, offset: number, length: number, reason: string): void {
    const { kind, address, regions } = pciFunction;
    const bar = Math.floor(offset / REGION_OFFSET);
    const name = `${kind} ${address}, BAR ${bar}`;
    if (this.told.has(name)) return;
    this.told.add(name);
    const areas = regions[bar]?.sparse ?? [];
    const open = areas.map((area) => range(area.offset, area.size)).join(', ');
    this.tell(
      `${name}: a mapping of ${range(offset % REGION_OFFSET, length)} was refused: ` +
        `registers there must answer each access, and ${reason}. The program can map ` +
        `${open === '' ? 'nothing of it' : open}, and reach all of it by pread and pwrite`,
    );
  }
}

function range(start: number, bytes: number): string {
  return `[0x${start.toString(16)}, 0x${(start + bytes).toString(16)})`;
}
