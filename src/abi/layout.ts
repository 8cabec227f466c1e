/**
 * Byte-exact struct layouts: one table per C struct, from which reading, writing and the printed
 * form come.
 *
 * Terms: a *layout* lists the fields of a struct in order; offsets follow from C's natural
 * alignment on a 64-bit little-endian machine. A *flag set* names the bits of a field for the
 * printed form.
 */

export type FieldType = 'u8' | 'u16' | 'u32' | 's32' | 'u64';

export interface Field {
  readonly type: FieldType;
  /** Names of bits, for the printed form. */
  readonly bits?: Readonly<Record<string, number>>;
  /** Printed as a hexadecimal number. */
  readonly hex?: boolean;
}

const widths: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8 };

export const u8: Field = { type: 'u8' };
export const u16: Field = { type: 'u16' };
export const u32: Field = { type: 'u32' };
export const s32: Field = { type: 's32' };
/** A 64-bit address or size, printed in hexadecimal. */
export const u64: Field = { type: 'u64', hex: true };
/** A 32-bit field of flags with these names. */
export const flags32 = (bits: Readonly<Record<string, number>>): Field => ({ type: 'u32', bits });

/** Fields by name; 64-bit ones are BigInt, which only the edges (tests, traces) may afford. */
export type FieldValues<N extends string> = Record<N, number | bigint>;

export interface StructLayout<N extends string> {
  /** The C name. */
  readonly name: string;
  readonly fields: Readonly<Record<N, Field>>;
  /** Byte offset of each field. */
  readonly at: Readonly<Record<N, number>>;
  /** sizeof, in bytes. */
  readonly size: number;
  /** offsetofend: bytes up to and with the field. */
  readonly end: Readonly<Record<N, number>>;
}

/** Lays the fields out as a C compiler does. */
export function structLayout<N extends string>(
  name: string,
  fields: Readonly<Record<N, Field>>,
): StructLayout<N> {
  const at = {} as Record<N, number>;
  const end = {} as Record<N, number>;
  let offset = 0;
  let alignment = 1;
  for (const field of Object.keys(fields) as N[]) {
    const width = widths[fields[field].type];
    alignment = Math.max(alignment, width);
    offset = Math.ceil(offset / width) * width;
    at[field] = offset;
    offset += width;
    end[field] = offset;
  }
  return { name, fields, at, end, size: Math.ceil(offset / alignment) * alignment };
}

/** Reads every field that lies inside `bytes`; a struct may be cut short, as argsz allows. */
export function readStruct<N extends string>(
  layout: StructLayout<N>,
  bytes: Uint8Array,
): Partial<FieldValues<N>> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values: Partial<FieldValues<N>> = {};
  for (const name of Object.keys(layout.fields) as N[]) {
    if (layout.end[name] > bytes.length) break;
    values[name] = readField(view, layout.at[name], layout.fields[name].type);
  }
  return values;
}

/** The bytes of the struct: fields that are not given are 0. */
export function writeStruct<N extends string>(
  layout: StructLayout<N>,
  values: Partial<FieldValues<N>>,
): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  const view = new DataView(bytes.buffer);
  for (const name of Object.keys(values) as N[]) {
    writeField(view, layout.at[name], layout.fields[name].type, values[name]!);
  }
  return bytes;
}

/** The printed form, as strace shows a struct: `{argsz=32, flags=READ|WRITE, vaddr=0x7f00, …}`. */
export function formatStruct<N extends string>(layout: StructLayout<N>, bytes: Uint8Array): string {
  const values = readStruct(layout, bytes);
  const parts: string[] = [];
  for (const name of Object.keys(layout.fields) as N[]) {
    const value = values[name];
    if (value === undefined) {
      parts.push('...');
      break;
    }
    parts.push(`${name}=${formatField(layout.fields[name], value)}`);
  }
  return `{${parts.join(', ')}}`;
}

/** The names of the bits that are set, joined by `|`; what is left over in hexadecimal. */
export function formatFlags(bits: Readonly<Record<string, number>>, value: number): string {
  const names: string[] = [];
  let rest = value >>> 0;
  for (const [name, bit] of Object.entries(bits)) {
    if (bit === 0 || (value & bit) >>> 0 !== bit >>> 0) continue;
    names.push(name);
    rest = (rest & ~bit) >>> 0;
  }
  if (rest !== 0) names.push(`0x${rest.toString(16)}`);
  return names.length === 0 ? '0' : names.join('|');
}

function formatField(field: Field, value: number | bigint): string {
  if (field.bits) return formatFlags(field.bits, Number(value));
  return field.hex ? `0x${value.toString(16)}` : `${value}`;
}

function readField(view: DataView, offset: number, type: FieldType): number | bigint {
  switch (type) {
    case 'u8':
      return view.getUint8(offset);
    case 'u16':
      return view.getUint16(offset, true);
    case 'u32':
      return view.getUint32(offset, true);
    case 's32':
      return view.getInt32(offset, true);
    case 'u64':
      return view.getBigUint64(offset, true);
  }
}

function writeField(view: DataView, offset: number, type: FieldType, value: number | bigint): void {
  switch (type) {
    case 'u8':
      view.setUint8(offset, Number(value));
      break;
    case 'u16':
      view.setUint16(offset, Number(value), true);
      break;
    case 'u32':
      view.setUint32(offset, Number(value), true);
      break;
    case 's32':
      view.setInt32(offset, Number(value), true);
      break;
    case 'u64':
      view.setBigUint64(offset, BigInt(value), true);
      break;
  }
}
