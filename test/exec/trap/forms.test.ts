/** What a bus sees of an instruction: how many accesses, of which sizes, in which order. */
import { beforeEach, describe, expect, test } from 'vitest';
import { decode, describe as describeInstruction } from '../../../src/exec/trap/x64/decode.js';
import { deviceAddress, makeState, memoryAddress, runInItsPlace, type State } from './machine.js';

const OFFSET = 0x20;
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

let state: State;
beforeEach(() => {
  state = makeState();
  const place = BigInt(deviceAddress + OFFSET);
  // rcx counts, rbx and rdi point to the device, rsi to memory.
  state.registers.set([0x1122334455667788n, 3n, 0n, place, 0n, 0n, BigInt(memoryAddress), place]);
  state.device.set(
    Array.from({ length: 64 }, (_, at) => at),
    OFFSET,
  );
});

/** `r4+0`: 4 bytes were read at offset 0 from what was touched. */
function accesses(hex: string): string | null {
  const form = decode(bytes(hex));
  const done = form === null ? null : runInItsPlace(form, state, OFFSET);
  return done === null
    ? null
    : done.map(({ kind, size, offset }) => `${kind[0]}${size}+${offset - OFFSET}`).join(' ');
}

describe('a bus sees', () => {
  test.each([
    ['mov al,[rbx]', '8a03', 'r1+0'],
    ['mov ax,[rbx]', '668b03', 'r2+0'],
    ['mov eax,[rbx]', '8b03', 'r4+0'],
    ['mov rax,[rbx]', '488b03', 'r8+0'],
    ['movzx eax,word [rbx]', '0fb703', 'r2+0'],
    ['movsx rax,byte [rbx]', '480fbe03', 'r1+0'],
    ['movbe eax,[rbx]', '0f38f003', 'r4+0'],
    ['cmove eax,[rbx], which does not move', '0f4403', 'r4+0'],
    ['mov [rbx],ah', '8823', 'w1+0'],
    ['mov dword [rbx],7', 'c70307000000', 'w4+0'],
    ['mov [rbx],rax', '488903', 'w8+0'],
    ['movnti [rbx],eax', '0fc303', 'w4+0'],
    ['sete [rbx]', '0f9403', 'w1+0'],
    ['cmp dword [rbx],1', '833b01', 'r4+0'],
    ['test byte [rbx],1', 'f60301', 'r1+0'],
    ['bt dword [rbx],3', '0fba2303', 'r4+0'],
    ['add eax,[rbx]', '0303', 'r4+0'],
    ['or [rbx],eax', '0903', 'r4+0 w4+0'],
    ['lock add [rbx],ax', 'f0660103', 'r2+0 w2+0'],
    ['inc dword [rbx]', 'ff03', 'r4+0 w4+0'],
    ['bts dword [rbx],3', '0fba2b03', 'r4+0 w4+0'],
    ['xchg [rbx],eax', '8703', 'r4+0 w4+0'],
    ['lock xadd [rbx],rax', 'f0480fc103', 'r8+0 w8+0'],
    ['cmpxchg [rbx],ecx, which does not exchange', '0fb10b', 'r4+0 w4+0'],
    ['movd xmm1,[rbx]', '660f6e0b', 'r4+0'],
    ['movsd xmm1,[rbx]', 'f20f100b', 'r8+0'],
    ['movups xmm1,[rbx]', '0f100b', 'r8+0 r8+8'],
    ['movups [rbx],xmm1', '0f110b', 'w8+0 w8+8'],
    ['stosb', 'aa', 'w1+0'],
    ['rep stosd', 'f3ab', 'w4+0 w4+4 w4+8'],
    ['rep movsw to registers', 'f366a5', 'w2+0 w2+2 w2+4'],
    ['repne scasb', 'f2ae', 'r1+0 r1+1 r1+2'],
  ])('%s', (_, hex, expected) => {
    expect(accesses(hex)).toBe(expected);
  });

  test('rep movsb from registers, downwards', () => {
    [state.registers[6], state.registers[7]] = [state.registers[7]!, state.registers[6]! + 8n];
    state.flags = 0x400;
    expect(accesses('f3a4')).toBe('r1+0 r1+-1 r1+-2');
    expect(state.memory.subarray(6, 9)).toEqual(Uint8Array.of(0, 0, 0));
    expect(state.registers[1]).toBe(0n);
  });
});

describe('an instruction that is not known is named and not done:', () => {
  test.each([
    ['cvtsi2sd xmm0,dword [rbx]', 'f20f2a03'],
    ['pcmpeqd xmm0,[rbx]', '660f7603'],
    ['fld dword [rbx]', 'd903'],
    ['cmpxchg16b [rbx]', '480fc70b'],
    ['push qword [rbx]', 'ff33'],
    ['call qword [rbx]', 'ff13'],
    ['imul eax,[rbx]', '0faf03'],
    ['popcnt eax,[rbx]', 'f30fb803'],
    ['shl dword [rbx],1', 'd123'],
    ['mov eax,[fs:rbx]', '648b03'],
    ['mov eax,[ebx]', '678b03'],
    ['vmovdqu32 ymm1{k1}{z},[rbx]', '62f17ea96f0b'],
    ['vpgatherdd ymm1,[rbx+ymm2],ymm3', 'c4e265900c13'],
    ['nop', '90'],
  ])('%s', (text, hex) => {
    expect(decode(bytes(hex))).toBeNull();
    expect(describeInstruction(bytes(hex))).toBe(`${text} (${hex})`);
  });

  test('bytes that are no instruction, or half of one', () => {
    expect(decode(bytes('06'))).toBeNull();
    expect(decode(bytes('8b'))).toBeNull();
    expect(decode(bytes(''))).toBeNull();
  });

  test('one whose operand is not what was touched', () => {
    const form = decode(bytes('8b03'))!;
    expect(runInItsPlace(form, state, OFFSET + 4)).toBeNull();
    // A bit beside its operand lies in another.
    state.registers[0] = 32n;
    const bit = decode(bytes('0fa303'))!;
    expect(runInItsPlace(bit, state, OFFSET + 4)).toBeNull();
    expect(state.device[OFFSET + 4]).toBe(4);
  });

  test('a string instruction from registers to registers of one page', () => {
    state.registers[6] = BigInt(deviceAddress + OFFSET + 8);
    expect(runInItsPlace(decode(bytes('f3a4'))!, state, OFFSET + 8)).toBeNull();
  });
});
