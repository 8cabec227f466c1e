/** The suite for devices: the shipped ones pass, and each canary fails for its own reason. */
import { describe, expect, test } from 'vitest';
import { ring } from '../../examples/ring-device/ring.js';
import { PciConfig, PciInterruptIndex, PciRegionIndex } from '../../src/abi/pci.js';
import type { DeviceKind } from '../../src/device/kind.js';
import { deviceKinds } from '../../src/device/kinds.js';
import type { EndpointContext } from '../../src/device/pci/endpoint.js';
import { type CheckDriver, checkDevice, checkKind } from '../../src/kit/check/check-device.js';
import { kindOf } from '../../src/kit/kind.js';
import { WRITE } from '../../src/mm/address-space.js';
import { allocatePlain, SegmentList } from '../../src/mm/frame-memory.js';
import type { InterruptSink, PciFunction } from '../../src/vfio/pci-function.js';

/** Copies a page with the ring of examples/ring-device. */
function driveRing({ iova, memory, settle, write }: CheckDriver): void {
  const view = new DataView(memory.buffer);
  view.setBigUint64(0, BigInt(iova + 0x1000), true);
  view.setBigUint64(8, BigInt(iova + 0x2000), true);
  view.setUint32(16, 4096, true);
  write(0, 0x0, iova);
  write(0, 0x4, 0);
  write(0, 0x8, 8);
  for (let doorbell = 1; doorbell < 9; doorbell++) {
    write(0, 0x1000, doorbell);
    settle();
  }
}

/** Moves 16 bytes with edu's DMA engine, and raises its interrupt. */
function driveEdu({ iova, settle, write }: CheckDriver): void {
  write(0, 0x80, iova);
  write(0, 0x88, 0x40000);
  write(0, 0x90, 16);
  write(0, 0x98, 0x5);
  write(0, 0x60, 1);
  settle();
}

function driveAts({ iova, settle, write }: CheckDriver): void {
  write(0, 0x0, iova);
  write(0, 0x4, 0);
  write(0, 0x8, 1);
  settle();
}

/** An admin queue of NVMe and an Identify of the controller, with an interrupt. */
function driveNvme({ iova, memory, settle, write }: CheckDriver): void {
  const queues: readonly [number, number][] = [
    [0x14, 0],
    [0x24, 0x00070007],
    [0x28, iova],
    [0x2c, 0],
    [0x30, iova + 0x1000],
    [0x34, 0],
    [0x14, 0x00460001],
  ];
  for (const [offset, value] of queues) write(0, offset, value);
  settle();
  const entry = new DataView(memory.buffer);
  entry.setUint32(0, 6, true);
  entry.setBigUint64(24, BigInt(iova + 0x2000), true);
  entry.setUint32(40, 1, true);
  write(0, 0x1000, 1);
  settle();
}

/** A packet of the 82576's first ring, looped back. */
function driveIgb({ iova, memory, settle, write }: CheckDriver): void {
  const ring = new DataView(memory.buffer);
  ring.setBigUint64(0, BigInt(iova + 0x1000), true);
  // CMD: end of packet, FCS, report status; data descriptor, advanced.
  ring.setUint32(8, 0x2b300000 | 64, true);
  ring.setUint32(12, 64 << 14, true);
  const setup: readonly [number, number][] = [
    [0x0400, 0x2],
    [0xe000, iova],
    [0xe004, 0],
    [0xe008, 4096],
    [0xe028, 0x02000000],
    [0x1524, 0xffffffff],
    [0x1508, 0xffffffff],
    [0xe018, 1],
  ];
  for (const [offset, value] of setup) write(0, offset, value);
  settle();
}

/** A frame of a legacy virtio card: its second queue, at the third page. */
function driveVirtio({ iova, memory, read, settle, write }: CheckDriver): void {
  const page = 0x2000;
  write(0, 0x12, 0, 1);
  write(0, 0x12, 3, 1);
  write(0, 0x0e, 1, 2);
  const size = read(0, 0x0c, 2);
  write(0, 0x08, (iova + page) / 4096);
  write(0, 0x12, 7, 1);
  const view = new DataView(memory.buffer);
  view.setBigUint64(page, BigInt(iova + 0x1000), true);
  view.setUint32(page + 8, 74, true);
  view.setUint16(page + 16 * size + 2, 1, true);
  write(0, 0x10, 1, 2);
  settle();
}

describe('a device of iopf keeps to what every PCI device does:', () => {
  test.each([
    ['edu', { drive: driveEdu }],
    ['ats', { drive: driveAts }],
    ['nvme', { options: { size: '1M' }, drive: driveNvme }],
    ['virtio-net', { options: { legacy: 'only' }, drive: driveVirtio }],
    ['virtio-net', {}],
    ['igb', { drive: driveIgb }],
  ])('%s', (name, options) => {
    checkKind(deviceKinds.get(name)!, options);
  });

  test('the ring of examples/ring-device', () => {
    checkDevice(ring, { drive: driveRing });
  });
});

/** The ring with a function of it in place of its own. */
function canary(
  change: (made: PciFunction, sink: () => InterruptSink | null, context: EndpointContext) => void,
): DeviceKind {
  const kind = kindOf(ring);
  return {
    ...kind,
    create(options, context) {
      const made = kind.create(options, context);
      let sink: InterruptSink | null = null;
      const { open } = made;
      made.open = (given, memory) => {
        sink = given;
        open.call(made, given, memory);
      };
      change(made, () => sink, context);
      return made;
    },
  };
}

/** Does what `more` does after each write of a BAR. */
function afterWrites(made: PciFunction, more: () => void): void {
  const { writeRegion } = made;
  made.writeRegion = (index, offset, from) => {
    writeRegion.call(made, index, offset, from);
    if (index !== PciRegionIndex.CONFIG) more();
  };
}

/** Gives other bytes where config space is read at `at`. */
function otherConfig(made: PciFunction, at: number, change: (value: number) => number): void {
  const { readRegion } = made;
  made.readRegion = (index, offset, into) => {
    readRegion.call(made, index, offset, into);
    const byte = at - offset;
    if (index === PciRegionIndex.CONFIG && byte >= 0 && byte < into.length)
      into[byte] = change(into[byte]!);
  };
}

type Endpoint = PciFunction & { readonly dma: { enabled: boolean } };

/** What is asked of the port of DMA becomes what `isOn` makes of it. */
function whatSwitchesDma({ dma }: Endpoint, isOn: (asked: boolean) => boolean): void {
  const { get, set } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(dma), 'enabled')!;
  Object.defineProperty(dma, 'enabled', {
    get: () => get!.call(dma),
    set: (asked: boolean) => set!.call(dma, isOn(asked)),
  });
  dma.enabled = false;
}

/** Writes 16 bytes of a frame, whatever the IOMMU says, where bus mastering is on. */
function writeFrame(made: PciFunction, { host }: EndpointContext, frame: number): void {
  if (!(made as Endpoint).dma.enabled) return;
  const list = new SegmentList(1);
  list.append(frame, 0, 16, allocatePlain(16), 0);
  host.frames.write(list);
}

describe('a canary fails for its reason:', () => {
  const canaries: readonly [string, DeviceKind, RegExp][] = [
    [
      'it does DMA while bus mastering is off',
      canary((made) => {
        whatSwitchesDma(made as Endpoint, () => true);
      }),
      /^ {2}bus mastering: it does DMA while bus mastering is off$/m,
    ],
    [
      'it does DMA in D3hot',
      canary((made) => {
        // Sleep does not switch it off.
        whatSwitchesDma(made as Endpoint, (asked) => {
          const command = new Uint8Array(2);
          made.readRegion(PciRegionIndex.CONFIG, PciConfig.COMMAND, command);
          return asked || (command[0]! & 4) !== 0;
        });
      }),
      /^ {2}D3hot: it does DMA in D3hot$/m,
    ],
    [
      'a mask of its pin is lost',
      canary((made, sink) => afterWrites(made, () => sink()?.intx(true))),
      /^ {2}interrupt pin: it asserts its pin while the command register disables it$/m,
    ],
    [
      'messages are sent that are off',
      canary((made, sink) => afterWrites(made, () => sink()?.msix(0))),
      /^ {2}messages: it sends a message while MSI and MSI-X are off$/m,
    ],
    [
      'a vector is sent that it does not have',
      canary((made, sink) => {
        let isArmed = false;
        const { interruptsEnabled } = made;
        made.interruptsEnabled = (index, vectors) => {
          isArmed = index === PciInterruptIndex.MSIX && vectors > 0;
          interruptsEnabled.call(made, index, vectors);
        };
        afterWrites(made, () => {
          if (isArmed) sink()?.msix(7);
        });
      }),
      /^ {2}messages: it sends vector 7, which is not armed$/m,
    ],
    [
      'its BAR sizes wrong',
      canary((made) => otherConfig(made, PciConfig.BASE_ADDRESS_0 + 1, (byte) => byte & 0x80)),
      /^ {2}BAR sizes: BAR 0 sizes as 0x8000 and has 0x4000 bytes$/m,
    ],
    [
      'its ids change',
      canary((made) => {
        let count = 0;
        otherConfig(made, PciConfig.DEVICE_ID, () => count++ & 0xff);
      }),
      /^ {2}ids: a write changes 0x2 of config space$/m,
    ],
    [
      'its capabilities go round',
      canary((made) => otherConfig(made, 0x41, () => 0x40)),
      /^ {2}capabilities: the capability at 0x40 comes again: the list has no end$/m,
    ],
    [
      'a reset leaves something',
      canary((made) => {
        made.reset = () => undefined;
      }),
      /^ {2}reset: BAR 0 at 0x\w+ reads 0x\w+ after a reset, and 0x0 when opened$/m,
    ],
    [
      'a refusal of the IOMMU is not heard',
      canary((made, _, context) => afterWrites(made, () => writeFrame(made, context, 5))),
      /^ {2}DMA refused: it reaches memory that is not mapped$/m,
    ],
    [
      'a translation is kept when its page goes',
      canary((made, _, context) => {
        const kept: number[] = [];
        afterWrites(made, () => {
          for (let page = 0; page < 64 && kept.length < 64; page++) {
            const frame = context.iommu.translate(0x100 + page, WRITE);
            if (frame >= 0) kept.push(frame);
          }
          for (const frame of kept) writeFrame(made, context, frame);
        });
      }),
      /^ {2}page taken: it reaches a page by a translation that is gone$/m,
    ],
    [
      'it goes on after a release',
      canary((made, sink) => {
        const { poll, release } = made;
        let last: InterruptSink | null = null;
        made.release = () => {
          last = sink();
          release.call(made);
        };
        made.poll = () => {
          last?.msi(0);
          return poll.call(made);
        };
      }),
      /^ {2}released: it raises an interrupt after it was released$/m,
    ],
    [
      'an access makes it throw',
      canary((made) => {
        let writes = 0;
        afterWrites(made, () => {
          if (++writes === 900) throw new Error('a wild index');
        });
      }),
      /^ {2}random accesses: it throws Error: a wild index$/m,
    ],
  ];

  test.each(canaries)('%s', (_, kind, reason) => {
    expect(() => checkKind(kind, { drive: driveRing })).toThrow(reason);
  });

  test('a drive that does nothing is told of', () => {
    expect(() => checkDevice(ring, { drive: () => undefined })).toThrow('do no DMA');
  });
});
