/** Random instructions on random values do in a program's place what the processor does. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../../src/abi/random.js';
import { decode, describe as describeInstruction } from '../../../src/exec/trap/x64/decode.js';
import type { Form } from '../../../src/exec/trap/x64/form.js';
import { available } from '../../skip.js';
import { copyState, difference, randomCase } from './fuzz.js';
import { runInItsPlace, runNatively, type State } from './machine.js';

const CASES = 3000;
const isX64 = available(process.arch === 'x64', 'instructions of x86-64', 'another processor');

/** Returns the first cases in which the two differ, and how many were known of all. */
function fuzz(seed: number, distort: (state: State, form: Form) => void = () => {}) {
  const random = new Random(seed);
  const wrong: string[] = [];
  let known = 0;
  for (let number = 0; number < CASES && wrong.length < 5; number++) {
    const { instruction, state, offset, undefinedFlags } = randomCase(random);
    const form = decode(instruction);
    if (form === null) continue;
    known++;
    const native = copyState(state);
    const done = copyState(state);
    const accesses = runInItsPlace(form, done, offset);
    distort(done, form);
    runNatively(instruction, native);
    const what = accesses === null ? 'not done' : difference(done, native, undefinedFlags);
    if (what !== null) wrong.push(`case ${number}: ${describeInstruction(instruction)}: ${what}`);
  }
  return { wrong, known };
}

describe.skipIf(!isX64)('random instructions', () => {
  test('do what the processor does', () => {
    const { wrong, known } = fuzz(1);
    expect(wrong).toEqual([]);
    expect(known).toBeGreaterThan(CASES * 0.8);
  });

  test('find a planted mistake: 16 bits that clear the rest of their register', () => {
    const { wrong } = fuzz(1, (state, form) => {
      if (form.kind === 'load' && form.width === 2) state.registers[form.to.number]! &= 0xffffn;
    });
    expect(wrong.join('\n')).toMatch(/mov\w* \w+,.*: register/);
  });

  test('find a planted mistake: a carry that inc takes along', () => {
    const { wrong } = fuzz(2, (state, form) => {
      if (form.kind === 'unary' && form.operation === 'inc') state.flags &= ~1;
    });
    expect(wrong.join('\n')).toMatch(/inc .*flags 1$/m);
  });
});
