/**
 * The machine code by which a program does not see that a call which is only watched was
 * interrupted (x86-64).
 *
 * A signal that comes before the engine has received a call makes the kernel give the call up, and
 * with EINTR where the handler lacks SA_RESTART. So such a handler is entered through a *slot* in
 * the trap page. Where what was interrupted is a `mov` to eax and `syscall`, as C libraries have
 * it, has just returned EINTR, and is a call that a kernel never interrupts, the saved registers
 * are set back to in front of it. Then the slot jumps to the handler.
 */

import { Bug } from '../../../abi/bug.js';
import { Errno } from '../../../abi/errno.js';
import { AT_FDCWD } from '../../../abi/linux.js';
import { VFIO_TYPE } from '../../../abi/vfio.js';
import { PAGE_SIZE } from '../../../mm/address-space.js';
import type { Architecture, SystemCall } from '../../arch/index.js';
import {
  alwaysIntercepted,
  type DescriptorWindow,
  interceptedOnDescriptor,
} from '../../seccomp/filter.js';
import { HANDLER_TABLE, HANDLERS_MAX, TRAP_PAGE } from '../trap-page.js';

/** Where things lie in the trap page. */
const COMMON = 0x240;
const MAPS = 0x400;
const SLOTS = 0x4c0;
const SLOT_BYTES = 10;
export const RESTART_ADDRESS = TRAP_PAGE + COMMON;

/** Calls below this number are looked up in bit maps, which lie one behind the other. */
const CALLS_MAX = 512;
const MAP_BYTES = CALLS_MAX / 8;
/** The maps: what a kernel never interrupts, what it never does on VFIO's files, what opens. */
const [NEVER, ON_DESCRIPTOR, OPENING] = [0, MAP_BYTES, 2 * MAP_BYTES] as const;

const opening: readonly SystemCall[] = ['open', 'openat', 'openat2'];
/** Always intercepted, and a kernel may interrupt them as well. */
const mayWait: readonly SystemCall[] = [...opening, 'process_madvise', 'ftruncate'];
/** Intercepted where their arguments say so; a kernel never interrupts them. */
const byArguments: readonly SystemCall[] = [
  'mmap',
  'clone',
  'vfork',
  'shmat',
  'dup2',
  'dup3',
  'close_range',
  'rt_sigaction',
  'rt_sigprocmask',
];

/** Arguments may be put into their registers after the number: bytes that are looked at. */
const LOOK_BACK = 10;

/** struct stat, and where its mode is. */
const STAT_BYTES = 144;
const STAT_MODE = 24;
const S_IFMT = 0xf000;
const S_IFIFO = 0x1000;

const word = (value: number): number[] => [0, 8, 16, 24].map((bit) => (value >>> bit) & 0xff);
const long = (value: number): number[] => [...word(value % 2 ** 32), ...word(value / 2 ** 32)];

/** Bytes, a label, or a jump (its opcode) to a label behind it or before it. */
type Piece = readonly number[] | string | { readonly jump: readonly number[]; readonly to: string };
const jump = (...code: number[]) => ({
  to: (label: string): Piece => ({ jump: code, to: label }),
});
const always = jump(0xe9);
const below = jump(0x0f, 0x82); // carry
const atLeast = jump(0x0f, 0x83);
const equal = jump(0x0f, 0x84);
const unequal = jump(0x0f, 0x85);

function assemble(pieces: readonly Piece[]): number[] {
  const sizeOf = (piece: Piece): number =>
    typeof piece === 'string' ? 0 : 'jump' in piece ? piece.jump.length + 4 : piece.length;
  const labels = new Map<string, number>();
  let at = 0;
  for (const piece of pieces) {
    if (typeof piece === 'string') labels.set(piece, at);
    at += sizeOf(piece);
  }
  const code: number[] = [];
  for (const piece of pieces)
    if (typeof piece === 'string') continue;
    else if ('jump' in piece)
      code.push(...piece.jump, ...word(labels.get(piece.to)! - code.length - sizeOf(piece)));
    else code.push(...piece);
  return code;
}

/** The slot that has this address, or -1. */
export function slotAt(address: number): number {
  const slot = (address - slotAddress(0)) / SLOT_BYTES;
  return Number.isInteger(slot) && slot >= 0 && slot < HANDLERS_MAX ? slot : -1;
}

/** The address of a slot. */
export function slotAddress(slot: number): number {
  return TRAP_PAGE + SLOTS + slot * SLOT_BYTES;
}

/** The code of the trap page from RESTART_ADDRESS on. */
export function restartCode({ nr }: Architecture, window: DescriptorWindow): Uint8Array {
  const part = new Uint8Array(SLOTS + SLOT_BYTES * HANDLERS_MAX - COMMON);
  const code = assemble(common(window, nr));
  if (code.length > MAPS - COMMON) throw new Bug('code of the trap page', { length: code.length });
  part.set(code);
  const map = (at: number, calls: readonly SystemCall[]): void => {
    for (const call of calls) {
      const number = nr[call];
      if (number !== undefined) part[MAPS - COMMON + at + (number >> 3)]! |= 1 << (number & 7);
    }
  };
  map(NEVER, [...alwaysIntercepted.filter((call) => !mayWait.includes(call)), ...byArguments]);
  map(ON_DESCRIPTOR, [...interceptedOnDescriptor, 'ioctl', 'fcntl']);
  map(OPENING, opening);
  for (let slot = 0; slot < HANDLERS_MAX; slot++) {
    const at = SLOTS + slot * SLOT_BYTES;
    // mov eax, SLOT; jmp COMMON
    part.set([0xb8, ...word(slot), 0xe9, ...word(COMMON - at - SLOT_BYTES)], at - COMMON);
  }
  return part;
}

/** Entered with rdi = signal, rsi = siginfo, rdx = ucontext, eax = slot. */
// biome-ignore format: an instruction a line
function common(
  { first, end }: DescriptorWindow,
  { ioctl, newfstatat }: Architecture['nr'],
): readonly Piece[] {
  return [
    [0x4c, 0x8b, 0x82, ...word(168)], // mov r8, [rdx + 168]: the saved rip
    [0x48, 0x83, 0xba, ...word(144), -Errno.EINTR & 0xff], // cmp [rdx + 144], -EINTR: the saved rax
    unequal.to('handler'),
    // What lies in front of this page may not be there: so it is with the trap page itself.
    [0x45, 0x89, 0xc2], // mov r10d, r8d
    [0x41, 0x81, 0xe2, ...word(PAGE_SIZE - 1)], // and r10d, PAGE_SIZE - 1
    [0x41, 0x83, 0xfa, 7], // cmp r10d, 7: the bytes of both instructions
    below.to('handler'),
    [0x66, 0x41, 0x81, 0x78, 0xfe, 0x0f, 0x05], // cmp word [r8 - 2], SYSCALL
    unequal.to('handler'),
    // The call's number: what the last `mov eax` in front of it says.
    [0x4d, 0x8d, 0x48, 0xf9], // lea r9, [r8 - 7]
    [0x41, 0xba, ...word(LOOK_BACK)], // mov r10d, LOOK_BACK
    'look',
    [0x41, 0x8b, 0x49, 0x01], // mov ecx, [r9 + 1]
    [0x41, 0x80, 0x39, 0xb8], // cmp byte [r9], MOV EAX, imm32
    equal.to('number'),
    [0x49, 0xff, 0xc9], // dec r9
    [0x41, 0xf7, 0xc1, ...word(PAGE_SIZE - 1)], // test r9d, PAGE_SIZE - 1
    equal.to('moved'),
    [0x41, 0xff, 0xca], // dec r10d
    unequal.to('look'),
    'moved',
    [0x8b, 0x8a, ...word(112)], // mov ecx, [rdx + 112]: the saved esi
    [0x66, 0x41, 0x81, 0x78, 0xfc, 0x89, 0xf0], // cmp word [r8 - 4], MOV EAX, ESI
    equal.to('number'),
    [0x8b, 0x8a, ...word(136)], // mov ecx, [rdx + 136]: the saved edx
    [0x66, 0x41, 0x81, 0x78, 0xfc, 0x89, 0xd0], // cmp word [r8 - 4], MOV EAX, EDX
    unequal.to('handler'),
    'number',
    [0x81, 0xf9, ...word(CALLS_MAX)], // cmp ecx, CALLS_MAX
    atLeast.to('handler'),
    [0x49, 0xb9, ...long(TRAP_PAGE + MAPS)], // mov r9, MAPS
    [0x41, 0x0f, 0xa3, 0x89, ...word(NEVER)], // bt [r9 + NEVER], ecx
    below.to('restart'),
    [0x41, 0x0f, 0xa3, 0x89, ...word(OPENING)], // bt [r9 + OPENING], ecx
    below.to('open'),
    [0x41, 0x0f, 0xa3, 0x89, ...word(ON_DESCRIPTOR)], // bt [r9 + ON_DESCRIPTOR], ecx
    atLeast.to('handler'),
    [0x81, 0xf9, ...word(ioctl)], // cmp ecx, ioctl
    unequal.to('descriptor'),
    [0x80, 0x7a, 113, VFIO_TYPE], // cmp byte [rdx + 113], VFIO_TYPE: of the saved rsi
    equal.to('restart'),
    'descriptor',
    [0x44, 0x8b, 0x52, 104], // mov r10d, [rdx + 104]: the saved edi
    [0x41, 0x81, 0xea, ...word(first)], // sub r10d, first
    [0x41, 0x81, 0xfa, ...word(end - first)], // cmp r10d, end - first
    below.to('restart'),
    'handler',
    [0x49, 0xb9, ...long(HANDLER_TABLE)], // mov r9, HANDLER_TABLE
    [0x41, 0xff, 0x24, 0xc1], // jmp [r9 + 8 * rax]
    'restart',
    [0x48, 0x89, 0x8a, ...word(144)], // mov [rdx + 144], rcx
    [0x49, 0x83, 0xe8, 0x02], // sub r8, 2
    [0x4c, 0x89, 0x82, ...word(168)], // mov [rdx + 168], r8
    always.to('handler'),
    // An open waits where it is one end of a FIFO, and what a signal ends then is the waiting.
    'open',
    [0x57, 0x56, 0x52, 0x50, 0x51], // push rdi; push rsi; push rdx; push rax; push rcx
    [0x48, 0x81, 0xec, ...word(STAT_BYTES)], // sub rsp, STAT_BYTES
    [0x48, 0x8b, 0x7a, 104], // mov rdi, [rdx + 104]
    [0x48, 0x8b, 0x72, 112], // mov rsi, [rdx + 112]
    [0x83, 0xf9, 2], // cmp ecx, 2: open(2) has a path only
    unequal.to('at'),
    [0x48, 0x89, 0xfe], // mov rsi, rdi
    [0x48, 0xc7, 0xc7, ...word(AT_FDCWD)], // mov rdi, AT_FDCWD
    'at',
    [0x48, 0x89, 0xe2], // mov rdx, rsp
    [0x45, 0x31, 0xd2], // xor r10d, r10d
    [0xb8, ...word(newfstatat), 0x0f, 0x05], // mov eax, newfstatat; syscall
    [0x44, 0x8b, 0x54, 0x24, STAT_MODE], // mov r10d, [rsp + STAT_MODE]
    [0x49, 0x89, 0xc3], // mov r11, rax
    [0x48, 0x81, 0xc4, ...word(STAT_BYTES)], // add rsp, STAT_BYTES
    [0x59, 0x58, 0x5a, 0x5e, 0x5f], // pop rcx; pop rax; pop rdx; pop rsi; pop rdi
    [0x4d, 0x85, 0xdb], // test r11, r11
    unequal.to('restart'),
    [0x41, 0x81, 0xe2, ...word(S_IFMT)], // and r10d, S_IFMT
    [0x41, 0x81, 0xfa, ...word(S_IFIFO)], // cmp r10d, S_IFIFO
    equal.to('handler'),
    always.to('restart'),
  ];
}
