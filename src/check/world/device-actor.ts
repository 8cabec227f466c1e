/** The devices of a scenario, and the guests above them. */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { HwptPageResponse, HwptPgfault } from '../../abi/iommufd-structs.js';
import { type Flow, freshStep, step } from '../../flow/flow.js';
import type { IommuDevice } from '../../iommu/device.js';
import { FaultQueue } from '../../iommu/fault-queue.js';
import { FaultReport } from '../../iommu/page-request.js';
import { READ, WRITE } from '../../mm/address-space.js';
import type { Ledger } from '../verify/ledger.js';
import {
  accessName,
  checkAccess,
  checkPages,
  checkWhole,
  IOVA,
  NAMED_IDS,
  onContainer,
  TRIED,
} from './operation.js';
import type { StepNotes } from './step-notes.js';

const RETRY = freshStep('answered SUCCESS, tries the access again');
const PARTIAL = step('partial request reported');

/** A device that does DMA. */
export class Device {
  constructor(
    private readonly notes: StepNotes,
    private readonly ledger: Ledger,
    readonly iommu: IommuDevice,
  ) {}

  /** The fault queue of its first stage, once a guest has opened one. */
  faultQueue: FaultQueue | null = null;

  openQueue(): void {
    this.faultQueue = new FaultQueue(() => 1);
    this.iommu.handlers.register(this.faultQueue, FaultReport.STAGE1);
  }

  /** Function-level reset: it waits for no answer any more. */
  *reset(): Flow<void> {
    yield onContainer(`reset of ${this.iommu.address}`);
    this.iommu.reset();
  }

  read(page: number): Flow<boolean> {
    return this.access(page, READ);
  }

  write(page: number): Flow<boolean> {
    return this.access(page, WRITE);
  }

  /**
   * One access: translated, or asked for and tried again, three times at most. True: it reached
   * memory.
   */
  *access(page: number, access: number): Flow<boolean> {
    checkAccess('access', access);
    const iovaPage = IOVA + page;
    yield onContainer(accessName(access), iovaPage, 1);
    const { notes, ledger, iommu } = this;
    for (let tries = 0; tries < 3; tries++) {
      const frame = iommu.translate(iovaPage, access);
      if (frame >= 0) {
        ledger.reached(iommu, iovaPage, access, frame);
        return notes.note(true, 1);
      }
      ledger.asked(iovaPage, access, iommu);
      const answered = yield* iommu.faultFlow(iovaPage, access);
      ledger.answered(iovaPage, access);
      if (!answered) return notes.note(false, 0);
      notes.note(null, TRIED + tries);
      yield RETRY;
    }
    return notes.note(false, 0);
  }

  /** Reports a page request and does nothing with its answer. */
  *fault(page: number, access: number): Flow<boolean> {
    checkAccess('fault', access);
    yield onContainer(`page request ${accessName(access)}`, IOVA + page, 1);
    this.ledger.asked(IOVA + page, access, this.iommu);
    const answer = yield* this.iommu.faultFlow(IOVA + page, access);
    this.ledger.answered(IOVA + page, access);
    return this.notes.note(answer, answer ? 1 : 0);
  }

  /** A group of page requests for several pages, answered once. `group`: 256 to 511. */
  *faultGroup(pages: readonly number[], access: number, group: number): Flow<number | null> {
    checkNamed(group);
    checkAccess('faultGroup', access);
    for (const page of pages) checkPages('faultGroup', page, 1);
    yield onContainer(
      `page request group ${group} ${accessName(access)}`,
      IOVA + pages[0]!,
      pages.length,
    );
    let code: number | null = null;
    for (let i = 0; i < pages.length; i++) {
      const iovaPage = IOVA + pages[i]!;
      const last = i === pages.length - 1;
      const level = this.iommu.nested ? 'stage2' : 'flat';
      this.ledger.asked(iovaPage, access);
      code = (yield* this.iommu.report({
        kind: 'page-request',
        iovaPage,
        access,
        pasid: -1,
        group,
        last,
        level,
      })).code;
      if (!last) yield PARTIAL;
    }
    for (const page of pages) this.ledger.answered(IOVA + page, access);
    return this.notes.note(code, code ?? 9);
  }

  /** A page request at a level, as it is reported; returns the errno. `group`: 256 to 511. */
  *report(
    page: number,
    access: number,
    level: 'flat' | 'stage1' | 'stage2',
    group: number,
  ): Flow<number> {
    checkNamed(group);
    checkAccess('report', access);
    yield onContainer(`page request ${level} ${accessName(access)}`, IOVA + page, 1);
    const iovaPage = IOVA + page;
    this.ledger.asked(iovaPage, access);
    const fault = {
      kind: 'page-request',
      iovaPage,
      access,
      pasid: -1,
      group,
      last: true,
      level,
    } as const;
    const { errno } = yield* this.iommu.report(fault);
    this.ledger.answered(iovaPage, access);
    return this.notes.note(errno, errno);
  }
}

/** A guest that owns the first stage of a device: reads page requests and answers them. */
export class Guest {
  private readonly records = new Uint8Array(8 * HwptPgfault.size);
  private readonly response = new ArgumentBuffer(HwptPageResponse.size);

  constructor(
    private readonly notes: StepNotes,
    private readonly device: Device,
  ) {}

  /** Makes the fault queue of the device's first stage. */
  *open(): Flow<void> {
    yield onContainer('opens a fault queue');
    this.device.openQueue();
  }

  /** read(2) of what there is; returns the cookie of the first group, or 0. */
  *read(): Flow<number> {
    yield onContainer('reads the fault queue');
    const bytes = this.device.faultQueue!.read(this.records);
    const view = new DataView(this.records.buffer);
    const cookie = bytes === 0 ? 0 : view.getUint32(HwptPgfault.at.cookie, true);
    return this.notes.note(cookie, cookie);
  }

  /** write(2) of an answer. */
  *respond(cookie: number, code: number): Flow<string> {
    checkWhole('respond: cookie', cookie, 0, 2 ** 32 - 1);
    checkWhole('respond: code', code, 0, 2 ** 32 - 1);
    yield onContainer(`answers cookie ${cookie} with ${code === 0 ? 'SUCCESS' : 'INVALID'}`);
    this.response.setU32(HwptPageResponse.at.cookie, cookie);
    this.response.setU32(HwptPageResponse.at.code, code);
    try {
      this.device.faultQueue!.write(this.response.bytes);
      return this.notes.note('ok', 0);
    } catch (error) {
      return this.notes.noteError(error);
    }
  }

  /** Reads, and answers the group that came first. */
  *answer(code: number): Flow<string> {
    const cookie = yield* this.read();
    return yield* this.respond(cookie, code);
  }
}

function checkNamed(group: number): void {
  checkWhole('number of a page request group', group, NAMED_IDS, 2 * NAMED_IDS - 1);
}
