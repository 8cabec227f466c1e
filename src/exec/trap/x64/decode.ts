/**
 * Instructions of x86-64 as forms that are known here, by iced-x86, which is loaded when first
 * needed.
 */
import { createRequire } from 'node:module';
import type { Instruction } from 'iced-x86';
import type { Action, Arithmetic, BitTest, Form, Operand, Place, Unary } from './form.js';

type Iced = typeof import('iced-x86');
let loaded: Iced | null = null;

/** The decoder; the first time takes 0.3 s. */
function decoder(): Iced {
  loaded ??= createRequire(import.meta.url)('iced-x86') as Iced;
  return loaded;
}

/** Loads the decoder before it is needed. */
export function prepareDecoder(): void {
  decoder();
}

const U32 = 2 ** 32;

/** The form of the instruction that these bytes begin with, or null where none is known. */
export function decode(bytes: Uint8Array): Form | null {
  return withInstruction(bytes, (iced, instruction) => {
    if (instruction.isInvalid) return null;
    const action = actionOf(iced, instruction);
    const place = action === null ? null : placeOf(iced, instruction);
    return action === null || place === null ? null : { ...place, ...action };
  });
}

/** The instruction as an assembler writes it, and its bytes. */
export function describe(bytes: Uint8Array): string {
  return withInstruction(bytes, (iced, instruction) => {
    const formatter = new iced.Formatter(iced.FormatterSyntax.Nasm);
    const text = formatter.format(instruction);
    formatter.free();
    const code = Buffer.from(bytes.subarray(0, instruction.length)).toString('hex');
    return `${text} (${code})`;
  });
}

function withInstruction<Result>(
  bytes: Uint8Array,
  look: (iced: Iced, instruction: Instruction) => Result,
): Result {
  const iced = decoder();
  const made = new iced.Decoder(64, bytes, iced.DecoderOptions.None);
  const instruction = made.decode();
  try {
    return look(iced, instruction);
  } finally {
    instruction.free();
    made.free();
  }
}

function placeOf(iced: Iced, instruction: Instruction): Place | null {
  const { Register, RegisterExt } = iced;
  const number = (register: number): number => {
    if (register === Register.None || register === Register.RIP) return -1;
    return RegisterExt.isGPR64(register) ? RegisterExt.number(register) : Number.NaN;
  };
  const base = number(instruction.memoryBase);
  const index = number(instruction.memoryIndex);
  // 32-bit addressing, vector indexes and the bases of fs and gs: no compiler makes them for this.
  const { FS, GS } = Register;
  const segment = instruction.memorySegment;
  if (Number.isNaN(base) || Number.isNaN(index) || segment === FS || segment === GS) return null;
  const displacement = instruction.memoryDisplacementU64;
  return {
    length: instruction.length,
    base,
    index,
    scale: instruction.memoryIndexScale,
    displacement: [Number(displacement % BigInt(U32)), Number(displacement / BigInt(U32))],
    isRelative: instruction.isIpRelMemoryOperand,
  };
}

function actionOf(iced: Iced, instruction: Instruction): Action | null {
  const { Mnemonic, OpKind } = iced;
  if (instruction.isStringInstruction) return stringAction(iced, instruction);
  const size = iced.MemorySizeExt.size(instruction.memorySize);
  const memory = [0, 1].find(
    (operand) => operand < instruction.opCount && instruction.opKind(operand) === OpKind.Memory,
  );
  if (memory === undefined || size === 0) return null;
  const vector = vectorAction(iced, instruction, memory, size);
  if (vector !== null) return vector;
  if (size > 8 || instruction.opCount > 2) return null;
  const name = Mnemonic[instruction.mnemonic]!.toLowerCase();
  const other = instruction.opCount === 2 ? operandOf(iced, instruction, 1 - memory, size) : null;
  if (memory === 1) return other === null ? null : fromMemory(iced, instruction, name, size, other);
  return toMemory(iced, instruction, name, size, other);
}

const arithmetic: readonly string[] = [
  'add',
  'or',
  'adc',
  'sbb',
  'and',
  'sub',
  'xor',
  'cmp',
  'test',
];

/** Instructions whose second operand is memory. */
function fromMemory(
  iced: Iced,
  instruction: Instruction,
  name: string,
  size: number,
  to: Operand,
): Action | null {
  if (to.kind !== 'register') return null;
  const width = iced.RegisterExt.size(instruction.op0Register);
  const load = { kind: 'load', size, to, width, isReversed: false, condition: -1 } as const;
  switch (name) {
    case 'mov':
    case 'movzx':
      return { ...load, isSigned: false };
    case 'movsx':
    case 'movsxd':
      return { ...load, isSigned: true };
    case 'movbe':
      return { ...load, isSigned: false, isReversed: true };
    case 'xchg':
      return { kind: 'exchange', size, operation: 'xchg', with: to };
    default:
      if (name.startsWith('cmov'))
        return { ...load, isSigned: false, condition: conditionOf(instruction) };
      return arithmetic.includes(name)
        ? { kind: 'arithmetic', size, operation: name as Arithmetic, other: to, to: 'register' }
        : null;
  }
}

/** Instructions whose first or only operand is memory. */
function toMemory(
  iced: Iced,
  instruction: Instruction,
  name: string,
  size: number,
  other: Operand | null,
): Action | null {
  if (other === null) {
    if (['inc', 'dec', 'not', 'neg'].includes(name))
      return { kind: 'unary', size, operation: name as Unary };
    const isSet = name.startsWith('set') && instruction.conditionCode !== iced.ConditionCode.None;
    return isSet ? { kind: 'set', size: 1, condition: conditionOf(instruction) } : null;
  }
  switch (name) {
    case 'mov':
    case 'movnti':
    case 'movdiri':
      return { kind: 'store', size, from: other, isReversed: false };
    case 'movbe':
      return { kind: 'store', size, from: other, isReversed: true };
    case 'bt':
    case 'bts':
    case 'btr':
    case 'btc':
      return { kind: 'bit', size, operation: name as BitTest, bit: other };
    case 'xchg':
    case 'xadd':
    case 'cmpxchg':
      return other.kind === 'register'
        ? { kind: 'exchange', size, operation: name, with: other }
        : null;
    default:
      return arithmetic.includes(name)
        ? { kind: 'arithmetic', size, operation: name as Arithmetic, other, to: 'memory' }
        : null;
  }
}

/** A general register or a number of `size` bytes; null: it is neither. */
function operandOf(
  { OpKind, Register, RegisterExt }: Iced,
  instruction: Instruction,
  operand: number,
  size: number,
): Operand | null {
  if (instruction.opKind(operand) !== OpKind.Register) {
    const value = BigInt.asUintN(8 * size, instruction.immediate(operand));
    const low = Number(value % BigInt(U32));
    return { kind: 'immediate', low, high: Number(value / BigInt(U32)) };
  }
  const register = instruction.opRegister(operand);
  if (!RegisterExt.isGPR(register)) return null;
  const { AH, CH, DH, BH } = Register;
  return {
    kind: 'register',
    number: RegisterExt.number(RegisterExt.fullRegister(register)),
    isHighByte: [AH, CH, DH, BH].includes(register),
  };
}

/** The number of a condition in opcodes: o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g. */
function conditionOf(instruction: Instruction): number {
  return instruction.conditionCode - 1;
}

/** Moves between memory and a vector register that copy bytes; VEX and EVEX ones clear the rest. */
const wholeMoves =
  /^v?(movap[sd]|movup[sd]|movdq[au](8|16|32|64)?|lddqu|movntdqa?|movntp[sd]|movs[sd]|mov[dq])$/;
const halfMoves = /^v?mov([lh])p[sd]$/;
const VECTOR_BYTES = 64;
const XMM_BYTES = 16;

function vectorAction(
  { Mnemonic, Register, RegisterExt, EncodingKind }: Iced,
  instruction: Instruction,
  memory: number,
  size: number,
): Action | null {
  if (instruction.opCount !== 2) return null;
  const register = instruction.opRegister(1 - memory);
  if (!RegisterExt.isVectorRegister(register)) return null;
  if (instruction.opMask !== Register.None || instruction.isBroadcast) return null;
  const name = Mnemonic[instruction.mnemonic]!.toLowerCase();
  const half = halfMoves.exec(name);
  if (half === null && !wholeMoves.test(name)) return null;
  const vector = RegisterExt.number(register);
  const at = half?.[1] === 'h' ? size : 0;
  if (memory === 0) return { kind: 'vector store', size, vector, at };
  const isLegacy = instruction.encoding === EncodingKind.Legacy;
  const clearedTo = half !== null ? at + size : isLegacy ? XMM_BYTES : VECTOR_BYTES;
  return { kind: 'vector load', size, vector, at, clearedTo };
}

const stringOperation = /^(movs|stos|lods|cmps|scas)[bwdq]$/;

function stringAction({ Mnemonic, MemorySizeExt }: Iced, instruction: Instruction): Action | null {
  const match = stringOperation.exec(Mnemonic[instruction.mnemonic]!.toLowerCase());
  if (match === null) return null;
  const operation = match[1] as 'movs' | 'stos' | 'lods' | 'cmps' | 'scas';
  const compares = operation === 'cmps' || operation === 'scas';
  const rep = instruction.hasRepPrefix || instruction.hasRepePrefix;
  const repeat = instruction.hasRepnePrefix
    ? compares
      ? 'repne'
      : 'rep'
    : !rep
      ? 'none'
      : compares
        ? 'repe'
        : 'rep';
  return { kind: 'string', size: MemorySizeExt.size(instruction.memorySize), operation, repeat };
}
