import { expect, it } from 'vitest';
import { writeStruct } from '../../src/abi/layout.js';
import { PciInterruptIndex } from '../../src/abi/pci.js';
import { DeviceIoctl, VfioExtension } from '../../src/abi/vfio.js';
import { IrqSet } from '../../src/abi/vfio-structs.js';
import { EventFile, OpenFile } from '../../src/conformance/process.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';
import { errnoOf, Kit } from './kit.js';

const { INTX, MSI, REQ } = PciInterruptIndex;
const [NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER] = [1, 2, 4, 8, 0x10, 0x20];

/** An open edu device, and what its function hears of INTx's mask. */
function opened() {
  const masks: boolean[] = [];
  const kit = new Kit();
  const [edu] = kit.functions as [PciFunction];
  Object.defineProperty(edu, 'intxMasked', { value: (is: boolean) => masks.push(is) });
  kit.addGroup(1);
  kit.setIommu(VfioExtension.VFIO_TYPE1_IOMMU);
  const device = kit.openDevice(1);
  const set = (flags: number, index: number, count: number, payload: readonly number[]) =>
    errnoOf(() =>
      kit.call(
        device,
        DeviceIoctl.VFIO_DEVICE_SET_IRQS,
        Uint8Array.from([
          ...writeStruct(IrqSet, { argsz: IrqSet.size + payload.length, flags, index, count }),
          ...payload,
        ]),
      ),
    );
  /** Gives each vector of an index a trigger. */
  const triggers = (index: number, count: number): EventFile[] => {
    const events = Array.from({ length: count }, () => new EventFile());
    const fds = events.map((event) => kit.process.add(new OpenFile(event)));
    const payload = fds.flatMap((fd) => [fd, 0, 0, 0]);
    expect(set(TRIGGER | EVENTFD, index, count, payload)).toBeNull();
    return events;
  };
  return { kit, device, edu, masks, set, triggers };
}

it('a byte of 0 leaves INTx as it is; any other masks it, unmasks it or signals it', () => {
  const { masks, set, triggers } = opened();
  const [event] = triggers(INTX, 1) as [EventFile];
  masks.length = 0;
  const told = [MASK, UNMASK, TRIGGER].flatMap((action) =>
    [0, 1, 0x80].map((byte) => {
      expect(set(action | BOOL, INTX, 1, [byte])).toBeNull();
      return [masks.splice(0), event.count];
    }),
  );
  expect(told).toEqual([
    ...[
      [[], 0],
      [[true], 0],
      [[true], 0],
    ],
    ...[
      [[], 0],
      [[false], 0],
      [[], 0],
    ],
    ...[
      [[], 0],
      [[], 1],
      [[], 2],
    ],
  ]);
});

it('an index that is not there, and vectors behind the last, are EINVAL, and nothing is on', () => {
  const { kit, device } = opened();
  const words = (index: number, start: number, count: number) =>
    errnoOf(() =>
      kit.call(
        device,
        DeviceIoctl.VFIO_DEVICE_SET_IRQS,
        writeStruct(IrqSet, { argsz: IrqSet.size, flags: TRIGGER | NONE, index, start, count }),
      ),
    );
  const most = 2 ** 32 - 1;
  expect([words(5, 0, 1), words(most, 0, 1), words(MSI, 1, 0), words(MSI, 0, 2)]).toEqual([
    ...['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL'],
  ]);
  expect([words(MSI, most, 1), words(MSI, 1, most), words(MSI, most, most)]).toEqual([
    ...['EINVAL', 'EINVAL', 'EINVAL'],
  ]);
});

it('a trigger of INTx takes the place of the one before, which is let go', () => {
  const { set, triggers } = opened();
  const [before] = triggers(INTX, 1) as [EventFile];
  const [event] = triggers(INTX, 1) as [EventFile];
  expect(set(TRIGGER | BOOL, INTX, 1, [1])).toBeNull();
  expect([before.count, before.holders, event.count, event.holders]).toEqual([0, 0, 1, 1]);
});

it('a byte of 0 leaves a message or a request alone; any other signals it', () => {
  for (const index of [MSI, REQ]) {
    const { set, triggers } = opened();
    const [event] = triggers(index, 1) as [EventFile];
    const counts = [0, 1, 0, 0x80].map((byte) => {
      expect(set(TRIGGER | BOOL, index, 1, [byte])).toBeNull();
      return event.count;
    });
    expect(counts).toEqual([0, 1, 1, 2]);
  }
});

it('a device that is closed has no trigger, and its function is told that it is off', () => {
  const { kit, device, edu, triggers } = opened();
  const [event] = triggers(MSI, 1) as [EventFile];
  let released = 0;
  const { release } = edu;
  edu.release = () => {
    released++;
    release.call(edu);
  };
  expect(event.holders).toBe(1);
  device.release();
  expect([event.holders, released]).toEqual([0, 1]);
  kit.closeGroup(1);
});
