/** Whether a definition makes sense. What does not is a `DeviceMistake`. */
import { PAGE_SIZE } from '../mm/address-space.js';
import type { BarDefinition, DeviceDefinition, RegisterDefinition } from './definition.js';

type Kind = 'text' | 'flag' | 'number' | 'list' | 'object' | 'function' | 'any';
type Shape = Readonly<Record<string, readonly [kind: Kind, isNeeded: boolean]>>;

const definitionShape: Shape = {
  name: ['text', true],
  summary: ['text', true],
  options: ['object', false],
  points: ['object', false],
  vendor: ['number', true],
  device: ['number', true],
  subsystemVendor: ['number', false],
  subsystem: ['number', false],
  revision: ['number', false],
  classCode: ['number', true],
  bars: ['list', true],
  pin: ['flag', false],
  msi: ['object', false],
  msix: ['object', false],
  power: ['flag', false],
  express: ['flag', false],
  vendorCapability: ['object', false],
  stalls: ['flag', false],
  create: ['function', true],
};
const barShape: Shape = {
  index: ['number', true],
  size: ['number', true],
  io: ['flag', false],
  wide: ['flag', false],
  open: ['list', false],
  registers: ['list', false],
};
const areaShape: Shape = { offset: ['number', true], size: ['number', true] };
const registerShape: Shape = {
  name: ['text', true],
  about: ['text', false],
  offset: ['number', true],
  rule: ['text', false],
  mask: ['number', false],
  reset: ['number', false],
  count: ['number', false],
  stride: ['number', false],
};
const msiShape: Shape = { vectors: ['number', true] };
const msixShape: Shape = {
  vectors: ['number', true],
  bar: ['number', true],
  table: ['number', true],
  pending: ['number', true],
};
const pointShape: Shape = {
  event: ['text', true],
  fault: ['text', true],
  takes: ['any', false],
  sweep: ['list', false],
};
const vendorShape: Shape = { body: ['list', true], writable: ['list', false] };

const rules = ['rw', 'ro', 'wo', 'rc', 'w1s', 'w1c'];
const optionTypes = ['text', 'number', 'size'];
/** Keys that `--device` has for every device. */
const takenOptions = ['fault', 'mmap', 'log'];
const WORD = 4;
const MSIX_ENTRY = 16;
const LONG = 8;
const BAR_MOST = 2 ** 30;
/** Bytes of the vendor's capability that fit: behind the others, below 0x100. */
const VENDOR_MOST = 0x3e;

/** Bytes of a BAR that are somebody's already. */
interface Claim {
  readonly what: string;
  readonly offset: number;
  readonly end: number;
}

/** What is wrong with a definition: it is the author's, and says where it lies. */
export class DeviceMistake extends Error {}

/** Throws DeviceMistake. */
export function checkDefinition(definition: DeviceDefinition): void {
  const given: unknown = definition;
  if (typeof given !== 'object' || given === null)
    throw new DeviceMistake('defineDevice takes an object: { name, summary, vendor, device, … }');
  const { name } = definition;
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]*$/i.test(name))
    throw new DeviceMistake(
      `name: ${shown(name)} is not valid; letters, digits and hyphens, a letter first`,
    );
  const at = `device ${name}`;
  checkShape(definition, definitionShape, at);
  checkNumber(definition.classCode, 0xffffff, `${at}: classCode`);
  for (const key of ['vendor', 'device', 'subsystemVendor', 'subsystem'] as const)
    checkNumber(definition[key] ?? 0, 0xffff, `${at}: ${key}`);
  checkNumber(definition.revision ?? 0, 0xff, `${at}: revision`);
  checkOptions(definition, at);
  checkPoints(definition, at);
  checkBars(definition, at);
  checkCapabilities(definition, at);
}

function checkBars({ bars, msix }: DeviceDefinition, at: string): void {
  const taken = new Set<number>();
  const names = new Set<string>();
  for (const bar of bars) {
    checkShape(bar, barShape, `${at}: a BAR`);
    const { index, io, size, wide } = bar;
    const here = `${at}: BAR ${index}`;
    checkNumber(index, wide ? 4 : 5, `${here}: index`);
    for (const each of wide ? [index, index + 1] : [index]) {
      if (taken.has(each))
        throw new DeviceMistake(`${here}: register ${each} is another BAR's already`);
      taken.add(each);
    }
    const [least, most] = io ? [WORD, 256] : [PAGE_SIZE, BAR_MOST];
    if (!(size >= least && size <= most && Number.isInteger(Math.log2(size))))
      throw new DeviceMistake(
        `${here}: size ${shown(size)} is no power of two from ${least} to ${most}`,
      );
    checkContents(bar, msix?.bar === index ? msix : undefined, names, here);
  }
  if (msix !== undefined && !bars.some(({ index, io }) => index === msix.bar && !io))
    throw new DeviceMistake(`${at}: msix: there is no BAR ${shown(msix.bar)} of memory`);
}

/** That nothing in the BAR lies where something else is. */
function checkContents(
  bar: BarDefinition,
  msix: DeviceDefinition['msix'],
  names: Set<string>,
  here: string,
): void {
  const claims: Claim[] = [];
  const claim = (what: string, offset: number, size: number): void => {
    const end = offset + size;
    if (!(offset >= 0 && end <= bar.size))
      throw new DeviceMistake(
        `${here}: ${what} at ${hex(offset)} is outside of its ${hex(bar.size)} bytes`,
      );
    const other = claims.find((each) => offset < each.end && end > each.offset);
    if (other !== undefined)
      throw new DeviceMistake(`${here}: ${what} at ${hex(offset)} lies where ${other.what} is`);
    claims.push({ what, offset, end });
  };
  for (const area of bar.open ?? []) {
    checkShape(area, areaShape, `${here}: open`);
    if (bar.io)
      throw new DeviceMistake(`${here}: I/O space cannot be mapped, so nothing in it is open`);
    if (area.offset % PAGE_SIZE !== 0 || area.size % PAGE_SIZE !== 0 || area.size <= 0)
      throw new DeviceMistake(
        `${here}: open [${hex(area.offset)}, ${hex(area.offset + area.size)}) is not whole pages`,
      );
    claim('an open area', area.offset, area.size);
  }
  if (msix !== undefined) {
    claim("MSI-X's table", msix.table, msix.vectors * MSIX_ENTRY);
    claim("MSI-X's pending bits", msix.pending, Math.ceil(msix.vectors / 64) * LONG);
  }
  for (const register of bar.registers ?? []) {
    checkRegister(register, names, here);
    const { count = 1, name, offset, stride = WORD } = register;
    for (let n = 0; n < count; n++) claim(name, offset + n * stride, WORD);
  }
}

function checkRegister(register: RegisterDefinition, names: Set<string>, here: string): void {
  checkShape(register, registerShape, `${here}: register ${shown(register.name)}`);
  const { count = 1, mask, name, offset, reset, rule = 'rw', stride = WORD } = register;
  const at = `${here}: register ${name}`;
  if (names.has(name)) throw new DeviceMistake(`${at}: there is another one of this name`);
  names.add(name);
  if (!rules.includes(rule))
    throw new DeviceMistake(`${at}: rule ${shown(rule)} is none of ${rules.join(', ')}`);
  if (offset % WORD !== 0 || stride % WORD !== 0 || stride < WORD)
    throw new DeviceMistake(`${at}: offset and stride must be multiples of 4`);
  if (!Number.isInteger(count) || count < 1)
    throw new DeviceMistake(`${at}: count must be 1 at least`);
  checkNumber(mask ?? 0, 0xffffffff, `${at}: mask`);
  checkNumber(reset ?? 0, 0xffffffff, `${at}: reset`);
}

function checkCapabilities(definition: DeviceDefinition, at: string): void {
  const { express, msi, msix, stalls, vendorCapability } = definition;
  if (msi !== undefined) {
    checkShape(msi, msiShape, `${at}: msi`);
    if (![1, 2, 4, 8, 16, 32].includes(msi.vectors))
      throw new DeviceMistake(`${at}: msi: vectors must be 1, 2, 4, 8, 16 or 32`);
  }
  if (msix !== undefined) {
    checkShape(msix, msixShape, `${at}: msix`);
    if (!Number.isInteger(msix.vectors) || msix.vectors < 1 || msix.vectors > 2048)
      throw new DeviceMistake(`${at}: msix: vectors must be 1 to 2048`);
    if (msix.table % LONG !== 0 || msix.pending % LONG !== 0)
      throw new DeviceMistake(`${at}: msix: table and pending must be multiples of 8`);
  }
  if (vendorCapability !== undefined) {
    checkShape(vendorCapability, vendorShape, `${at}: vendorCapability`);
    if (vendorCapability.body.length > VENDOR_MOST)
      throw new DeviceMistake(`${at}: vendorCapability: body has more than ${VENDOR_MOST} bytes`);
  }
  if (stalls === true && express === false)
    throw new DeviceMistake(`${at}: stalls needs PCI Express, which has ATS and PRI`);
}

function checkOptions({ options = {} }: DeviceDefinition, at: string): void {
  for (const [key, option] of Object.entries(options)) {
    const here = `${at}: option ${key}`;
    if (takenOptions.includes(key) || !/^[a-z][a-z0-9_-]*$/i.test(key))
      throw new DeviceMistake(
        `${here}: a name of letters and digits, none of ${takenOptions.join(', ')}`,
      );
    if (typeof option?.about !== 'string') throw new DeviceMistake(`${here}: about is missing`);
    const { type } = option;
    if (!Array.isArray(type) && !optionTypes.includes(type as string))
      throw new DeviceMistake(`${here}: type is ${optionTypes.join(', ')} or a list of words`);
    const wanted = type === 'number' || type === 'size' ? 'number' : 'string';
    if (typeof option.default !== wanted)
      throw new DeviceMistake(`${here}: default must be a ${wanted}`);
  }
}

function checkPoints({ points = {} }: DeviceDefinition, at: string): void {
  for (const [name, point] of Object.entries(points)) {
    const here = `${at}: point ${name}`;
    if (!/^[a-z][a-z0-9-]*$/i.test(name))
      throw new DeviceMistake(`${here}: a name of letters, digits and hyphens, a letter first`);
    checkShape(point, pointShape, here);
    const { sweep, takes } = point;
    const words: readonly unknown[] | null = Array.isArray(takes) ? takes : null;
    const areWords = words?.every((word) => /^[\w.-]+$/.test(String(word))) === true;
    if (takes !== undefined && takes !== 'number' && !(areWords && words!.length > 0))
      throw new DeviceMistake(
        `${here}: takes is 'number' or a list of words of letters, digits, dots and hyphens`,
      );
    if (takes === 'number' && sweep === undefined)
      throw new DeviceMistake(`${here}: sweep is missing: numbers for --inject-each, or none: []`);
    const isRight = (value: unknown): boolean =>
      takes === 'number' ? isWord32(value) : words?.includes(value) === true;
    const wrong = sweep?.find((value) => !isRight(value));
    if (wrong !== undefined)
      throw new DeviceMistake(`${here}: sweep has ${shown(wrong)}, which the point does not take`);
  }
}

function isWord32(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32;
}

function checkShape(given: unknown, shape: Shape, at: string): void {
  if (typeof given !== 'object' || given === null)
    throw new DeviceMistake(`${at}: must be an object`);
  const fields = given as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(fields))
    if (!Object.hasOwn(shape, key))
      throw new DeviceMistake(
        `${at}: unknown key '${key}'; it takes ${Object.keys(shape).join(', ')}`,
      );
  for (const [key, [kind, isNeeded]] of Object.entries(shape)) {
    const value = fields[key];
    if (value === undefined ? isNeeded : !isKind(value, kind))
      throw new DeviceMistake(
        `${at}: ${key} ${value === undefined ? 'is missing' : `must be a ${kind}`}`,
      );
  }
}

function isKind(value: unknown, kind: Kind): boolean {
  switch (kind) {
    case 'text':
      return typeof value === 'string';
    case 'flag':
      return typeof value === 'boolean';
    case 'list':
      return Array.isArray(value);
    case 'any':
      return true;
    default:
      return typeof value === kind && value !== null && !Number.isNaN(value);
  }
}

function checkNumber(value: number, most: number, at: string): void {
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw new DeviceMistake(`${at}: ${shown(value)} is not a whole number from 0 to ${hex(most)}`);
}

function hex(value: number): string {
  return Number.isInteger(value) ? `0x${value.toString(16)}` : String(value);
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value);
}
