/** A program that answers the page requests of a device, which finds nothing mapped at first. */
import { HwptPageResponse, HwptPgfault } from '../../src/abi/iommufd-structs.js';
import { writeStruct } from '../../src/abi/layout.js';
import { FaultQueue } from '../../src/iommu/fault-queue.js';
import { FaultReport } from '../../src/iommu/page-request.js';
import { PAGE_SIZE, READ, WRITE } from '../../src/mm/address-space.js';
import { IOVA_BASE_PAGE, type Program } from './program.js';

const [SUCCESS, INVALID] = [0, 1];

export class PageServer {
  readonly queue = new FaultQueue(() => 1);
  /** Frames that were asked for, in order. */
  private readonly asked: number[] = [];

  constructor(
    private readonly program: Program,
    private readonly device: { poll(): boolean },
  ) {
    const { domain, iommu, memory } = program;
    domain.unmap(IOVA_BASE_PAGE, memory.pages);
    iommu.handlers.register(this.queue, FaultReport.FLAT);
    iommu.enableIopf();
  }

  /** Reads and answers page requests until there are none; frames of `refused` are INVALID. */
  serve(refused: readonly number[] = []): void {
    const record = new Uint8Array(HwptPgfault.size);
    const view = new DataView(record.buffer);
    for (this.device.poll(); this.queue.read(record) > 0; this.device.poll()) {
      const page = Number(view.getBigUint64(HwptPgfault.at.addr, true)) / PAGE_SIZE;
      const frame = page - IOVA_BASE_PAGE;
      this.asked.push(frame);
      const code = refused.includes(frame) ? INVALID : SUCCESS;
      const { domain } = this.program;
      if (code === SUCCESS && domain.frameAt(page) < 0) domain.map(page, frame, 1, READ | WRITE);
      const cookie = view.getUint32(HwptPgfault.at.cookie, true);
      this.queue.write(writeStruct(HwptPageResponse, { cookie, code }));
    }
  }

  /** What was asked for since the last call. */
  taken(): number[] {
    return this.asked.splice(0);
  }
}
