/**
 * A first stage that the program owns, before a device (R8.1): the device's accesses through both
 * stages, and what the program does with its table. Page 0 and page 1 of the scenario are the
 * table, of which one entry, of 1 GiB, leads to the container's pages.
 */
import { type Flow, freshStep } from '../../flow/flow.js';
import { FaultQueue } from '../../iommu/fault-queue.js';
import { Stage1, TableMemory } from '../../iommu/stage1.js';
import { PAGE_SIZE, READ, WRITE } from '../../mm/address-space.js';
import { allocatePlain } from '../../mm/frame-memory.js';
import type { SimulatedMemory } from '../../mm/simulated-memory.js';
import type { Ledger } from '../verify/ledger.js';
import { violated } from '../verify/violation.js';
import type { Device } from './device-actor.js';
import type { Digest } from './digest.js';
import { addFaultQueue } from './fingerprint.js';
import {
  accessName,
  checkAccess,
  checkPages,
  hex,
  IOVA,
  Operation,
  TRIED,
  VADDR,
} from './operation.js';
import type { ProgramSpace } from './program-actor.js';
import type { StepNotes } from './step-notes.js';

/** What a first stage needs of the world. */
interface FirstStageWorld {
  readonly notes: StepNotes;
  readonly ledger: Ledger;
  readonly memory: SimulatedMemory;
  readonly programs: readonly { readonly mm: ProgramSpace }[];
  readonly pages: number;
}

const REVOKED = 'what a guest has invalidated is not reached';
const RETRY = freshStep('answered SUCCESS, tries the access again');
/** The entry is the second of its table, so that the device's addresses are not the container's. */
const ENTRY = 1;
/** First input page that the entry leads to page 0 of the container by. */
export const INPUT = ENTRY * 512 * 512;
const PRESENT = 7;
const LEAF = 0x80;
/**
 * A page request for each page of the table, for the entry and for the page of data, and one that
 * has to be repeated.
 */
const TRIES = 6;

export class FirstStage {
  private readonly stage1: Stage1;
  private readonly queue: FaultQueue;
  private readonly entry = new Uint8Array(8);

  constructor(
    private readonly world: FirstStageWorld,
    private readonly device: Device,
  ) {
    this.queue = new FaultQueue(() => 1);
    this.stage1 = new Stage1(IOVA, this.queue, new TableMemory(world.memory, allocatePlain));
    const zero = new Uint8Array(PAGE_SIZE);
    const { mm } = world.programs[0]!;
    for (const page of [0, 1]) mm.copyTo((VADDR + page) * PAGE_SIZE, zero);
    this.write(0, 0, (IOVA + 1) * PAGE_SIZE + PRESENT);
  }

  /** VFIO_DEVICE_ATTACH_STAGE1. */
  *attach(): Flow<string> {
    yield new Operation('ATTACH_STAGE1');
    const { world, device } = this;
    return yield* world.notes.result(this.attaches(device));
  }

  /** VFIO_DEVICE_DETACH_STAGE1. */
  *detach(): Flow<string> {
    yield new Operation('DETACH_STAGE1');
    return yield* this.world.notes.result(this.device.iommu.detachStage1());
  }

  /** The table's entry leads to the container's pages; nothing has to be invalidated for that. */
  *mend(): Flow<void> {
    yield new Operation('enters 1 GiB into its table');
    this.write(1, ENTRY, PRESENT + LEAF);
    this.world.notes.note(null, 0);
  }

  /** The entry goes, and its translations with it. */
  *revoke(): Flow<void> {
    yield new Operation('takes the entry away and invalidates');
    this.write(1, ENTRY, 0);
    this.device.iommu.iotlb.flush(INPUT, 512 * 512);
    this.world.notes.note(null, 0);
    for (let page = 0; page < this.world.pages; page++)
      for (const access of [READ, WRITE])
        if (this.device.iommu.iotlb.lookup(INPUT + IOVA + page, access) >= 0)
          violated(
            REVOKED,
            'R8.1',
            `${hex(INPUT + IOVA + page)} is translated after its invalidation`,
          );
  }

  /** The last descriptor of the fault queue is closed. */
  *closeQueue(): Flow<void> {
    yield new Operation('closes the fault queue');
    this.queue.close();
    this.world.notes.note(null, 0);
  }

  /**
   * One access of the device: through the table, to page `page` of the container. True: it reached
   * memory.
   */
  *access(page: number, access: number): Flow<boolean> {
    checkAccess('access', access);
    checkPages('access', page, 1);
    const input = INPUT + IOVA + page;
    yield new Operation(accessName(access), input, 1);
    const { world, device, stage1 } = this;
    const { iommu } = device;
    for (let tries = 0; tries < TRIES; tries++) {
      const frame = iommu.translate(input, access);
      if (frame >= 0) {
        world.ledger.reached(iommu, IOVA + page, access, frame);
        return world.notes.note(true, 1);
      }
      // Without its first stage the device's addresses lead nowhere.
      if (iommu.stage1 === null) break;
      const answered =
        stage1.end === 'stage2'
          ? yield* this.faultStage2(stage1.iovaPage, stage1.access)
          : yield* iommu.faultFlow(input, access, 'stage1');
      if (!answered) break;
      world.notes.note(null, TRIED + tries);
      yield RETRY;
    }
    return world.notes.note(false, 0);
  }

  addTo(digest: Digest): void {
    const { iommu } = this.device;
    digest.add(iommu.stage1 === null ? 0 : 1);
    addFaultQueue(digest, this.queue);
    for (let page = 0; page < this.world.pages; page++) {
      const input = INPUT + IOVA + page;
      digest.add(iommu.iotlb.lookup(input, READ) * 4096 + iommu.iotlb.lookup(input, WRITE));
    }
    digest.add(this.read(0, 0));
    digest.add(this.read(1, ENTRY));
  }

  // biome-ignore lint/correctness/useYield: a call as any other
  private *attaches({ iommu }: Device): Flow<void> {
    iommu.attachStage1(this.stage1);
    this.device.faultQueue = this.queue;
  }

  private *faultStage2(iovaPage: number, access: number): Flow<boolean> {
    const { world, device } = this;
    world.ledger.asked(iovaPage, access);
    const answered = yield* device.iommu.faultFlow(iovaPage, access);
    world.ledger.answered(iovaPage, access);
    return answered;
  }

  /** Writes an entry of a table page, which is below 2^32. */
  private write(page: number, index: number, value: number): void {
    this.entry.fill(0);
    new DataView(this.entry.buffer).setUint32(0, value, true);
    this.world.programs[0]!.mm.copyTo((VADDR + page) * PAGE_SIZE + index * 8, this.entry);
  }

  private read(page: number, index: number): number {
    this.entry.fill(0);
    this.world.programs[0]!.mm.peek(VADDR + page, index * 8, this.entry);
    return new DataView(this.entry.buffer).getUint32(0, true);
  }
}
