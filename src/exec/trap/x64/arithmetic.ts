/**
 * What arithmetic of x86-64 does to values and flags (Intel SDM vol. 1, 3.4.3.1). Values are
 * unsigned numbers of `size` bytes: instructions that compute with a device's register are rare.
 */
import type { Arithmetic, BitTest, Unary } from './form.js';

export const Flag = {
  CARRY: 0x001,
  PARITY: 0x004,
  ADJUST: 0x010,
  ZERO: 0x040,
  SIGN: 0x080,
  DIRECTION: 0x400,
  OVERFLOW: 0x800,
} as const;
const ALL = Flag.CARRY | Flag.PARITY | Flag.ADJUST | Flag.ZERO | Flag.SIGN | Flag.OVERFLOW;

/** A value, and the flags register after it. */
export interface Computed {
  readonly value: bigint;
  readonly flags: number;
}

/** `one` operation `other`. */
export function compute(
  operation: Arithmetic,
  size: number,
  one: bigint,
  other: bigint,
  flags: number,
): Computed {
  const carry = BigInt(flags & Flag.CARRY);
  switch (operation) {
    case 'add':
      return add(size, one, other, 0n, flags);
    case 'adc':
      return add(size, one, other, carry, flags);
    case 'sub':
    case 'cmp':
      return subtract(size, one, other, 0n, flags);
    case 'sbb':
      return subtract(size, one, other, carry, flags);
    case 'and':
    case 'test':
      return logic(size, one & other, flags);
    case 'or':
      return logic(size, one | other, flags);
    case 'xor':
      return logic(size, one ^ other, flags);
  }
}

export function computeUnary(operation: Unary, size: number, one: bigint, flags: number): Computed {
  switch (operation) {
    case 'not':
      return { value: BigInt.asUintN(8 * size, ~one), flags };
    case 'neg':
      return subtract(size, 0n, one, 0n, flags);
    case 'inc':
      return keepCarry(add(size, one, 1n, 0n, flags), flags);
    case 'dec':
      return keepCarry(subtract(size, one, 1n, 0n, flags), flags);
  }
}

/** The bit's value becomes the carry; the operand's size limits its number. */
export function computeBit(
  operation: BitTest,
  size: number,
  one: bigint,
  bit: bigint,
  flags: number,
): Computed {
  const mask = 1n << (bit % BigInt(8 * size));
  const now = (flags & ~Flag.CARRY) | ((one & mask) !== 0n ? Flag.CARRY : 0);
  if (operation === 'bts') return { value: one | mask, flags: now };
  if (operation === 'btr') return { value: one & ~mask, flags: now };
  if (operation === 'btc') return { value: one ^ mask, flags: now };
  return { value: one, flags: now };
}

/** Whether a condition of an opcode holds. */
export function holds(condition: number, flags: number): boolean {
  const isSet = (flag: number): boolean => (flags & flag) !== 0;
  const isLess = isSet(Flag.SIGN) !== isSet(Flag.OVERFLOW);
  const pairs = [
    isSet(Flag.OVERFLOW),
    isSet(Flag.CARRY),
    isSet(Flag.ZERO),
    isSet(Flag.CARRY) || isSet(Flag.ZERO),
    isSet(Flag.SIGN),
    isSet(Flag.PARITY),
    isLess,
    isLess || isSet(Flag.ZERO),
  ];
  return pairs[condition >> 1] !== ((condition & 1) !== 0);
}

function add(size: number, one: bigint, other: bigint, carry: bigint, flags: number): Computed {
  const sum = one + other + carry;
  const value = BigInt.asUintN(8 * size, sum);
  const overflow = signOf(size, (one ^ value) & (other ^ value));
  return arithmeticFlags(size, value, sum !== value, overflow, one ^ other ^ value, flags);
}

function subtract(
  size: number,
  one: bigint,
  other: bigint,
  borrow: bigint,
  flags: number,
): Computed {
  const difference = one - other - borrow;
  const value = BigInt.asUintN(8 * size, difference);
  const overflow = signOf(size, (one ^ other) & (one ^ value));
  return arithmeticFlags(size, value, difference < 0n, overflow, one ^ other ^ value, flags);
}

function logic(size: number, value: bigint, flags: number): Computed {
  return arithmeticFlags(size, value, false, false, 0n, flags);
}

function arithmeticFlags(
  size: number,
  value: bigint,
  carry: boolean,
  overflow: boolean,
  adjust: bigint,
  before: number,
): Computed {
  const flags =
    (before & ~ALL) |
    (carry ? Flag.CARRY : 0) |
    (hasEvenParity(Number(value & 0xffn)) ? Flag.PARITY : 0) |
    ((adjust & 0x10n) !== 0n ? Flag.ADJUST : 0) |
    (value === 0n ? Flag.ZERO : 0) |
    (signOf(size, value) ? Flag.SIGN : 0) |
    (overflow ? Flag.OVERFLOW : 0);
  return { value, flags };
}

function keepCarry(computed: Computed, before: number): Computed {
  return {
    value: computed.value,
    flags: (computed.flags & ~Flag.CARRY) | (before & Flag.CARRY),
  };
}

function signOf(size: number, value: bigint): boolean {
  return ((value >> BigInt(8 * size - 1)) & 1n) !== 0n;
}

function hasEvenParity(byte: number): boolean {
  let bits = byte ^ (byte >> 4);
  bits ^= bits >> 2;
  bits ^= bits >> 1;
  return (bits & 1) === 0;
}
