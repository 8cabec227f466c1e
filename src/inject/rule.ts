/** Rules of faults on purpose, as users write them: `POINT[:WHEN][=WHAT][@CONDITION,…]`. */
import { Errno } from '../abi/errno.js';
import { PciRegionIndex } from '../abi/pci.js';
import { formatPciAddress, parsePciAddress } from '../abi/pci-address.js';
import { CommandFault } from '../device/faults.js';
import { AdminOpcode, IoOpcode } from '../device/nvme/command.js';
import { type FaultValue, formOf, type OwnPoint } from '../device/own-points.js';
import { parseSize } from '../input/size.js';
import { parseTime } from '../input/time.js';
import { PageResponse } from '../iommu/page-request.js';
import { READ, WRITE } from '../mm/address-space.js';
import { type CallRequest, callNames, requestsOf } from './calls.js';
import { type ConditionName, onceOnly, type PointName, points } from './points.js';

/** At which of the times that the point is passed, counted from 1. */
export interface When {
  readonly first: number;
  /** Infinity: there is no last. */
  readonly last: number;
  /** Every so many, from the first on. */
  readonly every: number;
  /** Above 0, up to 1. */
  readonly chance: number;
}

/** Plain data: it crosses threads. */
export interface Rule {
  /** As it was written. */
  readonly text: string;
  readonly point: PointName;
  readonly when: When;
  /** Milliseconds from the beginning of the run from which on the point is counted. */
  readonly afterMs: number;
  /** `0000:02:00.0`; null: any. */
  readonly device: string | null;
  /** In bytes, [start, end). */
  readonly iova: { readonly start: number; readonly end: number } | null;
  /** READ, WRITE, or both. */
  readonly access: number;
  readonly queue: number | null;
  readonly vector: number | null;
  /** Of `call`: null: any. */
  readonly requests: readonly CallRequest[] | null;
  /** Of `nvme`: opcode null: any. */
  readonly command: { readonly opcode: number | null; readonly isAdmin: boolean } | null;
  /** Of `register`: a region index, and bytes from its start. */
  readonly register: { readonly region: number; readonly offset: number } | null;
  /** Of `own`. */
  readonly own: {
    readonly kind: string;
    readonly name: string;
    readonly value: FaultValue;
  } | null;
  /**
   * An errno, a register's value, a page response code, a command's status or CommandFault; 0:
   * the point has none.
   */
  readonly what: number;
  /** Milliseconds that a completion or a call comes late, or a link is down (0: for good). */
  readonly lateMs: number;
}

/** What is wrong with a rule, and what would be right. */
export class RuleError extends Error {}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const EACH: When = { first: 1, last: Number.POSITIVE_INFINITY, every: 1, chance: 1 };
/** Counts how often the point is passed, and makes no fault. */
const NONE: When = { ...EACH, first: Number.POSITIVE_INFINITY };
/** In place of a page response code: the page request is lost. */
export const QUEUE_FULL = -1;
/** The same: the request is in a group of which the rest cannot be granted. */
export const PARTIAL_GROUP = -2;
const STATUS_MOST = 0x7ff;

/** Parses a rule. `own`: points that devices of the run declare. Throws RuleError. */
export function parseRule(text: string, own: readonly OwnPoint[] = []): Rule {
  const [left = '', ...behind] = text.split('@');
  if (behind.length > 1) throw wrong(text, 'it has two @; conditions are divided by commas');
  const equals = left.indexOf('=');
  let what = equals < 0 ? null : left.slice(equals + 1);
  const words = (equals < 0 ? left : left.slice(0, equals)).split(':');
  let [room = '', subject = '', when = ''] = words;
  // call:EINTR=1%, short for call:*:1%=EINTR
  if (room === 'call' && Object.hasOwn(Errno, subject))
    [subject, when, what] = ['*', what ?? '', subject];
  if (words.length > 3) throw wrong(text, `"${words.slice(3).join(':')}" has no place in it`);
  const declared = own.find(({ kind, name }) => kind === room && name === subject);
  const point = declared === undefined ? pointOf(text, room, subject, own) : 'own';
  const rule: Writable<Rule> = {
    text,
    point,
    when: when === '' ? (onceOnly.has(point) ? nth(1) : EACH) : whenOf(text, when),
    afterMs: 0,
    device: null,
    iova: null,
    access: READ | WRITE,
    queue: null,
    vector: null,
    requests: null,
    command: null,
    register: null,
    own: null,
    what: 0,
    lateMs: 0,
  };
  if (point === 'call') rule.requests = subject === '*' ? null : callsOf(text, subject);
  if (point === 'nvme:command') rule.command = commandOf(text, subject);
  if (point === 'register') rule.register = registerOf(text, subject);
  if (point === 'link:down' && what !== null) {
    rule.lateMs = timeOf(what) ?? 0;
    if (rule.lateMs === 0) throw wrong(text, 'link:down= takes a time, like 200ms or 2s');
    what = null;
  }
  if (declared !== undefined) {
    const { kind, name } = declared;
    rule.own = { kind, name, value: faultValue(text, declared, what) };
    what = null;
  }
  const takesTime = point === 'nvme:command' || point === 'call';
  const late = takesTime ? /^late:(.+)$/.exec(what ?? '')?.[1] : undefined;
  if (late === undefined) rule.what = whatOf(text, point, what);
  else {
    if (point === 'nvme:command') rule.what = CommandFault.LATE;
    rule.lateMs = timeOf(late) ?? refuseTime(text, late);
  }
  if (behind.length === 1)
    for (const condition of behind[0]!.split(',')) readCondition(rule, condition);
  return rule;
}

/** It has a time, and one event: that comes with the time, whatever else happens. */
export function comesByItself({ afterMs, when }: Rule): boolean {
  return afterMs > 0 && when.last === 1;
}

function pointOf(text: string, room: string, subject: string, own: readonly OwnPoint[]): PointName {
  const name = `${room}:${subject}`;
  if (Object.hasOwn(points, name)) return name as PointName;
  if (room === 'call' && subject !== '') return 'call';
  if (room === 'nvme' && subject !== '') return 'nvme:command';
  if (room === 'register' && subject !== '') return 'register';
  const known = [...Object.values(points).map(({ form }) => form), ...own.map(formOf)];
  throw wrong(
    text,
    `there is no point "${subject === '' ? room : name}"; points: ${known.join(', ')}`,
  );
}

function nth(n: number): When {
  return { first: n, last: n, every: 1, chance: 1 };
}

function whenOf(text: string, word: string): When {
  const [, each, number, more] = /^(\/?)(\d+(?:\.\d+)?)([+%]?)$/.exec(word) ?? [];
  const n = Number(number);
  if (word === '0') return NONE;
  if (more === '%' && each === '' && n > 0 && n <= 100) return { ...EACH, chance: n / 100 };
  if (Number.isSafeInteger(n) && n > 0 && more !== '%') {
    if (each === '/' && more === '') return { ...EACH, first: n, every: n };
    if (each === '') return more === '+' ? { ...EACH, first: n } : nth(n);
  }
  throw wrong(
    text,
    `"${word}" is no time: 3 (the third), 3+ (from the third on), /3 (each third), 0.5% (by chance), 0 (never)`,
  );
}

function callsOf(text: string, name: string): CallRequest[] {
  const found = requestsOf(name);
  if (found.length === 0)
    throw wrong(text, `there is no call "${name}"; calls: *, ${callNames().join(', ')}`);
  return found;
}

function commandOf(text: string, name: string): Rule['command'] {
  if (name === 'cmd' || name === 'admin') return { opcode: null, isAdmin: name === 'admin' };
  for (const [opcodes, isAdmin] of [
    [IoOpcode, false],
    [AdminOpcode, true],
  ] as const) {
    const found = Object.entries(opcodes).find(([each]) => commandWord(each) === name);
    if (found !== undefined) return { opcode: found[1], isAdmin };
  }
  throw wrong(
    text,
    `there is no command "${name}"; commands: cmd, admin, ${commandNames().join(', ')}`,
  );
}

/** The names of NVMe's commands. */
function commandNames(): string[] {
  return [...Object.keys(IoOpcode), ...Object.keys(AdminOpcode)].map(commandWord);
}

function commandWord(constant: string): string {
  return constant.toLowerCase().replaceAll('_', '-');
}

function registerOf(text: string, place: string): Rule['register'] {
  const [, name = '', bar, at = ''] = /^(bar([0-5])|rom|config)\+(.+)$/.exec(place) ?? [];
  const offset = parseSize(at);
  const { BAR0, CONFIG, ROM } = PciRegionIndex;
  const region = bar === undefined ? (name === 'rom' ? ROM : CONFIG) : BAR0 + Number(bar);
  if (name === '' || Number.isNaN(offset))
    throw wrong(text, `"${place}" is no register: bar0+0x1c, rom+0x0, config+0x6`);
  return { region, offset };
}

function whatOf(text: string, point: PointName, what: string | null): number {
  const { form } = points[point];
  const expected = wrong(text, `${form} is needed${what === null ? '' : `, not "=${what}"`}`);
  switch (point) {
    case 'call':
      if (what === null || !Object.hasOwn(Errno, what))
        throw wrong(text, `${form} is needed; ERRNO: ${Object.keys(Errno).join(', ')}`);
      return Errno[what as keyof typeof Errno];
    case 'iommu:request':
      if (what === 'FULL') return QUEUE_FULL;
      if (what === 'PARTIAL') return PARTIAL_GROUP;
      if (what === 'INVALID' || what === 'FAILURE') return PageResponse[what];
      throw expected;
    case 'nvme:command': {
      if (what === 'never') return CommandFault.NEVER;
      if (what === 'twice') return CommandFault.TWICE;
      if (what === 'reorder') return CommandFault.LATE;
      const number = /^status:(0x[0-9a-f]+|\d+)$/i.exec(what ?? '')?.[1];
      const status = Number(number);
      if (status > 0 && status <= STATUS_MOST) return status;
      if (number === undefined) throw expected;
      throw wrong(text, 'a status is type * 256 + code, 0x1 to 0x7ff, as 0x280 (write fault)');
    }
    case 'register': {
      const value = numberOf(what ?? '');
      if (value < 2 ** 32) return value;
      throw expected;
    }
    default:
      if (what !== null) throw expected;
      return 0;
  }
}

function faultValue(text: string, point: OwnPoint, what: string | null): FaultValue {
  const { takes } = point;
  if (takes === null && what === null) return true;
  if (Array.isArray(takes) && takes.includes(what)) return what!;
  if (takes === 'number' && what !== null) {
    const number = numberOf(what);
    if (number < 2 ** 32) return number;
  }
  throw wrong(text, `${formOf(point)} is needed${what === null ? '' : `, not "=${what}"`}`);
}

/** Decimal, or with 0x; NaN: it is none. */
function numberOf(word: string): number {
  return /^(0x[0-9a-f]+|\d+)$/i.test(word) ? Number(word) : Number.NaN;
}

function readCondition(rule: Writable<Rule>, condition: string): void {
  const { text, point } = rule;
  const time = timeOf(condition);
  if (time !== null) {
    rule.afterMs = time;
    return;
  }
  const [name = '', value = ''] = condition.split('=');
  const allowed: readonly string[] = points[point].conditions;
  if (!allowed.includes(name))
    throw wrong(text, `@ takes a time (2s, 200ms)${allowed.map((each) => `, ${each}=`).join('')}`);
  switch (name as ConditionName) {
    case 'device': {
      const address = parsePciAddress(value);
      if (address === null) throw wrong(text, `device= takes a PCI address, like 0000:02:00.0`);
      rule.device = formatPciAddress(address);
      return;
    }
    case 'iova':
      rule.iova = rangeOf(text, value);
      return;
    case 'access':
      if (value === 'read' || value === 'write') rule.access = value === 'read' ? READ : WRITE;
      else rule.when = whenOf(text, value);
      return;
    case 'queue':
      rule.queue = wholeOf(text, name, value);
      return;
    case 'vector':
      rule.vector = wholeOf(text, name, value);
  }
}

/** Milliseconds of `2s` or `200ms`; null: it is no time. */
function timeOf(word: string): number | null {
  const us = parseTime(word, ['ms', 's']);
  return Number.isNaN(us) ? null : us / 1000;
}

function refuseTime(text: string, word: string): never {
  throw wrong(text, `late: takes a time, like 200ms or 2s, not "${word}"`);
}

function rangeOf(text: string, value: string): { start: number; end: number } {
  const [from = '', to] = value.split('-');
  const start = parseSize(from);
  const end = to === undefined ? start + 1 : parseSize(to);
  if (!(start < end)) throw wrong(text, 'iova= takes an address, or [first, end) as 0x1000-0x3000');
  return { start, end };
}

function wholeOf(text: string, name: string, value: string): number {
  if (!/^\d{1,5}$/.test(value)) throw wrong(text, `${name}= takes a number`);
  return Number(value);
}

function wrong(text: string, message: string): RuleError {
  return new RuleError(`rule "${text}": ${message}`);
}
