/**
 * The machine code that a program gets (x86-64): a handler of SIGSEGV that makes one system call,
 * and the steps by which it comes to be there.
 */

import { Errno } from '../../../abi/errno.js';
import {
  MAP_ANONYMOUS,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SIG_UNBLOCK,
  SIGKILL,
  SIGSEGV,
  SIGSET_BYTES,
} from '../../../abi/linux.js';
import { HIGH } from '../../../abi/long.js';
import { CODE_BYTES, STATE_BYTES, TRAP_PAGE, TRAP_STATE } from '../trap-page.js';
import { RESTART_ADDRESS } from './restart.js';

/**
 * The call by which the code asks the engine: `tuxcall`, a number that Linux has never given a
 * meaning and never will. Its arguments are the handler's own, and the interrupted instruction's
 * address.
 */
export const MARK = 184;
/** What the handler does on an answer: an address from here on is jumped to. */
export const Answer = { RETURN: 0, CALL: 1 } as const;

/**
 * The upper half of an answer that ends an instruction of `length` bytes, without a write to the
 * program's memory: the handler sets one register of the ucontext to the lower half, and returns
 * behind the instruction. `place`: offset in ucontext.
 */
export const doneAnswer = (place: number, length: number): number =>
  (2 ** DONE_BIT) | (length << 8) | (place >> 3);

/** Of the upper half. */
const DONE_BIT = 30;
/**
 * Offsets in the handler's siginfo, which is free by then: a system call to make (number, then six
 * arguments), its result, and room for what it points to.
 */
export const Request = {
  NUMBER: 0,
  ARGUMENTS: 8,
  RESULT: 56,
  MEMORY: 64,
  MEMORY_BYTES: 64,
} as const;

/** Where things lie in the trap page. */
const HANDLER = 0x00;
const RESTORER = 0xb0;
const ACTION = 0xc0;
const MASK = 0xe0;
const START = 0xf0;
export const HANDLER_ADDRESS = TRAP_PAGE + HANDLER;
export const RESTORER_ADDRESS = TRAP_PAGE + RESTORER;
export const START_ADDRESS = TRAP_PAGE + START;

const NR = {
  mmap: 9,
  rt_sigaction: 13,
  rt_sigprocmask: 14,
  rt_sigreturn: 15,
  getpid: 39,
  kill: 62,
} as const;
const PROT_READ_WRITE = PROT_READ | PROT_WRITE;
const PROT_READ_EXEC = PROT_READ | PROT_EXEC;
const MAP_PRIVATE_ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS;
const NO_FILE = 0xffffffff;

const Register = { rax: 0, rdx: 2, rsi: 6, rdi: 7, r8: 8, r9: 9, r10: 10 } as const;
/** The registers of a system call's arguments, in their order. */
export const argumentRegisters = [
  Register.rdi,
  Register.rsi,
  Register.rdx,
  Register.r10,
  Register.r8,
  Register.r9,
];
const SYSCALL = [0x0f, 0x05];

/** MOV r32, imm32, which clears the upper half and no flag. */
function move(register: number, value: number): number[] {
  return [...(register >= 8 ? [0x41] : []), 0xb8 + (register & 7), ...word(value)];
}

/** MOV r64, imm64. */
function moveLong(register: number, low: number, high: number): number[] {
  return [register >= 8 ? 0x49 : 0x48, 0xb8 + (register & 7), ...word(low), ...word(high)];
}

const moveAddress = (register: number, address: number): number[] =>
  moveLong(register, address % HIGH, address / HIGH);

const word = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  (value >>> 24) & 0xff,
];

/**
 * Entered with rdi = signal, rsi = siginfo, rdx = ucontext. A negative answer is a call that a
 * signal interrupted before it was received, and is made again; but ENOSYS, the kernel's own where
 * nobody listens any more: iopf was killed, and the process ends with it.
 */
const ask = [
  ...[0x4c, 0x8b, 0x92, 0xa8, 0, 0, 0], // mov r10, [rdx + 168]: the saved rip
  ...move(Register.rax, MARK),
  ...SYSCALL,
  ...[0x48, 0x85, 0xc0], // test rax, rax
];
// biome-ignore format: an instruction a line
const makeCall = [
  0x52, 0x57, 0x56, // push rdx; push rdi; push rsi
  0x48, 0x8b, 0x06, // mov rax, [rsi]
  0x48, 0x8b, 0x7e, 0x08, // mov rdi, [rsi + 8]
  0x48, 0x8b, 0x56, 0x18, // mov rdx, [rsi + 24]
  0x4c, 0x8b, 0x56, 0x20, // mov r10, [rsi + 32]
  0x4c, 0x8b, 0x46, 0x28, // mov r8, [rsi + 40]
  0x4c, 0x8b, 0x4e, 0x30, // mov r9, [rsi + 48]
  0x48, 0x8b, 0x76, 0x10, // mov rsi, [rsi + 16]
  ...SYSCALL,
  0x5e, // pop rsi
  0x48, 0x89, 0x46, 0x38, // mov [rsi + 56], rax
  0x5f, 0x5a, // pop rdi; pop rdx
];
/** kill(getpid(), SIGKILL): exit_group may be among the calls that nobody answers any more. */
const end = [
  ...[...move(Register.rax, NR.getpid), ...SYSCALL],
  ...[0x89, 0xc7], // mov edi, eax
  ...move(Register.rsi, SIGKILL),
  ...[...move(Register.rax, NR.kill), ...SYSCALL],
];
const decide = [
  ...[0x79, 6 + end.length], // jns over this and the next three
  ...[0x48, 0x83, 0xf8, -Errno.ENOSYS & 0xff], // cmp rax, -ENOSYS
  ...[0x75, -(ask.length + 8) & 0xff], // jne ask
  ...end,
  ...[0x75, 0x01], // jnz over the next
  ...[0xc3], // ret: to the restorer
  ...[0x48, 0x0f, 0xba, 0xe0, 32 + DONE_BIT], // bt rax, 62
  ...[0x72, 8 + makeCall.length + 2], // jc done
  ...[0x48, 0x83, 0xf8, Answer.CALL], // cmp rax, CALL
  ...[0x74, 0x02], // je makeCall
  ...[0xff, 0xe0], // jmp rax
];
const asked = ask.length + decide.length + makeCall.length;
// biome-ignore format: an instruction a line
const done = [
  0x48, 0x89, 0xc1, // mov rcx, rax
  0x48, 0xc1, 0xe9, 0x20, // shr rcx, 32
  0x89, 0xc0, // mov eax, eax: what is above its 32 bits goes
  0x44, 0x0f, 0xb6, 0xd1, // movzx r10d, cl
  0x4a, 0x89, 0x04, 0xd2, // mov [rdx + 8 * r10], rax
  0x0f, 0xb6, 0xcd, // movzx ecx, ch
  0x48, 0x01, 0x8a, 0xa8, 0, 0, 0, // add [rdx + 168], rcx: the saved rip
  0xc3, // ret
];
const handler = [...ask, ...decide, ...makeCall, 0xeb, -(asked + 2) & 0xff, ...done];

/** A call in the program as it was intercepted: its number, and its arguments as word pairs. */
export interface InterceptedCall {
  readonly nr: number;
  readonly arguments: Uint32Array;
  /** The address behind its instruction. */
  readonly returnsTo: number;
}

/** The address of its instruction. */
export const instructionOf = ({ returnsTo }: InterceptedCall): number => returnsTo - SYSCALL.length;

/** Puts the registers of a call back; rcx and r11 belong to the kernel. */
function restore({ nr, arguments: words }: InterceptedCall): number[] {
  return [
    ...argumentRegisters.flatMap((register, index) =>
      moveLong(register, words[2 * index]!, words[2 * index + 1]!),
    ),
    ...move(Register.rax, nr),
  ];
}

/** A call that maps memory of the program's. */
export interface MapCall {
  readonly nr: number;
  readonly arguments: readonly number[];
}

const mapCall = (address: number, bytes: number, protection: number): MapCall => ({
  nr: NR.mmap,
  arguments: [
    ...[address, bytes, protection],
    ...[MAP_PRIVATE_ANONYMOUS | MAP_FIXED_NOREPLACE, NO_FILE, 0],
  ],
});

/** The call that maps the page of the code. The filter lets it pass. */
export const mapCode = mapCall(TRAP_PAGE, CODE_BYTES, PROT_READ_EXEC);
const mapState = mapCall(TRAP_STATE, STATE_BYTES, PROT_READ_WRITE);

const mapMemory = ({ nr, arguments: values }: MapCall): number[] => [
  ...values.flatMap((value, index) => {
    const register = argumentRegisters[index]!;
    return value < HIGH ? move(register, value) : moveAddress(register, value);
  }),
  ...move(Register.rax, nr),
  ...SYSCALL,
];

/**
 * What replaces the code behind an intercepted call's instruction for a moment: it maps the trap
 * page, tells the engine its address or an errno, and jumps to the address that is the answer.
 * Behind that, for where the page could not be mapped, what makes the intercepted call again.
 */
export function mappingCode(call: InterceptedCall): Uint8Array {
  const code = [...mapping, ...restore(call)];
  // The call's own instruction lies in front of all this.
  const back = -(code.length + 5 + SYSCALL.length);
  return Uint8Array.from([...code, 0xe9, ...word(back)]);
}
const mapping = [
  ...mapMemory(mapCode),
  ...[0x48, 0x89, 0xc6], // mov rsi, rax
  ...move(Register.rax, MARK),
  ...SYSCALL,
  ...[0xff, 0xe0], // jmp rax
];
/** Where in that code what gives up begins. */
export const GIVING_UP = mapping.length;

/**
 * The first page: the handler; what maps the second, installs the handler, lets SIGSEGV through and
 * makes the intercepted call again, run once; and `restart`, what x64/restart.ts has behind these.
 */
export function trapPageCode(
  call: InterceptedCall,
  action: Uint8Array,
  restart: Uint8Array,
): Uint8Array {
  const instruction = instructionOf(call);
  const page = new Uint8Array(RESTART_ADDRESS - TRAP_PAGE + restart.length);
  page.set(restart, RESTART_ADDRESS - TRAP_PAGE);
  page.set(handler, HANDLER);
  page.set([...move(Register.rax, NR.rt_sigreturn), ...SYSCALL], RESTORER);
  page.set(action, ACTION);
  page.set(word(2 ** (SIGSEGV - 1)), MASK);
  const start = [
    ...mapMemory(mapState),
    ...move(Register.rdi, SIGSEGV),
    ...moveAddress(Register.rsi, TRAP_PAGE + ACTION),
    ...move(Register.rdx, 0),
    ...move(Register.r10, SIGSET_BYTES),
    ...move(Register.rax, NR.rt_sigaction),
    ...SYSCALL,
    ...move(Register.rdi, SIG_UNBLOCK),
    ...moveAddress(Register.rsi, TRAP_PAGE + MASK),
    ...move(Register.rdx, 0),
    ...move(Register.r10, SIGSET_BYTES),
    ...move(Register.rax, NR.rt_sigprocmask),
    ...SYSCALL,
    ...restore(call),
    ...[0xff, 0x25, 0, 0, 0, 0], // jmp [rip]
    ...word(instruction % HIGH),
    ...word(instruction / HIGH),
  ];
  page.set(start, START);
  return page;
}
