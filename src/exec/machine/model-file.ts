/** Recorded devices (`--device recorded@BDF,file=…`) from YAML files. */
import { z } from 'zod';
import { PciInterruptIndex, PciRegionIndex } from '../../abi/pci.js';
import { type RecordedModel, type RecordedRegister, registerAccesses } from '../../device/kinds.js';
import { readNamed, TEXT_MOST_BYTES } from '../../input/named-file.js';
import { formatKey, bytes as sizeInBytes } from '../../input/schemas.js';
import { parseUserFile } from '../../input/user-file.js';
import type { PciRegion } from '../../vfio/pci-function.js';

const hex = z.string().regex(/^([0-9a-fA-F]{2})*$/, 'must be bytes in hexadecimal');
const region = z.strictObject({
  size: sizeInBytes,
  writable: z.boolean().default(true),
  mappable: z.boolean().default(false),
  msixMappable: z.boolean().default(false),
});
const count = z.number().int().min(0).max(2048).default(0);

const word = z.number().int().min(0).max(0xffffffff);

export const recordedDeviceSchema = z.strictObject({
  schema: formatKey('recorded-device'),
  // Bytes of config space by the offset at which they begin; the rest is zero.
  config: z.record(z.string().regex(/^\d+$/, 'must be an offset'), hex),
  configBytes: z.union([z.literal(256), z.literal(4096)]).default(256),
  bars: z.record(z.string().regex(/^[0-5]$/, 'must be a BAR, 0 to 5'), region).default({}),
  rom: sizeInBytes.default(0),
  // What the ROM begins with.
  romBytes: hex.default(''),
  interrupts: z
    .strictObject({ intx: count, msi: count, msix: count, err: count, req: count })
    .prefault({}),
  // 32-bit registers of BAR 0 by offset: a number, which can only be read, or what they do.
  registers: z
    .record(
      z
        .string()
        .regex(/^\d+$/, 'must be an offset')
        .refine((text) => Number(text) % 4 === 0, 'must be a multiple of 4'),
      z.union([
        word,
        z.strictObject({
          value: z.union([word, z.array(word).min(1)]).default(0),
          access: z.enum(registerAccesses).default('read-only'),
        }),
      ]),
    )
    .default({}),
  // What a read of 1 or 2 bytes in the middle of a register finds: those bytes, or the register's
  // lowest.
  narrowReads: z.enum(['bytes', 'low']).default('bytes'),
  resettable: z.boolean().default(false),
});

const NONE: PciRegion = { size: 0, readable: false, writable: false, mappable: false };

type RegisterText = z.infer<typeof recordedDeviceSchema>['registers'][string];

function registerOf(text: RegisterText): RecordedRegister {
  const { value, access } =
    typeof text === 'number' ? { value: text, access: 'read-only' as const } : text;
  return { access, values: Array.isArray(value) ? value : [value] };
}

/** Reads a recorded device. Throws UserError. */
export function openModel(path: string): RecordedModel {
  const file = { what: 'the recorded device', path };
  const text = readNamed(file, TEXT_MOST_BYTES).toString('utf8');
  const { data, error } = parseUserFile(text, path, recordedDeviceSchema);
  const config = new Uint8Array(data.configBytes);
  for (const [offset, bytes] of Object.entries(data.config)) {
    if (Number(offset) + bytes.length / 2 > config.length)
      throw error(['config', offset], 'ends beyond configBytes');
    config.set(Buffer.from(bytes, 'hex'), Number(offset));
  }
  const regions: PciRegion[] = new Array(PciRegionIndex.COUNT).fill(NONE);
  for (const [index, bar] of Object.entries(data.bars)) {
    regions[Number(index)] = { ...bar, readable: true };
  }
  const romSize = data.rom;
  if (romSize > 0)
    regions[PciRegionIndex.ROM] = {
      size: romSize,
      readable: true,
      writable: false,
      mappable: false,
    };
  const rom = Uint8Array.from(Buffer.from(data.romBytes, 'hex'));
  if (rom.length > romSize) throw error(['romBytes'], 'is more than rom has room for');
  regions[PciRegionIndex.CONFIG] = {
    size: config.length,
    readable: true,
    writable: true,
    mappable: false,
  };
  const { interrupts } = data;
  const counts: number[] = [];
  counts[PciInterruptIndex.INTX] = interrupts.intx;
  counts[PciInterruptIndex.MSI] = interrupts.msi;
  counts[PciInterruptIndex.MSIX] = interrupts.msix;
  counts[PciInterruptIndex.ERR] = interrupts.err;
  counts[PciInterruptIndex.REQ] = interrupts.req;
  const registers = new Map(
    Object.entries(data.registers).map(([offset, register]) => [
      Number(offset),
      registerOf(register),
    ]),
  );
  const { narrowReads, resettable } = data;
  return { config, regions, interrupts: counts, registers, rom, narrowReads, resettable };
}
