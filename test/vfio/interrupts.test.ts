import { describe, expect, it } from 'vitest';
import { fail } from '../../src/abi/errno.js';
import { kernelProfile } from '../../src/abi/kernel.js';
import { PciInterruptIndex } from '../../src/abi/pci.js';
import type { EventCounter } from '../../src/file/file.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { Interrupts } from '../../src/vfio/interrupts.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';
import { errnoOf } from './kit.js';

const { INTX, MSI, MSIX, ERR } = PciInterruptIndex;

/** A function with an empty config space that remembers what was armed. */
function testFunction(): PciFunction & { armed: number[][]; command: number } {
  const made = {
    address: '0000:00:01.0',
    kind: 'test',
    iommu: new IommuDevice({ address: '0000:00:01.0' }),
    regions: [],
    interruptCounts: [1, 4, 8, 1, 1],
    resettable: false,
    armed: [] as number[][],
    command: 0,
    open() {},
    release() {},
    reset() {},
    readRegion(_index: number, _offset: number, into: Uint8Array) {
      into.fill(0);
      into[0] = made.command & 0xff;
      into[1] = made.command >> 8;
    },
    writeRegion() {},
    interruptsEnabled(index: number, vectors: number) {
      made.armed.push([index, vectors]);
    },
    poll: () => false,
  };
  return made;
}

class Counter implements EventCounter {
  signals = 0;
  closed = false;
  private watcher: (() => void) | null = null;

  signal(): void {
    this.signals++;
    this.watcher?.();
  }

  watch(signalled: () => void): () => void {
    this.watcher = signalled;
    return () => {
      this.watcher = null;
    };
  }

  close(): void {
    this.closed = true;
  }
}

function make(kernel: '6.1' | '6.12' = '6.12') {
  const pciFunction = testFunction();
  return { pciFunction, interrupts: new Interrupts(pciFunction, kernelProfile(kernel)) };
}

describe('INTx', () => {
  it('masks itself when it fires, and fires again when it is unmasked with the pin still up', () => {
    const { interrupts } = make();
    const trigger = new Counter();
    interrupts.enableIntx(trigger);
    interrupts.intx(true);
    interrupts.intx(true);
    expect(trigger.signals).toBe(1);
    interrupts.unmaskIntx();
    expect(trigger.signals).toBe(2);
    interrupts.intx(false);
    interrupts.unmaskIntx();
    expect(trigger.signals).toBe(2);
  });

  it('fires when it is switched on with the pin up already', () => {
    const { interrupts } = make();
    const trigger = new Counter();
    interrupts.intx(true);
    expect(trigger.signals).toBe(0);
    interrupts.enableIntx(trigger);
    expect(trigger.signals).toBe(1);
  });

  it('does not fire for who opens the device after a user that left with the pin up', () => {
    const { interrupts } = make();
    interrupts.enableIntx(new Counter());
    interrupts.intx(true);
    interrupts.release();
    const trigger = new Counter();
    interrupts.enableIntx(trigger);
    expect(trigger.signals).toBe(0);
    interrupts.intx(true);
    expect(trigger.signals).toBe(1);
  });

  it('is unmasked by its resample eventfd, of which there is one', () => {
    const { interrupts } = make();
    const trigger = new Counter();
    const resample = new Counter();
    const second = new Counter();
    interrupts.enableIntx(trigger);
    interrupts.setResample(resample);
    expect(errnoOf(() => interrupts.setResample(second))).toBe('EBUSY');
    expect(second.closed).toBe(true);
    interrupts.intx(true);
    resample.signal();
    expect(trigger.signals).toBe(2);
    interrupts.setResample(null);
    expect(resample.closed).toBe(true);
    resample.signal();
    expect(trigger.signals).toBe(2);
  });

  it('refuses a resample eventfd that cannot be watched', () => {
    const { interrupts } = make();
    interrupts.enableIntx(null);
    const blind: EventCounter = { signal() {}, close() {} };
    expect(errnoOf(() => interrupts.setResample(blind))).toBe('EINVAL');
  });

  it('is not signalled by a loopback while the command register disables it', () => {
    const { pciFunction, interrupts } = make();
    const trigger = new Counter();
    interrupts.enableIntx(trigger);
    pciFunction.command = 0x400;
    interrupts.loopback(0);
    expect(trigger.signals).toBe(0);
    pciFunction.command = 0;
    interrupts.loopback(0);
    expect(trigger.signals).toBe(1);
  });

  it('stays silent while masked, and a new trigger gets what is pending', () => {
    const { interrupts } = make();
    const first = new Counter();
    const second = new Counter();
    interrupts.enableIntx(first);
    interrupts.maskIntx();
    interrupts.intx(true);
    expect(first.signals).toBe(0);
    interrupts.setIntxTrigger(second);
    expect(first.closed).toBe(true);
    interrupts.unmaskIntx();
    expect(second.signals).toBe(1);
  });
});

describe('MSI and MSI-X', () => {
  it('signal the vector that the function raises, and only while they are the ones that are on', () => {
    const { interrupts } = make();
    const triggers = [new Counter(), new Counter()];
    interrupts.enableMessages(MSI, 2);
    interrupts.setMessageBlock(0, 2, (i) => triggers[i]!);
    interrupts.msi(1);
    interrupts.msix(1);
    interrupts.msi(7);
    expect(triggers.map((each) => each.signals)).toEqual([0, 1]);
  });

  it('a block that fails half-way leaves its vectors without a trigger, and the others with theirs', () => {
    const { interrupts } = make();
    const kept = new Counter();
    const taken = new Counter();
    const behind = new Counter();
    interrupts.enableMessages(MSIX, 4);
    interrupts.setMessageBlock(0, 1, () => kept);
    interrupts.setMessageBlock(3, 1, () => behind);
    const block = () => interrupts.setMessageBlock(1, 2, (i) => (i === 0 ? taken : fail('EBADF')));
    expect(errnoOf(block)).toBe('EBADF');
    expect(taken.closed).toBe(true);
    interrupts.msix(0);
    interrupts.msix(3);
    expect([kept.signals, behind.signals]).toEqual([1, 1]);
    interrupts.msix(1);
    expect(taken.signals).toBe(0);
  });

  it('MSI-X vectors can be added one by one on 6.12, and the function is told', () => {
    const { pciFunction, interrupts } = make('6.12');
    const trigger = new Counter();
    interrupts.enableMessages(MSIX, 2);
    interrupts.setMessageBlock(5, 1, () => trigger);
    interrupts.msix(5);
    expect(trigger.signals).toBe(1);
    expect(pciFunction.armed).toEqual([
      [MSIX, 2],
      [MSIX, 6],
    ]);
  });

  it('and not on 6.1, where nothing changes', () => {
    const { pciFunction, interrupts } = make('6.1');
    interrupts.enableMessages(MSIX, 2);
    expect(errnoOf(() => interrupts.setMessageBlock(1, 2, () => new Counter()))).toBe('EINVAL');
    expect(pciFunction.armed).toEqual([[MSIX, 2]]);
  });
});

describe('closing a device', () => {
  it.each([
    [INTX, (interrupts: Interrupts, counter: Counter) => interrupts.enableIntx(counter)],
    [
      MSI,
      (interrupts: Interrupts, counter: Counter) => {
        interrupts.enableMessages(MSI, 1);
        interrupts.setMessageBlock(0, 1, () => counter);
      },
    ],
    [ERR, (interrupts: Interrupts, counter: Counter) => interrupts.setSingleTrigger(ERR, counter)],
  ] as const)('drops the eventfds of index %i and switches it off', (index, arm) => {
    const { pciFunction, interrupts } = make();
    const counter = new Counter();
    arm(interrupts, counter);
    interrupts.release();
    expect(counter.closed).toBe(true);
    expect(interrupts.noneOn).toBe(true);
    expect(interrupts.singleTrigger(ERR)).toBeNull();
    if (index !== ERR) expect(pciFunction.armed.at(-1)).toEqual([index, 0]);
    // Whoever opens it next does not signal them.
    interrupts.enableMessages(MSI, 1);
    interrupts.msi(0);
    expect(counter.signals).toBe(0);
  });
});
