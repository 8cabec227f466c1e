/** What an instruction that touches a register does, as far as it must be done in its place. */

/** Where its memory operand lies: base + index × scale + displacement, modulo 2^64. */
export interface Place {
  /** Bytes of the instruction. */
  readonly length: number;
  /** Numbers of general registers; -1: none. */
  readonly base: number;
  readonly index: number;
  readonly scale: number;
  /** Words of the displacement; of the address itself, less the instruction's, if `isRelative`. */
  readonly displacement: readonly [low: number, high: number];
  /** Relative to the instruction's own address. */
  readonly isRelative: boolean;
}

/** What is not memory: a general register, or a number. */
export type Operand =
  | { readonly kind: 'register'; readonly number: number; readonly isHighByte: boolean }
  | { readonly kind: 'immediate'; readonly low: number; readonly high: number };

export type GeneralRegister = Operand & { readonly kind: 'register' };

export type Arithmetic = 'add' | 'or' | 'adc' | 'sbb' | 'and' | 'sub' | 'xor' | 'cmp' | 'test';
export type Unary = 'inc' | 'dec' | 'not' | 'neg';
export type BitTest = 'bt' | 'bts' | 'btr' | 'btc';

/** A condition of CMOVcc and SETcc by its number in their opcodes; -1: always. */
export type Condition = number;

export type Action =
  /** Memory to a register, extended to `width` bytes. */
  | {
      readonly kind: 'load';
      readonly size: number;
      readonly to: GeneralRegister;
      readonly width: number;
      readonly isSigned: boolean;
      /** The bytes the other way round (MOVBE). */
      readonly isReversed: boolean;
      readonly condition: Condition;
    }
  | {
      readonly kind: 'store';
      readonly size: number;
      readonly from: Operand;
      readonly isReversed: boolean;
    }
  | { readonly kind: 'set'; readonly size: 1; readonly condition: Condition }
  /** `to` memory: read, then written, but for cmp and test. */
  | {
      readonly kind: 'arithmetic';
      readonly size: number;
      readonly operation: Arithmetic;
      readonly other: Operand;
      readonly to: 'memory' | 'register';
    }
  | { readonly kind: 'unary'; readonly size: number; readonly operation: Unary }
  | {
      readonly kind: 'bit';
      readonly size: number;
      readonly operation: BitTest;
      readonly bit: Operand;
    }
  | {
      readonly kind: 'exchange';
      readonly size: number;
      readonly operation: 'xchg' | 'xadd' | 'cmpxchg';
      readonly with: GeneralRegister;
    }
  /** A vector register, from its byte `at` on. */
  | {
      readonly kind: 'vector load';
      readonly size: number;
      readonly vector: number;
      readonly at: number;
      /** Bytes of the register that are zero behind what was loaded, from `at + size` to here. */
      readonly clearedTo: number;
    }
  | {
      readonly kind: 'vector store';
      readonly size: number;
      readonly vector: number;
      readonly at: number;
    }
  | {
      readonly kind: 'string';
      readonly size: number;
      readonly operation: 'movs' | 'stos' | 'lods' | 'cmps' | 'scas';
      /** Goes on while rcx is not 0, and while ZF is this. */
      readonly repeat: 'none' | 'rep' | 'repe' | 'repne';
    };

export type Form = Place & Action;
