import { putLong } from '../../abi/long.js';
import { AdminOpcode, IoOpcode } from './command.js';
import { type Features, TEMPERATURE } from './features.js';
import { ERROR_ENTRIES } from './limits.js';

/** Log page identifiers (NVM Express 1.4, 5.14.1). */
export const LogPage = {
  ERROR: 0x01,
  HEALTH: 0x02,
  FIRMWARE_SLOT: 0x03,
  COMMAND_EFFECTS: 0x05,
} as const;

const ERROR_BYTES = 64;
/** Parameter error location: none is told. */
const NO_PARAMETER = 0xffff;
const HEALTH_BYTES = 512;
const FIRMWARE_BYTES = 512;
const EFFECTS_BYTES = 4096;
/** Health's data units: thousands of 512 bytes. */
const DATA_UNIT = 512_000;
/** Critical warning: temperature. */
export const WARNING_TEMPERATURE = 0x02;
/** Commands effects: supported, and whether it changes blocks. */
const SUPPORTED = 1;
const CHANGES_BLOCKS = 2;
/** Beside it nothing may go on in the namespace, whose properties change. */
const REFORMATS = 0x1_0004;

/** What the controller counts from its creation on. */
export class Statistics {
  reads = 0;
  writes = 0;
  bytesRead = 0;
  bytesWritten = 0;
}

/** One entry of the error information log. */
export interface ErrorEntry {
  readonly submissionQueue: number;
  readonly command: number;
  /** Word 3 of the completion shifted right by 16: phase tag and status field. */
  readonly status: number;
  readonly firstBlock: number;
  readonly namespace: number;
}

/** The log pages' contents. */
export class LogPages {
  /** The newest last, ERROR_ENTRIES at most. */
  private readonly errors: ErrorEntry[] = [];
  private errorCount = 0;

  /** `firmware`: at most 8 characters. */
  constructor(
    private readonly statistics: Statistics,
    private readonly features: Features,
    private readonly firmware: string,
  ) {}

  addError(entry: ErrorEntry): void {
    this.errorCount++;
    this.errors.push(entry);
    if (this.errors.length > ERROR_ENTRIES) this.errors.shift();
  }

  /** The whole page, or null where there is none of that identifier. */
  page(id: number): Uint8Array | null {
    switch (id) {
      case LogPage.ERROR:
        return this.errorPage();
      case LogPage.HEALTH:
        return this.healthPage();
      case LogPage.FIRMWARE_SLOT:
        return this.firmwarePage();
      case LogPage.COMMAND_EFFECTS:
        return effectsPage();
      default:
        return null;
    }
  }

  private errorPage(): Uint8Array {
    const view = new DataView(new ArrayBuffer(ERROR_ENTRIES * ERROR_BYTES));
    const newest = this.errors.length - 1;
    for (let index = 0; index <= newest; index++) {
      const entry = this.errors[newest - index]!;
      const at = index * ERROR_BYTES;
      putLong(view, at, this.errorCount - index);
      view.setUint16(at + 8, entry.submissionQueue, true);
      view.setUint16(at + 10, entry.command, true);
      view.setUint16(at + 12, entry.status, true);
      view.setUint16(at + 14, NO_PARAMETER, true);
      putLong(view, at + 16, entry.firstBlock);
      view.setUint32(at + 24, entry.namespace, true);
    }
    return new Uint8Array(view.buffer);
  }

  private healthPage(): Uint8Array {
    const view = new DataView(new ArrayBuffer(HEALTH_BYTES));
    const { reads, writes, bytesRead, bytesWritten } = this.statistics;
    view.setUint8(0, this.features.temperatureCritical ? WARNING_TEMPERATURE : 0);
    view.setUint16(1, TEMPERATURE, true);
    // Spare blocks in per cent: all there, and the threshold below which it warns.
    view.setUint8(3, 100);
    view.setUint8(4, 10);
    putLong(view, 32, Math.ceil(bytesRead / DATA_UNIT));
    putLong(view, 48, Math.ceil(bytesWritten / DATA_UNIT));
    putLong(view, 64, reads);
    putLong(view, 80, writes);
    putLong(view, 176, this.errorCount);
    return new Uint8Array(view.buffer);
  }

  private firmwarePage(): Uint8Array {
    const page = new Uint8Array(FIRMWARE_BYTES);
    page[0] = 1;
    // Padded with spaces, as in Identify.
    const text = this.firmware.padEnd(8);
    for (let index = 0; index < 8; index++) page[8 + index] = text.charCodeAt(index);
    return page;
  }
}

function effectsPage(): Uint8Array {
  const view = new DataView(new ArrayBuffer(EFFECTS_BYTES));
  for (const opcode of Object.values(AdminOpcode)) {
    const changes = opcode === AdminOpcode.FORMAT_NVM ? CHANGES_BLOCKS | REFORMATS : 0;
    view.setUint32(opcode * 4, SUPPORTED | changes, true);
  }
  for (const opcode of Object.values(IoOpcode)) {
    const changes =
      opcode === IoOpcode.WRITE ||
      opcode === IoOpcode.WRITE_ZEROES ||
      opcode === IoOpcode.WRITE_UNCORRECTABLE ||
      opcode === IoOpcode.COPY ||
      opcode === IoOpcode.DATASET_MANAGEMENT;
    view.setUint32(1024 + opcode * 4, SUPPORTED | (changes ? CHANGES_BLOCKS : 0), true);
  }
  return new Uint8Array(view.buffer);
}
