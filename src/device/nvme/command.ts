/**
 * The layout of commands and completions (NVM Express 1.4, 4.2 and 4.6), as indexes of their 32-bit
 * words.
 */

export const SQE_BYTES = 64;
export const SQE_WORDS = 16;
export const CQE_BYTES = 16;
export const CQE_WORDS = 4;

/** Words of a submission queue entry. */
export const Sqe = {
  /** Opcode in bits 0–7, fused 8–9, data pointer kind 14–15, command identifier 16–31. */
  HEAD: 0,
  NAMESPACE: 1,
  /** Also where the SGL's first descriptor is. */
  PRP1: 6,
  PRP2: 8,
  DW10: 10,
  DW11: 11,
  DW12: 12,
  DW13: 13,
  DW14: 14,
  DW15: 15,
} as const;

/** Of an opcode: it reads data from the host. */
export const FROM_HOST = 1;
/** Bits of HEAD: fused operations, which are not supported. */
export const SQE_FUSED = 0x0300;
/**
 * Bits of HEAD: the data pointer is an SGL, wherever metadata would lie, of which there is none.
 * Both at once are reserved. Admin commands take PRPs only (NVM Express 1.4, 4.4).
 */
export const SQE_SGL = 0xc000;

export const AdminOpcode = {
  DELETE_SQ: 0x00,
  CREATE_SQ: 0x01,
  GET_LOG_PAGE: 0x02,
  DELETE_CQ: 0x04,
  CREATE_CQ: 0x05,
  IDENTIFY: 0x06,
  ABORT: 0x08,
  SET_FEATURES: 0x09,
  GET_FEATURES: 0x0a,
  ASYNC_EVENT_REQUEST: 0x0c,
  FORMAT_NVM: 0x80,
} as const;

export const IoOpcode = {
  FLUSH: 0x00,
  WRITE: 0x01,
  READ: 0x02,
  WRITE_UNCORRECTABLE: 0x04,
  COMPARE: 0x05,
  WRITE_ZEROES: 0x08,
  DATASET_MANAGEMENT: 0x09,
  VERIFY: 0x0c,
  COPY: 0x19,
} as const;

const opcodeNames = (opcodes: Readonly<Record<string, number>>): ReadonlyMap<number, string> =>
  new Map(
    Object.entries(opcodes).map(([name, opcode]) => [
      opcode,
      name.toLowerCase().replaceAll('_', ' '),
    ]),
  );
const adminNames = opcodeNames(AdminOpcode);
const ioNames = opcodeNames(IoOpcode);

/** `read`, `create cq`, `opcode 0x7f`. */
export function commandName(opcode: number, isAdmin: boolean): string {
  return (isAdmin ? adminNames : ioNames).get(opcode) ?? `opcode 0x${opcode.toString(16)}`;
}

/** Of a write's DW12: the data is durable before the completion. */
export const FORCE_UNIT_ACCESS = 0x40000000;
/** Of dataset management's DW11. */
export const DEALLOCATE = 0x4;
/** A namespace id that means all of them. */
export const ALL_NAMESPACES = 0xffffffff;

/** Starting LBA of the I/O command at word `at`; rounded above 2^53, which is beyond any disk. */
export function startingBlock(commands: Uint32Array, at: number): number {
  return commands[at + Sqe.DW11]! * 2 ** 32 + commands[at + Sqe.DW10]!;
}

/** Number of logical blocks of an I/O command, 1 to 65,536: the field is one less. */
export function blockCount(commands: Uint32Array, at: number): number {
  return (commands[at + Sqe.DW12]! & 0xffff) + 1;
}
