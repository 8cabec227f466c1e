/**
 * Random programs of a container, its devices and the host, in random orders of their steps, with
 * the invariants checked at each.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { VfioError } from '../../../src/abi/errno.js';
import { runDirect } from '../../../src/flow/direct.js';
import type { Flow, Wait } from '../../../src/flow/flow.js';
import { IommuDevice } from '../../../src/iommu/device.js';
import { Domain } from '../../../src/iommu/domain.js';
import { READ, WRITE } from '../../../src/mm/address-space.js';
import { ZERO_FRAME } from '../../../src/mm/simulated-memory.js';
import { RW, TestContainer } from './container.js';

const IOVA = 0x1000;
const VADDR = 0x7f000;
const PAGES = 8;

interface Running {
  readonly flow: Flow<unknown>;
  wait: Wait;
}

/** `expect` is too slow for what is checked this often. */
function same(actual: unknown, expected: unknown, what: string, page: number): void {
  if (actual !== expected)
    throw new Error(`${what} of page ${page}: ${actual}, expected ${expected}`);
}

class Run {
  readonly container: TestContainer;
  readonly running: Running[] = [];
  readonly everyDevice: IommuDevice[] = [];

  constructor(premapPages: number) {
    this.container = new TestContainer({ premapPages, space: { swapInWaits: true } });
    this.container.mm.mmap(VADDR, PAGES, { kind: 'anon', protection: RW });
    this.container.mm.fillPages(VADDR, PAGES, 1);
  }

  start(flow: Flow<unknown>): void {
    this.advance({ flow, wait: { what: 'start', ready: () => true } });
  }

  /** Runs one step of the flow at an index, if it is ready. */
  step(index: number): void {
    if (this.running.length === 0) return;
    const [running] = this.running.splice(index % this.running.length, 1);
    this.advance(running!);
  }

  finish(): void {
    for (let tries = 0; this.running.length !== 0; tries++) {
      if (tries > 10_000)
        throw new Error(`deadlock: ${this.running.map((at) => at.wait.what).join(', ')}`);
      this.step(tries);
    }
  }

  private advance(running: Running): void {
    if (!running.wait.ready()) {
      this.running.push(running);
      return;
    }
    try {
      const step = running.flow.next();
      if (step.done) return;
      running.wait = step.value;
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      return;
    }
    this.running.push(running);
  }

  *attach(canFault: boolean, merges: boolean): Flow<void> {
    const { container } = this;
    const number = this.everyDevice.length + 1;
    const device = new IommuDevice({
      address: `0000:00:${number}`,
      canFault,
      counters: container.counters,
      iotlbEntries: 8,
    });
    const domain = new Domain({ merges });
    this.everyDevice.push(device);
    container.space.addDomain(domain);
    container.attached.push(device);
    try {
      yield* container.space.attachDevices([device], { domain, handler: null, stage1: null });
    } catch (error) {
      device.detach();
      this.forget(device, domain);
      throw error;
    }
  }

  *detach(device: IommuDevice): Flow<void> {
    const { domain } = device;
    yield* this.container.space.detachDevices([device]);
    // Another path may have taken it out meanwhile.
    if (domain !== null) this.forget(device, domain);
  }

  private forget(device: IommuDevice, domain: Domain): void {
    const { container } = this;
    if (!container.attached.includes(device)) return;
    container.attached.splice(container.attached.indexOf(device), 1);
    container.space.removeDomain(domain);
  }

  /** What must be true whenever no path is between two of its atomic steps. */
  check(): void {
    const { container } = this;
    let resident = 0;
    let pinned = 0;
    for (const mapping of container.mappings) {
      resident += mapping.pinned ? mapping.pages : mapping.mapped.count;
      pinned += mapping.pinned ? mapping.pages : 0;
      for (let index = 0; index < mapping.pages; index++) {
        const iovaPage = mapping.iovaPage + index;
        const present = container.domains.some((domain) => domain.frameAt(iovaPage) >= 0);
        if (!mapping.pinned) same(mapping.mapped.test(index), present, 'bit', iovaPage);
      }
    }
    expect(container.counters.residentPages).toBe(resident);
    expect(container.counters.pinnedPages).toBe(pinned);
    // The zero page, which only read-only mappings reach, is not counted.
    const writable = [...container.mappings].every((mapping) => mapping.permission === RW);
    if (writable) expect(container.memory.pinned).toBe(pinned);
    else expect(container.memory.pinned).toBeLessThanOrEqual(pinned);
    expect(container.mm.lockedPages).toBe(pinned);
    for (const device of container.attached) {
      for (let page = IOVA - 1; page < IOVA + PAGES + 1; page++) {
        for (const access of [READ, WRITE]) {
          const walked = device.domain!.translate(page, access);
          const cached = device.iotlb.lookup(page, access);
          if (cached >= 0) same(cached, walked, 'IOTLB', page);
          if (walked < 0) continue;
          const mapping = container.mappings.covering(page)!;
          same(mapping.permission & access, access, 'permission', page);
          if (access === WRITE && !mapping.pinned)
            for (const log of container.space.logs)
              same(log.of(mapping).test(page - mapping.iovaPage), true, 'dirty bit', page);
          if (mapping.pinned)
            same(walked === ZERO_FRAME || container.memory.isPinned(walked), true, 'pin', page);
          else
            same(
              walked,
              container.mm.frameAt(mapping.vaddrPage + page - mapping.iovaPage),
              'frame',
              page,
            );
        }
      }
    }
  }
}

const command = fc.record({
  kind: fc.constantFrom(
    ...[
      'step',
      'step',
      'step',
      'step',
      'step',
      'step',
      'step',
      'step',
      'fault',
      'fault',
      'fault',
      'fault',
    ],
    ...['touch', 'touch', 'touch', 'touch', 'map', 'map', 'unmap'],
    ...['dontNeed', 'reclaim', 'migrate', 'migrate', 'protect', 'remap', 'fork'],
    ...['enable', 'disable', 'attach', 'detach', 'dirty', 'report'],
  ),
  page: fc.integer({ min: 0, max: PAGES - 1 }),
  count: fc.integer({ min: 1, max: 4 }),
  pick: fc.integer({ min: 0, max: 7 }),
  flag: fc.boolean(),
});

test('R2–R6: no order of events leaves a translation to a page that is gone, a leak, or an account that is wrong', () => {
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 120, size: 'max' }),
      fc.constantFrom(1, 4),
      fc.boolean(),
      (commands, premap, enabled) => {
        const run = new Run(premap);
        const { container } = run;
        const { mm, iopf } = container;
        let children = 1;
        run.start(run.attach(true, false));
        run.finish();
        if (enabled) runDirect(iopf.enable());
        container.map(IOVA, 4, VADDR);
        container.map(IOVA + 5, 3, VADDR + 2, READ);
        for (const { kind, page, count, pick, flag } of commands) {
          const device = container.attached[pick % Math.max(1, container.attached.length)];
          const mapping = container.mappings.covering(IOVA + page);
          const access = flag ? WRITE : READ;
          if (kind === 'step') run.step(pick);
          else if (kind === 'fault' && device) run.start(device.faultFlow(IOVA + page, access));
          else if (kind === 'touch') device?.translate(IOVA + page, access);
          else if (kind === 'map') {
            if (container.mappings.overlaps(IOVA + page, count)) continue;
            const vaddr = VADDR + Math.min(PAGES - count, (page * 5) % PAGES);
            if (container.mappings.size < 6 && container.canPin(vaddr, count)) {
              container.map(IOVA + page, count, vaddr, pick === 0 ? READ : RW, {
                pinned: pick > 5,
              });
            }
          } else if (kind === 'unmap' && mapping) container.unmap(mapping);
          else if (kind === 'dontNeed') mm.dontNeed(VADDR + page, 1);
          else if (kind === 'reclaim') mm.reclaim(count);
          else if (kind === 'migrate') mm.migrate(VADDR + page, count);
          else if (kind === 'protect') mm.mprotect(VADDR + page, 1, flag ? RW : READ);
          else if (kind === 'remap') mm.mmap(VADDR + page, 1, { kind: 'anon', protection: RW });
          else if (kind === 'fork') mm.fork(children++).exit();
          else if (kind === 'enable') run.start(iopf.enable());
          else if (kind === 'disable') {
            container.lockLimitPages = pick === 0 ? 4 : Number.POSITIVE_INFINITY;
            run.start(iopf.disable());
          } else if (kind === 'attach' && run.everyDevice.length < 5)
            run.start(run.attach(pick !== 0, flag));
          else if (kind === 'detach' && container.attached.length > 1 && device)
            run.start(run.detach(device));
          else if (kind === 'dirty') {
            for (const log of [...container.space.logs]) container.space.stopLog(log);
            if (flag) container.log();
          } else if (kind === 'report' && mapping)
            for (const log of container.space.logs) container.space.restartLog(log, mapping);
          run.check();
        }
        run.finish();
        run.check();
        for (const mapping of container.mappings) container.unmap(mapping);
        runDirect(iopf.release());
        const { counters } = container;
        expect(
          counters.responsesSuccess + counters.responsesInvalid + counters.responsesFailure,
        ).toBeLessThanOrEqual(counters.faults);
        expect(counters.responsesUnmatched).toBe(0);
        for (const device of run.everyDevice) {
          expect(device.busy).toBe(false);
          expect(device.iopfEnabled).toBe(false);
          expect(device.handlers.flat).toBeNull();
        }
        expect([
          container.memory.pinned,
          mm.lockedPages,
          mm.notifierCount,
          counters.residentPages,
        ]).toEqual([0, 0, 0, 0]);
      },
    ),
    { numRuns: 400 },
  );
});
