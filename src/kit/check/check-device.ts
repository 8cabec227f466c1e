/** Whether a device keeps to what every PCI device does: a suite that its author runs. */
import { PciCommand } from '../../abi/pci.js';
import type { DeviceKind } from '../../device/kind.js';
import type { DeviceModel } from '../definition.js';
import { kindOf } from '../kind.js';
import { Bench, MEMORY_IOVA } from './bench.js';
import { Broken, rules } from './rules.js';

/** What a driver does with a device on the bench. */
export interface CheckDriver {
  /** Reads 1, 2 or 4 bytes of a BAR. */
  read(bar: number, offset: number, size?: number): number;
  write(bar: number, offset: number, value: number, size?: number): void;
  /** The program's memory: 256 KiB. */
  readonly memory: Uint8Array;
  /** IOVA of its first byte. */
  readonly iova: number;
  /** Lets time pass, until the device has no more to do. */
  settle(): void;
}

export interface CheckDeviceOptions {
  /** The device's own, as `--device` takes them. */
  readonly options?: Readonly<Record<string, string>>;
  /**
   * Makes the device do DMA and raise its interrupt. It is called often: with bus mastering off,
   * with nothing mapped, while pages go; and must not insist on success. Absent: random accesses
   * alone, which seldom get so far.
   */
  readonly drive?: (driver: CheckDriver) => void;
  /** Of random accesses; 1 unless given. */
  readonly seed?: number;
}

/**
 * Checks a device in memory: config space, sizes of BARs, reset, no DMA without bus mastering or in
 * D3hot, interrupts that are masked, DMA that is refused, pages that go in the middle of a
 * transfer, random accesses. Throws an Error with a line for each rule that is broken, and the
 * seed.
 */
export function checkDevice(model: DeviceModel, options: CheckDeviceOptions = {}): void {
  checkKind(kindOf(model), options);
}

/** The same of a kind that is iopf's own. */
export function checkKind(kind: DeviceKind, options: CheckDeviceOptions = {}): void {
  const { drive, options: given = {}, seed = 1 } = options;
  const work = (bench: Bench): void => {
    drive?.(driverOf(bench));
    bench.fuzz(300);
  };
  const found: string[] = [];
  if (drive !== undefined && !doesDma(kind, given, drive))
    found.push('drive: makes the device do no DMA, so that rules about it show nothing');
  for (const { check, name } of rules) {
    try {
      check(new Bench(kind, given, seed), work);
    } catch (error) {
      const { message, stack = '' } = error as Error;
      found.push(`${name}: ${error instanceof Broken ? message : `it throws ${stack || message}`}`);
    }
  }
  if (found.length > 0)
    throw new Error(
      `device ${kind.name} (seed ${seed}):\n${found.map((line) => `  ${line}`).join('\n')}`,
    );
}

function doesDma(
  kind: DeviceKind,
  options: Readonly<Record<string, string>>,
  drive: (driver: CheckDriver) => void,
): boolean {
  const bench = new Bench(kind, options, 1).open(PciCommand.MEMORY | PciCommand.MASTER);
  drive(driverOf(bench));
  return bench.memory.copies > 0;
}

function driverOf(bench: Bench): CheckDriver {
  return {
    read: (bar, offset, size = 4) => bench.read(bar, offset, size),
    write: (bar, offset, value, size = 4) => bench.write(bar, offset, size, value),
    memory: bench.memory.bytes,
    iova: MEMORY_IOVA,
    settle: () => bench.settle(),
  };
}
