/** What every PCI device keeps to: each rule throws `Broken` where one does not. */
import {
  PCI_CAP_ID,
  PCI_CAP_NEXT,
  PciCapability,
  PciCommand,
  PciConfig,
  PciInterruptIndex,
  PciPm,
  PciRegionIndex,
} from '../../abi/pci.js';
import { findCapability } from '../../vfio/config-access.js';
import { type Bench, MEMORY_PAGES } from './bench.js';

/** What a device does that it must not. */
export class Broken extends Error {}

export interface Rule {
  readonly name: string;
  /** `work` makes the device do all it does: what its author says, or random accesses. */
  readonly check: (bench: Bench, work: (bench: Bench) => void) => void;
}

const CONFIG = PciRegionIndex.CONFIG;
const PIN_DISABLED = PciCommand.MEMORY | PciCommand.MASTER | PciCommand.INTX_DISABLE;
const BARS = 6;
const FIRST_CAPABILITY = 0x40;
const CAPABILITIES_MOST = 48;

function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Broken(what);
}

const hex = (value: number): string => `0x${value.toString(16)}`;

export const rules: readonly Rule[] = [
  { name: 'ids', check: idsStay },
  { name: 'capabilities', check: capabilitiesEnd },
  { name: 'BAR sizes', check: barsSize },
  { name: 'reset', check: resetsAll },
  {
    name: 'bus mastering',
    check: (bench, work) => {
      bench.open(PciCommand.MEMORY);
      work(bench);
      must(bench.memory.copies === 0, 'it does DMA while bus mastering is off');
    },
  },
  { name: 'D3hot', check: sleepsWithoutDma },
  {
    name: 'interrupt pin',
    check: (bench, work) => {
      bench.open(PIN_DISABLED);
      work(bench);
      must(bench.sink.pins === 0, 'it asserts its pin while the command register disables it');
    },
  },
  { name: 'messages', check: sendsArmedOnly },
  {
    name: 'DMA refused',
    check: (bench, work) => {
      bench.open();
      bench.unmap(-1);
      work(bench);
      must(bench.memory.copies === 0, 'it reaches memory that is not mapped');
    },
  },
  { name: 'page taken', check: losesPages },
  {
    name: 'released',
    check: (bench, work) => {
      bench.open();
      work(bench);
      bench.pciFunction.release();
      const { copies } = bench.memory;
      const signals = bench.sink.pins + bench.sink.messages.length;
      bench.settle();
      must(bench.memory.copies === copies, 'it does DMA after it was released');
      must(
        bench.sink.pins + bench.sink.messages.length === signals,
        'it raises an interrupt after it was released',
      );
    },
  },
  {
    name: 'random accesses',
    check: (bench) => {
      bench.open();
      bench.fuzz(2000);
    },
  },
];

/** Vendor and device id, class and header type are what they are. */
function idsStay(bench: Bench): void {
  bench.open();
  const fixed = [
    PciConfig.VENDOR_ID,
    PciConfig.DEVICE_ID,
    PciConfig.CLASS_PROG,
    PciConfig.HEADER_TYPE,
  ];
  must(bench.read(CONFIG, PciConfig.VENDOR_ID, 2) !== 0xffff, 'its vendor id is that of nobody');
  must((bench.read(CONFIG, PciConfig.HEADER_TYPE, 1) & 0x7f) === 0, 'its header is not of type 0');
  for (const at of fixed) {
    const before = bench.read(CONFIG, at, 2);
    bench.write(CONFIG, at, 2, ~before);
    must(bench.read(CONFIG, at, 2) === before, `a write changes ${hex(at)} of config space`);
  }
}

/** The list of capabilities ends, and none lies in the header or on another. */
function capabilitiesEnd(bench: Bench): void {
  bench.open();
  const seen = new Set<number>();
  let at = bench.read(CONFIG, PciConfig.CAPABILITY_LIST, 1);
  for (; at !== 0; at = bench.read(CONFIG, at + PCI_CAP_NEXT, 1)) {
    must(at >= FIRST_CAPABILITY && at % 4 === 0, `there is a capability at ${hex(at)}`);
    must(!seen.has(at), `the capability at ${hex(at)} comes again: the list has no end`);
    seen.add(at);
    must(seen.size <= CAPABILITIES_MOST, 'the list of capabilities has no end');
    must(bench.read(CONFIG, at + PCI_CAP_ID, 1) !== 0xff, `${hex(at)} is no capability`);
  }
}

/** All ones written to a BAR read back as its size, and the address comes back (PCI 3.0, 6.2.5). */
function barsSize(bench: Bench): void {
  bench.open();
  for (let index = 0; index < BARS; index++) {
    const { size } = bench.pciFunction.regions[index]!;
    const at = PciConfig.BASE_ADDRESS_0 + 4 * index;
    const before = bench.read(CONFIG, at, 4);
    bench.write(CONFIG, at, 4, 0xffffffff);
    const sized = bench.read(CONFIG, at, 4);
    bench.write(CONFIG, at, 4, before);
    must(bench.read(CONFIG, at, 4) === before, `BAR ${index} does not keep its address`);
    const isWide = (before & 7) === 4;
    if (size > 0) {
      const flags = (before & 1) === 1 ? 3 : 15;
      must((sized & flags) === (before & flags), `BAR ${index}: a write changes its type`);
      const found = ((~(sized & ~flags) >>> 0) + 1) >>> 0;
      must(found === size, `BAR ${index} sizes as ${hex(found)} and has ${hex(size)} bytes`);
    }
    if (isWide) index++;
  }
}

/** Registers read after a reset as they did when the device was opened. */
function resetsAll(bench: Bench, work: (bench: Bench) => void): void {
  bench.open();
  const before = bench.snapshot();
  bench.pciFunction.reset();
  work(bench);
  bench.fuzz(500);
  bench.pciFunction.reset();
  const { copies } = bench.memory;
  for (const [where, value] of bench.snapshot()) {
    const was = before.get(where)!;
    must(value === was, `${where} reads ${hex(value)} after a reset, and ${hex(was)} when opened`);
  }
  bench.settle();
  must(bench.memory.copies === copies, 'it goes on with its DMA after a reset');
}

/** A function in D3hot does no DMA (PCI PM 1.2, 5.4.1). */
function sleepsWithoutDma(bench: Bench, work: (bench: Bench) => void): void {
  bench.open();
  const power = findCapability(bench.pciFunction, PciCapability.PM);
  if (power === 0) return;
  bench.write(CONFIG, power + PciPm.CTRL, 2, PciPm.D3_HOT);
  work(bench);
  must(bench.memory.copies === 0, 'it does DMA in D3hot');
}

/** Only vectors that are armed are sent, and no pin then; nothing is sent where none is. */
function sendsArmedOnly(bench: Bench, work: (bench: Bench) => void): void {
  bench.open();
  work(bench);
  must(bench.sink.messages.length === 0, 'it sends a message while MSI and MSI-X are off');
  for (const index of [PciInterruptIndex.MSI, PciInterruptIndex.MSIX]) {
    const vectors = bench.pciFunction.interruptCounts[index]!;
    if (vectors === 0) continue;
    bench.pciFunction.reset();
    bench.pciFunction.interruptsEnabled(index, vectors);
    bench.sink.pins = 0;
    bench.sink.messages = [];
    work(bench);
    must(bench.sink.pins === 0, 'it asserts its pin while messages are on');
    for (const sent of bench.sink.messages)
      must(
        sent.index === index && sent.vector < vectors,
        `it sends vector ${sent.vector}, which is not armed`,
      );
    bench.pciFunction.interruptsEnabled(index, 0);
  }
}

/**
 * Pages go while it copies. It may come to a page that has just gone; but what is gone when a
 * transfer begins it does not reach, as its translation is no more.
 */
function losesPages(bench: Bench, work: (bench: Bench) => void): void {
  bench.open();
  const { memory, random } = bench;
  memory.beforeCopy = () => {
    const page = random.below(MEMORY_PAGES);
    memory.take(page);
    bench.unmap(page);
  };
  work(bench);
  memory.beforeCopy = null;
  must(memory.staleAccesses === 0, 'it reaches a page by a translation that is gone');
}
