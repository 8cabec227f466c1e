/** Random instructions with a memory operand, and what differs where two run them. */
import type { Random } from '../../../src/abi/random.js';
import {
  DEVICE_BYTES,
  deviceAddress,
  makeState,
  memoryAddress,
  RSP,
  type State,
} from './machine.js';

/** Status flags, and the direction. */
const Flag = { CF: 1, PF: 4, AF: 0x10, ZF: 0x40, SF: 0x80, DF: 0x400, OF: 0x800 } as const;
const STATUS = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;
/** Always set in the flags register; interrupts on. */
const FIXED_FLAGS = 0x202;

interface Opcode {
  readonly bytes: readonly number[];
  /** Prefix that is part of it. */
  readonly prefix?: number;
  /** The number in ModRM's reg field, where it is no register. */
  readonly digit?: number;
  /** Bytes of the immediate operand; 'full': 2 or 4, by the operand's size. */
  readonly immediate?: 1 | 'full';
  /** Works on bytes. */
  readonly isByte?: boolean;
  /** May be locked. */
  readonly locks?: boolean;
  /** Moves a vector register: its prefixes are its own, and it has no other size. */
  readonly isVector?: boolean;
  /** Has no form of 16 bits. */
  readonly isDouble?: boolean;
  /** Flags that it leaves undefined. */
  readonly undefinedFlags?: number;
}

const opcodes: Opcode[] = [
  { bytes: [0x88], isByte: true },
  { bytes: [0x89] },
  { bytes: [0x8a], isByte: true },
  { bytes: [0x8b] },
  { bytes: [0xc6], digit: 0, immediate: 1, isByte: true },
  { bytes: [0xc7], digit: 0, immediate: 'full' },
  { bytes: [0x63] },
  ...[0xb6, 0xb7, 0xbe, 0xbf].map((second) => ({ bytes: [0x0f, second] })),
  { bytes: [0x0f, 0xc3], isDouble: true }, // movnti
  { bytes: [0x86], isByte: true, locks: true },
  { bytes: [0x87], locks: true },
  { bytes: [0x0f, 0xb0], isByte: true, locks: true },
  { bytes: [0x0f, 0xb1], locks: true },
  { bytes: [0x0f, 0xc0], isByte: true, locks: true },
  { bytes: [0x0f, 0xc1], locks: true },
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((digit): Opcode[] => {
    // add, or, adc, sbb, and, sub, xor, cmp
    const undefinedFlags = [1, 4, 6].includes(digit) ? Flag.AF : 0;
    const locks = digit !== 7;
    return [
      { bytes: [8 * digit], isByte: true, locks, undefinedFlags },
      { bytes: [8 * digit + 1], locks, undefinedFlags },
      { bytes: [8 * digit + 2], isByte: true, undefinedFlags },
      { bytes: [8 * digit + 3], undefinedFlags },
      { bytes: [0x80], digit, immediate: 1, isByte: true, locks, undefinedFlags },
      { bytes: [0x81], digit, immediate: 'full', locks, undefinedFlags },
      { bytes: [0x83], digit, immediate: 1, locks, undefinedFlags },
    ];
  }),
  { bytes: [0x84], isByte: true, undefinedFlags: Flag.AF }, // test
  { bytes: [0x85], undefinedFlags: Flag.AF },
  { bytes: [0xf6], digit: 0, immediate: 1, isByte: true, undefinedFlags: Flag.AF },
  { bytes: [0xf7], digit: 0, immediate: 'full', undefinedFlags: Flag.AF },
  ...[2, 3].flatMap((digit): Opcode[] => [
    { bytes: [0xf6], digit, isByte: true, locks: true },
    { bytes: [0xf7], digit, locks: true },
  ]),
  ...[0, 1].flatMap((digit): Opcode[] => [
    { bytes: [0xfe], digit, isByte: true, locks: true },
    { bytes: [0xff], digit, locks: true },
  ]),
  ...[4, 5, 6, 7].map((digit): Opcode => {
    const undefinedFlags = Flag.OF | Flag.SF | Flag.AF | Flag.PF;
    return { bytes: [0x0f, 0xba], digit, immediate: 1, locks: digit !== 4, undefinedFlags };
  }),
  ...Array.from({ length: 16 }, (_, condition) => condition).flatMap((condition): Opcode[] => [
    { bytes: [0x0f, 0x40 + condition] },
    { bytes: [0x0f, 0x90 + condition], digit: 0, isByte: true },
  ]),
  // Moves of vector registers.
  ...[0x10, 0x11, 0x28, 0x29, 0x12, 0x13, 0x16, 0x17, 0x2b].flatMap((second): Opcode[] => [
    { bytes: [0x0f, second], isVector: true },
    { bytes: [0x0f, second], prefix: 0x66, isVector: true },
  ]),
  ...[0x10, 0x11].flatMap((second): Opcode[] => [
    { bytes: [0x0f, second], prefix: 0xf3, isVector: true },
    { bytes: [0x0f, second], prefix: 0xf2, isVector: true },
  ]),
  ...[0x6e, 0x7e, 0x6f, 0x7f, 0xd6, 0xe7].map(
    (second): Opcode => ({ bytes: [0x0f, second], prefix: 0x66, isVector: true }),
  ),
  ...[0x6f, 0x7f, 0x7e].map(
    (second): Opcode => ({ bytes: [0x0f, second], prefix: 0xf3, isVector: true }),
  ),
  { bytes: [0x0f, 0xf0], prefix: 0xf2, isVector: true }, // lddqu
];

const strings = [0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xa6, 0xa7];

export interface Case {
  readonly instruction: Uint8Array;
  readonly state: State;
  /** The register that it touches. */
  readonly offset: number;
  readonly undefinedFlags: number;
}

const below = (random: Random, end: number): number => random.below(end);
const pick = <Item>(random: Random, items: readonly Item[]): Item =>
  items[below(random, items.length)]!;

/** Values of which many are at the edges of sizes. */
function value(random: Random): bigint {
  const edge = pick(random, [0n, 1n, 0x7fn, 0x80n, 0x7fffn, 0x8000n, 0x7fffffffn, 0x80000000n]);
  if (random.next() < 0.3) return BigInt.asUintN(64, random.next() < 0.5 ? edge : ~edge);
  return (BigInt(below(random, 2 ** 32)) << 32n) | BigInt(below(random, 2 ** 32));
}

function randomState(random: Random): State {
  const state = makeState();
  for (let number = 0; number < 16; number++) state.registers[number] = value(random);
  for (const bytes of [state.vectors, state.device, state.memory])
    for (let at = 0; at < bytes.length; at++) bytes[at] = below(random, 256);
  state.flags = FIXED_FLAGS | (below(random, 2 ** 12) & STATUS);
  return state;
}

export function randomCase(random: Random): Case {
  return random.next() < 0.15 ? randomString(random) : randomAccess(random);
}

function randomAccess(random: Random): Case {
  const state = randomState(random);
  const opcode = pick(random, opcodes);
  // Whole vectors may have to be aligned.
  const offset = 16 * below(random, DEVICE_BYTES / 32) + (opcode.isVector ? 0 : below(random, 16));
  const isWide = opcode.isVector !== true && random.next() < 0.3;
  const isWord =
    opcode.isVector !== true &&
    opcode.isByte !== true &&
    opcode.isDouble !== true &&
    random.next() < 0.2;
  let reg = opcode.digit ?? below(random, 16);
  if (opcode.digit === undefined && reg === RSP && opcode.isVector !== true) reg = 5;
  let base = below(random, 16);
  while (base === RSP) base = below(random, 16);
  let index = random.next() < 0.5 ? -1 : below(random, 16);
  if (index === RSP || index === base) index = -1;
  const scale = below(random, 4);
  const displacement = below(random, 2 ** 20) - 2 ** 19;
  if (index >= 0) state.registers[index] = BigInt.asUintN(64, BigInt(below(random, 65536) - 32768));
  const indexed = index < 0 ? 0n : BigInt.asIntN(64, state.registers[index]!) << BigInt(scale);
  state.registers[base] = BigInt.asUintN(
    64,
    BigInt(deviceAddress + offset - displacement) - indexed,
  );
  const rex =
    0x40 |
    (isWide ? 8 : 0) |
    (opcode.digit === undefined && reg >= 8 ? 4 : 0) |
    (index >= 8 ? 2 : 0) |
    (base >= 8 ? 1 : 0);
  const isLocked = opcode.locks === true && random.next() < 0.3;
  const immediateBytes =
    opcode.immediate === 'full' ? (isWord && !isWide ? 2 : 4) : (opcode.immediate ?? 0);
  const needsSib = index >= 0 || (base & 7) === RSP;
  const bytes = [
    ...(isLocked ? [0xf0] : []),
    ...(isWord ? [0x66] : []),
    ...(opcode.prefix === undefined ? [] : [opcode.prefix]),
    ...(rex !== 0x40 || random.next() < 0.2 ? [rex] : []),
    ...opcode.bytes,
    0x80 | ((reg & 7) << 3) | (needsSib ? 4 : base & 7),
    ...(needsSib ? [(scale << 6) | ((index < 0 ? 4 : index & 7) << 3) | (base & 7)] : []),
    ...[0, 8, 16, 24].map((shift) => (displacement >> shift) & 0xff),
    ...Array.from({ length: immediateBytes }, () => below(random, 256)),
  ];
  return {
    instruction: Uint8Array.from(bytes),
    state,
    offset,
    undefinedFlags: opcode.undefinedFlags ?? 0,
  };
}

/** One of its pointers goes to the device, and the other, if it has two, to memory. */
function randomString(random: Random): Case {
  const state = randomState(random);
  const opcode = pick(random, strings);
  const repeat = pick(random, [0, 0xf2, 0xf3]);
  const prefix = pick(random, [[], [0x66], [0x48]]);
  const usesBoth = opcode <= 0xa7;
  const isDestination = usesBoth ? random.next() < 0.5 : ![0xac, 0xad].includes(opcode);
  const offset = 64 + below(random, 64);
  const other = BigInt(memoryAddress + 64 + below(random, 64));
  state.registers[6] = isDestination ? other : BigInt(deviceAddress + offset);
  state.registers[7] = isDestination ? BigInt(deviceAddress + offset) : other;
  state.registers[1] = BigInt(1 + below(random, 6));
  if (random.next() < 0.3) state.flags |= Flag.DF;
  // Equal stretches, or comparisons end at once.
  if (random.next() < 0.5) for (const part of [state.device, state.memory]) part.fill(7);
  if (random.next() < 0.5) state.registers[0] = 0x0707070707070707n;
  const bytes = [...(repeat === 0 ? [] : [repeat]), ...prefix, opcode];
  return { instruction: Uint8Array.from(bytes), state, offset, undefinedFlags: 0 };
}

export function copyState(state: State): State {
  return {
    registers: state.registers.slice(),
    flags: state.flags,
    vectors: state.vectors.slice(),
    device: state.device.slice(),
    memory: state.memory.slice(),
  };
}

/** What differs, but for flags that the instruction leaves undefined; null: nothing. */
export function difference(one: State, other: State, undefinedFlags: number): string | null {
  for (let number = 0; number < 16; number++)
    if (number !== RSP && one.registers[number] !== other.registers[number])
      return `register ${number}: ${one.registers[number]!.toString(16)}, ${other.registers[number]!.toString(16)}`;
  const flags = (one.flags ^ other.flags) & (STATUS | Flag.DF) & ~undefinedFlags;
  if (flags !== 0) return `flags ${flags.toString(16)}`;
  for (const part of ['device', 'memory', 'vectors'] as const)
    for (let at = 0; at < one[part].length; at++)
      if (one[part][at] !== other[part][at])
        return `${part} + ${at}: ${one[part][at]}, ${other[part][at]}`;
  return null;
}
