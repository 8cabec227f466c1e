import type { MachineCode } from './architecture.js';

const makeCalls = [
  0xaa0003e9, // mov x9, x0
  // next:
  0xf9400128, // ldr x8, [x9]
  0xa9408520, // ldp x0, x1, [x9, 8]
  0xa9418d22, // ldp x2, x3, [x9, 24]
  0xa9429524, // ldp x4, x5, [x9, 40]
  0xd4000001, // svc 0
  0xf9401d2a, // ldr x10, [x9, 56]
  0xb9000140, // str w0, [x10]
  0x9101012a, // add x10, x9, 64
  0xb6f800c0, // tbz x0, 63, go
  0x9101212a, // add x10, x9, 72
  0xf940292b, // ldr x11, [x9, 80]
  0xeb0b001f, // cmp x0, x11
  0x54000041, // b.ne go
  0x9101612a, // add x10, x9, 88
  // go:
  0xf9400149, // ldr x9, [x10]
  0xb5fffe29, // cbnz x9, next
  0xd65f03c0, // ret
];

const clone = [
  0xaa0003e9, // mov x9, x0
  0xaa0203e0, // mov x0, x2
  0xaa1f03e2, // mov x2, xzr
  0xaa1f03e3, // mov x3, xzr
  0xaa1f03e4, // mov x4, xzr
  0xd2801b88, // mov x8, clone
  0xd4000001, // svc 0
  0xb4000040, // cbz x0, child
  0xd65f03c0, // ret
  // child: where it would return to is its parent's
  0xaa1f03fe, // mov x30, xzr
  0x17ffffe5, // b next
];

const bytes = (instructions: readonly number[]): Uint8Array =>
  new Uint8Array(Uint32Array.from(instructions).buffer);

/** MOVZ and two MOVK: a 48-bit value. */
const move = (register: number, value: number): number[] =>
  [0xd2800000, 0xf2a00000, 0xf2c00000].map(
    (code, part) => code + (Math.floor(value / 2 ** (16 * part)) % 2 ** 16) * 2 ** 5 + register,
  );

export const arm64Code: MachineCode = {
  common: bytes([...makeCalls, ...clone]),
  cloneAt: 4 * makeCalls.length,
  handler: (makeCallsAt, list, { at, value }) =>
    bytes([
      ...move(9, at),
      ...move(10, value),
      0xb900012a, // str w10, [x9]
      ...move(0, list),
      ...move(9, makeCallsAt),
      0xd61f0120, // br x9
    ]),
};
